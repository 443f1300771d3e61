// Elements and numbers. Texts become text nodes and nothing else: no document is ever read as HTML.

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.addEventListener("click", value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

export const smallButton = (onclick, attributes, ...children) =>
  element("button", { type: "button", class: "small", onclick, ...attributes }, ...children);

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

// A text among words of this page, apart from their direction of writing.
export const isolated = (text) => (RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text);

// The language that letters prove, "" for unknown. Chinese, Japanese and Korean share characters that each draws in its own way: as
// English, a browser takes any. Kana prove Japanese, Hangul Korean.
export function languageOf(text) {
  const near = text.slice(0, 2000);
  const count = (letters) => near.match(letters)?.length ?? 0;
  const kana = count(/[\u3041-\u30fa]/g);
  const hangul = count(/[\u1100-\u11ff\uac00-\ud7a3]/g);
  if (20 * Math.max(kana, hangul) <= count(/[\u3400-\u9fff]/g)) return "";
  return kana > hangul ? "ja" : "ko";
}

// What people wrote, in their direction and language.
export const asWritten = (text) => ({ dir: "auto", lang: languageOf(text) });

// Read out, but not seen: where the eye has it from the place on the page.
export const unseen = (text) => element("span", { class: "hidden" }, text);

export function bar(share) {
  const filled = element("i");
  filled.style.width = `${Math.round(1000 * Math.min(Math.max(share, 0), 1)) / 10}%`;
  return element("span", { class: "bar", "aria-hidden": "true" }, filled);
}

const PAGE_OF_ITEMS = 50;

// A long list in pieces: a thousand passages at once would make the page slow and the reader none the wiser.
export function fill(list, items, itemElement) {
  list.parentElement.querySelector(":scope > .more")?.remove();
  list.replaceChildren(...items.slice(0, PAGE_OF_ITEMS).map(itemElement));
  const rest = items.slice(PAGE_OF_ITEMS);
  if (!rest.length) return;
  const showRest = () => {
    const added = rest.map(itemElement);
    list.append(...added);
    button.remove();
    // The button that had the focus is gone: it goes on where the new items begin.
    added[0].tabIndex = -1;
    added[0].focus();
  };
  const button = smallButton(showRest, {}, `Show ${number(rest.length)} more`);
  button.classList.add("more");
  list.after(button);
}

const LONGEST = 400;

// At most so many units of a text, cut after a word: in Thai and Chinese too, where the browser knows words. Else no character is
// cut: neither an emoji of several parts nor a letter from its marks.
export function beginning(text, longest) {
  if (text.length <= longest) return text;
  const near = text.slice(0, longest + 32); // a character may go on behind the end
  const words = lengthOf(near, longest, "word");
  return text.slice(0, words > longest / 2 ? words : lengthOf(near, longest, "grapheme"));
}

function lengthOf(text, longest, granularity) {
  const isKnown = Intl.Segmenter !== undefined;
  const pieces = isKnown ? Array.from(new Intl.Segmenter(undefined, { granularity }).segment(text), (each) => each.segment) : Array.from(text);
  let length = 0;
  for (const piece of pieces) {
    if (length + piece.length > longest) break;
    length += piece.length;
  }
  return length;
}

// A paragraph with the best passage marked, and for a long text a button that shows all of it. If the passage is further down,
// the short form begins with it. passage: [start, end] in units of the text, or undefined.
export function readable(text, label, passage) {
  const paragraph = element("p", { class: "text", ...asWritten(text) }, ...marked(text, passage));
  const from = passage && passage[1] > LONGEST ? passage[0] : 0;
  const first = beginning(text.slice(from), from ? Math.min(Math.max(passage[1] - from, LONGEST), 2 * LONGEST) : LONGEST);
  if (first.length === text.length) return { paragraph };
  const inside = passage?.map((place) => Math.min(place - from, first.length));
  const isEnd = from + first.length === text.length;
  const short = [from ? "… " : "", ...marked(isEnd ? first : first.trimEnd(), inside), isEnd ? "" : " …"];
  paragraph.replaceChildren(...short);
  const said = element("span", {}, "Whole text");
  const toggle = () => {
    const isWhole = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isWhole));
    said.textContent = isWhole ? "Whole text" : "Less text";
    paragraph.replaceChildren(...(isWhole ? short : marked(text, passage)));
  };
  const button = smallButton(toggle, { "aria-expanded": "false" }, said, unseen(` of ${label}`));
  return { paragraph, button };
}

function marked(text, passage) {
  if (!passage) return [text];
  const [start, end] = passage;
  const mark = element("mark", { title: "the best passage" }, text.slice(start, end));
  return [text.slice(0, start), mark, text.slice(end)];
}

const grouped = new Intl.NumberFormat("en");

export const number = (value) => grouped.format(value);

export const counted = (n, one, several = `${one}s`) => `${number(n)} ${n === 1 ? one : several}`;

export function milliseconds(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 10) return `${Math.round(ms)} ms`;
  return ms > 0 && ms < 0.05 ? "under 0.1 ms" : `${ms.toFixed(1)} ms`;
}

// A sentence of the server's as one for people: its messages begin in lower case and have no full stop.
export function sentence(text) {
  const trimmed = String(text).trim();
  if (!trimmed) return "";
  const first = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
