// The heat map of one document, in a frame in which nothing can run.

import { ask } from "./api.js";
import { element, smallButton, unseen } from "./dom.js";
import { announce, clearProblem, showProblem } from "./messages.js";

let n = 0;

// The button, to go before the item's others; the map opens at the end of `item`.
export function whyButton(document, query, item) {
  const panel = element("div", { id: `why-${++n}`, class: "why", hidden: true });
  const attributes = { "aria-expanded": "false", "aria-controls": panel.id };
  const said = unseen(` The words of ${document.label} that match`);
  const button = smallButton(() => toggle(button, panel, document, query), attributes, "Why?", said);
  item.append(panel);
  return button;
}

async function toggle(button, panel, document, query) {
  if (button.getAttribute("aria-busy") === "true") return;
  if (!panel.firstChild) await load(button, panel, document, query);
  if (!panel.firstChild) return; // it failed, and that was told
  panel.hidden = !panel.hidden;
  button.setAttribute("aria-expanded", String(!panel.hidden));
}

async function load(button, panel, document, query) {
  button.setAttribute("aria-busy", "true");
  announce(`Looking for what matches in ${document.label}.`);
  try {
    const { html } = await ask("v1/explain", { query, text: document.text });
    clearProblem();
    panel.append(frame(html, document.label));
    announce(`What matches in ${document.label} is shown below its button.`);
  } catch (error) {
    showProblem(error, () => button.click());
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function frame(html, label) {
  // The sandbox allows nothing: no scripts, no forms, no reaching of this page. So its height can't be asked for; it scrolls.
  // In such a frame "#place" would mean a place on this page, which mustn't be framed. Texts can't hold the pattern: their
  // quotes are escaped.
  const ownPlaces = html.replaceAll(' href="#', ' href="about:srcdoc#');
  return element("iframe", { sandbox: "", srcdoc: ownPlaces, title: `The words of ${label} that the question matches` });
}
