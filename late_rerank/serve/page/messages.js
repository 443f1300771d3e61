// What goes wrong, and what is going on, told where eyes and screen readers find it.

import { apiKey, keepKey } from "./api.js";
import { byId, element, smallButton } from "./dom.js";

// What was being done when a key was asked for, and where.
let again;
let asker;

export function announce(text) {
  byId("status").textContent = text;
}

export function clearProblem() {
  byId("alert").replaceChildren();
}

// A problem in words: its title and what to do. `retry` does again what failed.
export function showProblem(error, retry) {
  announce("");
  const wantsKey = error.status === 401;
  const title = error.title ?? "Something on this page failed";
  const box = element("div", { class: "message" }, element("h2", {}, title), element("p", {}, error.message));
  const returnTo = document.activeElement;
  if (!wantsKey) box.append(buttons(retry && canPass(error) ? retry : undefined, returnTo));
  byId("alert").replaceChildren(box);
  if (wantsKey) askForKey(retry);
}

// Trying again changes nothing where the question itself is wrong.
const canPass = (error) => [0, 429].includes(error.status) || error.status >= 500;

function buttons(retry, returnTo) {
  const close = () => {
    clearProblem();
    returnTo?.focus?.();
  };
  const row = element("div", { class: "row" });
  const redo = () => {
    close();
    retry();
  };
  if (retry) row.append(smallButton(redo, {}, "Try again"));
  row.append(smallButton(close, {}, "Close"));
  return row;
}

function askForKey(retry) {
  again = retry;
  if (document.activeElement !== byId("key")) asker = document.activeElement;
  byId("key-form").hidden = false;
  byId("key").value = "";
  byId("key").focus();
}

// `useKey` is given what to do again, or nothing.
export function watchKey(useKey) {
  const showForget = () => {
    byId("forget").hidden = !apiKey();
  };
  showForget();
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keepKey(byId("key").value.trim());
    byId("key").value = "";
    byId("key-form").hidden = true;
    clearProblem();
    showForget();
    asker?.focus?.(); // the field that had it is hidden now
    useKey(again);
  });
  byId("forget").addEventListener("click", () => {
    keepKey("");
    showForget();
    announce("The API key is forgotten.");
    byId("query").focus();
  });
}
