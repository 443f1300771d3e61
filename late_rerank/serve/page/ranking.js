// The two orders side by side, and what the ranking took.

import { asWritten, bar, beginning, byId, counted, element, fill, isolated, milliseconds, number, readable, unseen } from "./dom.js";
import { whyButton } from "./why.js";

// ranking: { query, documents: [{ label, text, imageKey, before, after, relevance, passage, isScored }] best first, wasSearched, meta,
// model }; a document with an imageKey was ranked by its image, and may have no text
export function showRanking(ranking) {
  byId("results").hidden = false;
  byId("before-heading").textContent = ranking.wasSearched ? "Before: places in the first stage" : "Before: as given";
  byId("results-summary").textContent = summary(ranking);
  showDegraded(ranking);
  const inOrder = ranking.documents.toSorted((a, b) => a.before - b.before);
  fill(byId("before"), inOrder, beforeItem);
  fill(byId("after"), ranking.documents, (document) => afterItem(document, ranking.query));
  byId("cost").replaceChildren(facts(ranking), timings(ranking.meta.timings_ms ?? {}));
}

export function summary({ documents, query, meta }) {
  if (!documents.length) return `Nothing was found for \u201c${isolated(query)}\u201d.`;
  const total = meta.timings_ms?.total;
  const time = total === undefined ? "" : ` in ${milliseconds(total)}`;
  const [first] = documents;
  const done = `${counted(documents.length, "passage")} ranked${time} for \u201c${isolated(query)}\u201d.`;
  return `${done} First is ${isolated(first.label)}, ${moved(first)}.`;
}

function showDegraded({ meta, documents }) {
  byId("degraded").hidden = !meta.degraded;
  if (!meta.degraded) return;
  const n = counted(meta.n_unscored, "passage wasn't", "passages weren't");
  byId("degraded").textContent =
    `Degraded answer: ${n} scored in time (of ${number(documents.length)}). Unscored ones stand last, in their order before. ` +
    "They are being encoded meanwhile: rank again for all.";
}

const difference = (document) => document.before - document.after;

// In words, as screen readers say it too.
function moved(document) {
  const by = difference(document);
  if (by === 0) return "same place";
  return by > 0 ? `up ${number(by)}` : `down ${number(-by)}`;
}

function beforeItem(document) {
  const now = element("span", { class: "now" }, `now ${number(document.after)}`);
  const text = element("p", { class: "text", ...asWritten(document.text), title: document.label }, beginning(textOf(document), 200));
  return paired(element("li", { class: "passage" }, place(document.before), text, now), document);
}

function afterItem(document, query) {
  const { paragraph, button } = readable(textOf(document), document.label, document.passage);
  const label = element("span", { class: "label" }, isolated(document.label));
  const head = element("div", { class: "head" }, place(document.after), movement(document), label, relevance(document));
  const actions = element("div", { class: "actions" }, ...(button ? [button] : []));
  const item = element("li", { class: "passage" }, head, element("div", { class: "body" }, paragraph, actions));
  if (!document.imageKey) actions.prepend(whyButton(document, query, item)); // it explains texts
  return paired(item, document);
}

const textOf = ({ text, imageKey }) => (imageKey && !text.trim() ? "An image without text." : text);

const place = (n) => element("span", { class: "place" }, number(n));

function movement(document) {
  const by = difference(document);
  const [name, arrow] = by > 0 ? ["up", "\u2191"] : by < 0 ? ["down", "\u2193"] : ["same", "="];
  const drawn = element("span", { "aria-hidden": "true" }, `${arrow} `);
  return element("span", { class: `moved ${name}` }, drawn, by ? moved(document) : "same");
}

function relevance({ relevance: value, isScored }) {
  if (!isScored) return element("span", { class: "relevance quiet" }, "not scored");
  const shown = element("span", { class: "number", title: "relevance, from 0 to 1" }, unseen("relevance "), value.toFixed(3));
  return element("span", { class: "relevance" }, bar(value), shown);
}

// A passage that is pointed at is shown in both orders.
function paired(item, document) {
  item.dataset.before = document.before;
  const point = (is) => () => {
    const both = window.document.querySelectorAll(`.passage[data-before="${document.before}"]`);
    for (const each of both) each.classList.toggle("pointed", is);
  };
  for (const name of ["pointerenter", "focusin"]) item.addEventListener(name, point(true));
  for (const name of ["pointerleave", "focusout"]) item.addEventListener(name, point(false));
  return item;
}

function facts({ meta, usage, model }) {
  const list = element("dl", { class: "facts" });
  const add = (name, value) => list.append(element("dt", {}, name), element("dd", { class: "number" }, value));
  const { cache } = meta;
  if (cache) add("Stored before", `${counted(cache.hits, "hit")}, ${counted(cache.misses, "miss", "misses")}`);
  if (usage?.total_tokens !== undefined) add("Compared", counted(usage.total_tokens, "token"));
  if (meta.query_truncated) add("Question", "too long, and cut");
  add("Model", model);
  return list;
}

const STAGES = {
  first_stage: "First stage",
  encode_query: "Question encoded",
  fetch: "Stored vectors fetched",
  encode_missing: "New passages encoded",
  maxsim: "Late interaction",
  waiting: "Waiting",
};

function timings(ms) {
  const { total, ...stages } = ms;
  const longest = Math.max(...Object.values(stages), 1e-9);
  const named = (stage) => STAGES[stage] ?? stage.replaceAll("_", " ");
  const rows = Object.entries(stages).map(([stage, value]) => timingRow(named(stage), value, bar(value / longest)));
  const table = element("table", { id: "timings" }, element("caption", {}, "Time by stage"), element("tbody", {}, ...rows));
  if (total !== undefined) table.append(element("tfoot", {}, timingRow("Total", total, "")));
  return table;
}

function timingRow(name, ms, drawn) {
  const cells = [element("td", {}, drawn), element("td", { class: "number" }, milliseconds(ms))];
  return element("tr", {}, element("th", { scope: "row" }, name), ...cells);
}
