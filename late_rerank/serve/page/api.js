// Asking the server, and what went wrong in words.

import { number, sentence } from "./dom.js";

const KEY_NAME = "late-rerank-key";

let largestBody = Infinity;

export const limitBody = (bytes) => {
  largestBody = bytes;
};

export class AskError extends Error {
  constructor(status, title, message) {
    super(message);
    this.status = status;
    this.title = title;
  }
}

// The session's storage is gone with the tab. Where a browser forbids it, the key is kept by the page.
let keyOfPage = "";

export function apiKey() {
  try {
    return sessionStorage.getItem(KEY_NAME) ?? keyOfPage;
  } catch {
    return keyOfPage;
  }
}

export function keepKey(key) {
  keyOfPage = key;
  try {
    if (key) sessionStorage.setItem(KEY_NAME, key);
    else sessionStorage.removeItem(KEY_NAME);
  } catch {
    // Then `keyOfPage` is all there is.
  }
}

// GET without a body, else POST. Paths are relative, so that a server behind a path of its own works too.
export async function ask(path, body, signal) {
  const response = await sent(path, body, signal);
  const told = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error; // given up while the answer was read
  });
  if (!response.ok) throw refusal(response, told);
  if (told === undefined) throw new AskError(response.status, "The answer can't be read", "The server's answer was no JSON.");
  return told;
}

async function sent(path, body, signal) {
  const headers = {};
  const key = apiKey();
  if (key) headers.authorization = `Bearer ${key}`;
  const options = { headers, signal, cache: "no-store", credentials: "same-origin" };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["content-type"] = "application/json";
    checkSize(options.body);
  }
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new AskError(0, "The server can't be reached", unreachable(error, key));
  }
}

function unreachable(error, key) {
  // A header takes neither line breaks nor letters beyond Latin-1, so such a key fails before anything is sent.
  if (key && !/^[\x21-\x7e]+$/.test(key)) return "The API key has characters that no key has: type it anew.";
  return "Either it isn't running, or the network is down. See to that, then try again.";
}

// Else the server closes the connection halfway, which looks like a network that is down.
function checkSize(body) {
  const size = new Blob([body]).size;
  if (size > largestBody) {
    const told = `${number(size)} bytes: at most ${number(largestBody)} are taken. Give fewer passages.`;
    throw new AskError(413, "That is too much at once", told);
  }
}

function refusal(response, told) {
  const { status } = response;
  const fallback = `The server answered with status ${status}, and nothing more`;
  const message = sentence(typeof told?.message === "string" ? told.message : fallback);
  if (status === 401) {
    const title = apiKey() ? "This API key isn't accepted" : "This server asks for an API key";
    return new AskError(status, title, "Enter one that it knows.");
  }
  if ([429, 503, 504].includes(status)) return new AskError(status, "Not just now", `${message} ${when(response)}`.trim());
  if (status >= 500) return new AskError(status, "The server failed", message);
  return new AskError(status, "The server can't take this", message);
}

function when(response) {
  const seconds = Number(response.headers.get("retry-after"));
  if (!seconds) return "Try again in a moment.";
  return `Try again in ${seconds === 1 ? "a second" : `${seconds} seconds`}.`;
}
