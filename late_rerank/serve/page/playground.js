// The page at work: from the form to the two orders.

import { AskError, ask, limitBody } from "./api.js";
import { offerContext, watchContext } from "./context.js";
import { byId, counted } from "./dom.js";
import { PASSAGES, QUERY } from "./example.js";
import { announce, clearProblem, showProblem, watchKey } from "./messages.js";
import { chosenFolder, chosenSource, givenPassages, offerFolders, watchSources } from "./passages.js";
import { showRanking, summary } from "./ranking.js";

let running = new AbortController();

async function rank() {
  running.abort(); // only the latest question counts
  running = new AbortController();
  const { signal } = running;
  try {
    const query = typedQuery();
    const ranking = await (chosenSource() === "folder" ? searched(query, signal) : reranked(query, signal));
    clearProblem();
    showRanking(ranking);
    offerContext(ranking);
    announce(summary(ranking));
    bringIntoView(byId("results-heading"));
    if (!isIntroduced) introduce(); // the model was being loaded when the page was opened
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error, rank);
  }
}

function typedQuery() {
  const query = byId("query").value;
  byId("query").setAttribute("aria-invalid", String(!query.trim()));
  if (query.trim()) return query;
  byId("query").focus();
  throw new AskError(400, "There is no question", "Type at least one word of one.");
}

async function reranked(query, signal) {
  const passages = givenPassages();
  announce(`Ranking ${counted(passages.length, "passage")}.`);
  const answer = await ask("rerank", { query, documents: passages.map(({ text }) => text), best_span: true }, signal);
  const document = ({ index }) => ({ ...passages[index] });
  return rankingOf(query, answer, document, false);
}

async function searched(query, signal) {
  announce("Searching.");
  const answer = await ask("v1/search", { query, ...chosenFolder(), best_span: true }, signal);
  const document = ({ index, document: { id, text, image_key: imageKey } }) => ({ label: id ?? `document ${index + 1}`, text, imageKey });
  return rankingOf(query, answer, document, true);
}

function rankingOf(query, answer, document, wasSearched) {
  const meta = answer.meta ?? { timings_ms: answer.timings_ms };
  const nScored = answer.results.length - (meta.n_unscored ?? 0); // what isn't scored stands behind all that is
  const documents = answer.results.map((result, i) => {
    const found = document(result);
    return {
      ...found,
      before: result.index + 1,
      after: i + 1,
      relevance: result.relevance_score,
      passage: passageOf(found.text, result.best_span ?? result.document?.best_span),
      isScored: i < nScored,
    };
  });
  return { query, documents, wasSearched, meta, usage: answer.usage, model: answer.model };
}

// The best passage in units of the text, as the server tells it in code points; undefined where it tells none, or all of the text.
function passageOf(text, span) {
  if (!Array.isArray(span)) return undefined;
  const [start, end] = span.map((place) => Array.from(text).slice(0, place).join("").length);
  return start < end && end - start < text.length ? [start, end] : undefined;
}

// The focus stays in the form, where the next question is typed; the results are at most brought into sight.
function bringIntoView(heading) {
  if (heading.getBoundingClientRect().top < 0.7 * innerHeight) return;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  heading.scrollIntoView({ behavior: isCalm ? "auto" : "smooth", block: "start" });
}

let isIntroduced = false;

// What the server says of itself. One that has just begun answers 503 until its model is loaded.
async function introduce() {
  try {
    const about = await ask("info");
    offerFolders(about.folders ?? []);
    limitBody(about.limits?.body_bytes ?? Infinity);
    byId("server").textContent = `${about.model}, ${about.dim} dimensions, ${about.codec}`;
    byId("version").textContent = `late-rerank ${about.version}`;
    isIntroduced = true;
  } catch (error) {
    showProblem(error, introduce);
  }
}

async function goOn(again) {
  if (!isIntroduced) await introduce();
  if (isIntroduced && again !== introduce) again?.();
}

function watchKeyboard() {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    byId("ask").requestSubmit();
  });
}

byId("query").value ||= QUERY; // a browser that goes back fills in what was typed
byId("passages").value ||= PASSAGES.join("\n\n");
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  rank();
});
watchSources(showProblem);
watchContext();
watchKey(goOn);
watchKeyboard();
introduce();
