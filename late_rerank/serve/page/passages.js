// Where passages come from: the text field, files, or a folder of the server's.

import { AskError } from "./api.js";
import { byId, counted, element, languageOf, smallButton } from "./dom.js";

const files = []; // { name, text }, in the order in which they were chosen

export const chosenSource = () => document.querySelector('input[name="source"]:checked').value;

const isByLine = () => document.querySelector('input[name="split"]:checked').value === "line";

const pieces = (text) => text.split(isByLine() ? "\n" : /\n\s*\n/).map((piece) => piece.trim()).filter(Boolean);

// [{ label, text }], for the text field or the files.
export function givenPassages() {
  const found = chosenSource() === "text" ? typed() : files.flatMap(ofFile);
  if (!found.length) throw new AskError(400, "There is nothing to rank", "Give at least one passage.");
  return found;
}

const typed = () => pieces(byId("passages").value).map((text, i) => ({ label: `passage ${i + 1}`, text }));

function ofFile({ name, text }) {
  if (name.toLowerCase().endsWith(".jsonl")) return ofJsonLines(name, text);
  return pieces(text).map((piece, i) => ({ label: `${name}, ${i + 1}`, text: piece }));
}

function ofJsonLines(name, text) {
  const found = [];
  text.split("\n").forEach((line, i) => {
    if (line.trim()) found.push(ofJsonLine(line, name, i + 1));
  });
  return found;
}

function ofJsonLine(line, name, place) {
  let row;
  try {
    row = JSON.parse(line);
  } catch {
    throw unreadable(`${name}, line ${place} is no JSON.`);
  }
  if (typeof row?.text !== "string") throw unreadable(`${name}, line ${place} is no object with a "text".`);
  const id = row._id ?? row.id;
  const title = typeof row.title === "string" ? `${row.title} ` : ""; // as the command line reads such files
  const hasId = ["string", "number"].includes(typeof id);
  return { label: hasId ? String(id) : `${name}, ${place}`, text: (title + row.text).trim() };
}

const unreadable = (told) => new AskError(400, "A file can't be read", told);

export function watchSources(onProblem) {
  for (const radio of document.querySelectorAll('#ask input[type="radio"]')) radio.addEventListener("change", showSource);
  byId("passages").addEventListener("input", showCount);
  for (const field of [byId("query"), byId("passages")]) field.addEventListener("input", () => tellLanguage(field));
  byId("files").addEventListener("change", () => addFiles([...byId("files").files]).catch(onProblem));
  tellLanguages(); // of what the page, or a browser that goes back, has filled in
  showSource();
}

function tellLanguages() {
  for (const field of [byId("query"), byId("passages")]) tellLanguage(field);
}

const tellLanguage = (field) => {
  field.lang = languageOf(field.value);
};

function showSource() {
  for (const panel of document.querySelectorAll("[data-source]")) panel.hidden = panel.dataset.source !== chosenSource();
  byId("split").hidden = chosenSource() === "folder";
  showCount();
  showFiles();
}

function showCount() {
  const apart = isByLine() ? "one a line" : "with blank lines between";
  byId("passages-hint").textContent = `${counted(pieces(byId("passages").value).length, "passage")}, ${apart}`;
}

async function addFiles(chosen) {
  byId("files").value = ""; // so that a file that was removed can be chosen again
  for (const file of chosen) {
    if (!/\.(txt|md|markdown|jsonl)$/i.test(file.name)) {
      throw unreadable(`${file.name} is none of .txt, .md and .jsonl.`);
    }
    const added = { name: file.name, text: await textOf(file) };
    ofFile(added); // what is wrong with it is told now, and it isn't kept
    files.push(added);
    showFiles();
  }
}

async function textOf(file) {
  const bytes = await file.arrayBuffer().catch((error) => {
    throw unreadable(`The browser can't read ${file.name}: ${error.message}`);
  });
  return decoded(new Uint8Array(bytes), file.name).replace(/\r\n?/g, "\n");
}

// UTF-8, or UTF-16 by its mark. Bytes of another encoding are refused: read as UTF-8 they would lose their letters.
function decoded(bytes, name) {
  const mark = String(bytes.slice(0, 2));
  const encoding = { "255,254": "utf-16le", "254,255": "utf-16be" }[mark] ?? "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw unreadable(`${name} isn't in UTF-8. Convert it to UTF-8, or let the command line read it: it knows other encodings.`);
  }
}

function showFiles() {
  byId("file-list").replaceChildren(...files.map(fileItem));
}

function fileItem(file, i) {
  const remove = () => {
    files.splice(i, 1);
    showFiles();
    byId("files").focus();
  };
  const count = element("span", { class: "quiet" }, counted(ofFile(file).length, "passage"));
  const button = smallButton(remove, { "aria-label": `Remove ${file.name}` }, "Remove");
  return element("li", {}, element("span", { dir: "auto" }, file.name), count, button);
}

export function offerFolders(names) {
  byId("folder-choice").hidden = !names.length;
  byId("folder").replaceChildren(...names.map((name) => element("option", { value: name }, name)));
}

// What /v1/search takes beside the query.
export function chosenFolder() {
  const folder = byId("folder").value;
  return { folder, k: wholeNumber(byId("depth"), "Candidates"), top_n: wholeNumber(byId("shown"), "Results") };
}

// The number in a field, which must be whole and within the field's bounds.
export function wholeNumber(field, name) {
  const value = field.valueAsNumber;
  const isFine = Number.isInteger(value) && value >= Number(field.min) && value <= Number(field.max);
  field.setAttribute("aria-invalid", String(!isFine));
  if (isFine) return value;
  field.focus();
  throw new AskError(400, "A number is missing", `${name} must be a whole number from ${field.min} to ${field.max}.`);
}
