// The packed context: what goes before the language model, with its citations, and what was left out.

import { ask } from "./api.js";
import { asWritten, bar, byId, counted, element, isolated, number, smallButton } from "./dom.js";
import { announce, clearProblem, showProblem } from "./messages.js";
import { wholeNumber } from "./passages.js";

let ranked; // what the last ranking showed
let packing = new AbortController();

export function offerContext(ranking) {
  ranked = ranking;
  packing.abort(); // it was of another ranking
  byId("context").hidden = !ranking.documents.length;
  byId("packed").replaceChildren(); // it was of another ranking
}

export function watchContext() {
  byId("context-form").addEventListener("submit", (event) => {
    event.preventDefault();
    pack();
  });
}

async function pack() {
  const asked = ranked;
  packing.abort(); // only the latest counts
  packing = new AbortController();
  try {
    const budget = wholeNumber(byId("budget"), "The budget");
    announce("Packing the context.");
    const context = await ask("context", question(asked, budget), packing.signal);
    clearProblem();
    byId("packed").replaceChildren(...shown(context, budget, asked));
    announce(`The context has ${tokens(context)} of ${number(budget)}, from ${counted(context.parts.length, "passage")}.`);
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error, pack);
  }
}

function question({ query, documents }, budget) {
  // Ids of our own: those of a file may be missing or there twice. In the order before, which breaks ties of the ranking.
  const inOrder = documents.toSorted((a, b) => a.before - b.before);
  return {
    query,
    documents: inOrder.map(({ text, before, imageKey }) => ({ text, id: String(before), image_key: imageKey })),
    budget_tokens: budget,
    strategy: byId("strategy").value,
    compress: byId("compress").checked,
  };
}

const tokens = ({ n_tokens: n, is_estimate: isEstimate }) => `${isEstimate ? "about " : ""}${counted(n, "token")}`;

function shown(context, budget, { documents }) {
  const labels = new Map(documents.map((document) => [String(document.before), document.label]));
  const text = element("pre", { id: "context-text", role: "region", tabindex: "0", ...asWritten(context.text), "aria-label": "The context" }, context.text);
  const about = [filled(context, budget, text), missingWords(context.coverage)];
  const nothing = [element("p", {}, "Nothing fits: the context is empty.")];
  const packed = [text, element("h3", {}, "Citations"), citations(context, labels)];
  return [...about, ...(context.parts.length ? packed : nothing), ...dropped(context, labels)];
}

function filled(context, budget, text) {
  const count = element("span", { id: "context-tokens", class: "number" }, `${tokens(context)} of ${number(budget)}`);
  const row = element("div", { class: "filled" }, count, bar(budget ? context.n_tokens / budget : 0));
  if (context.parts.length) row.append(smallButton(() => copy(text), {}, "Copy"));
  return row;
}

// Words of the question that nothing in the context matches: what it may not answer.
function missingWords({ missing_words: words }) {
  if (!words?.length) return element("p", { class: "hint" }, "Every word of the question is matched, some perhaps weakly.");
  return element("p", { class: "hint" }, `Not matched: ${words.map(isolated).join(", ")}`);
}

function citations({ parts }, labels) {
  const name = (part) => isolated(labels.get(part.id) ?? part.id);
  const items = parts.map((part) => {
    const told = `${name(part)}, ranked ${number(part.rank)}, ${counted(part.n_tokens, "token")}${part.spans ? ", shortened" : ""}`;
    return element("li", {}, element("strong", {}, `[${part.number}]`), told);
  });
  return element("ol", { id: "citations", class: "plain citations" }, ...items);
}

function dropped({ dropped: left }, labels) {
  if (!left.length) return [];
  const told = ({ id, rank, reason }) => `${isolated(labels.get(id) ?? id)}, ranked ${number(rank)}: ${reason}`;
  const items = left.map((each) => element("li", {}, told(each)));
  return [element("h3", {}, "Left out"), element("ul", { id: "dropped", class: "plain citations" }, ...items)];
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text.textContent);
    announce("The context is copied.");
  } catch {
    // Browsers have no clipboard for pages of plain HTTP, this machine's own aside; selecting works everywhere.
    getSelection().selectAllChildren(text);
    announce("The browser doesn't let this page copy. The context is selected: copy it with the keyboard.");
  }
}
