// The API's description, from the same openapi.json that programs read.

import { ask } from "./api.js";
import { byId, element } from "./dom.js";
import { bodiesOf } from "./schema.js";

const BASE = new URL(".", location.href).href.replace(/\/$/, "");

const EXAMPLES = [
  ["Rank, from a shell", `curl ${BASE}/v2/rerank \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer YOUR_KEY" \\
  -d '{"query": "when do cats sleep",
       "documents": ["dogs bark", "cats sleep all day"],
       "top_n": 1}'`],
  ["Rank, with Cohere's client for Python", `import cohere

client = cohere.ClientV2(
    api_key="YOUR_KEY", base_url="${BASE}"
)
answer = client.rerank(
    model="any",
    query="when do cats sleep",
    documents=["dogs bark at night", "cats sleep all day"],
    top_n=1,
)
best = answer.results[0]
print(best.index, best.relevance_score)`],
  ["Pack a context, from a shell", `curl ${BASE}/context \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer YOUR_KEY" \\
  -d '{"query": "when do cats sleep",
       "documents": [{"id": "a", "text": "cats sleep"}],
       "budget_tokens": 500}'`],
  ["Encode documents ahead, with Python alone", `import json, urllib.request

body = {"documents": ["dogs bark", "cats sleep all day"]}
headers = {
    "Content-Type": "application/json",
    "Authorization": "Bearer YOUR_KEY",
}
request = urllib.request.Request(
    "${BASE}/v1/index",
    json.dumps(body).encode(),
    headers,
)
print(json.load(urllib.request.urlopen(request)))`],
];

function showExamples() {
  // One that is wider than its box scrolls, with the keyboard too: so it takes the focus.
  const shown = ([title, code]) =>
    element("div", {}, element("h3", {}, title), element("pre", { tabindex: "0", "aria-label": title }, code));
  byId("examples").append(...EXAMPLES.map(shown));
}

function showDescription(description) {
  byId("version").textContent = `version ${description.info.version}`;
  byId("limits").textContent = description.info.description ?? "";
  const operations = operationsOf(description);
  const links = operations.map(({ path, id }) => element("li", {}, element("a", { href: `#${id}` }, path)));
  byId("contents").append(element("ul", { class: "plain" }, ...links));
  byId("endpoints").append(...operations.map((each) => endpoint(each, description)));
  byId(location.hash.slice(1))?.scrollIntoView(); // what an address names wasn't there when the page was opened
}

function operationsOf({ paths }) {
  const id = (path, method) => `${method}${path.replaceAll(/[^\w]+/g, "-")}`;
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation, id: id(path, method) })),
  );
}

function endpoint({ path, method, operation, id }, description) {
  const name = `${id}-heading`;
  const shownMethod = element("span", { class: `method ${method}` }, method.toUpperCase());
  const section = element("section", { id, class: "panel", "aria-labelledby": name });
  section.append(element("h2", { id: name }, shownMethod, element("code", {}, path)));
  section.append(element("p", {}, element("strong", {}, operation.summary)));
  if (operation.description) section.append(element("p", {}, ...withCode(operation.description)));
  const schema = operation.requestBody?.content["application/json"].schema;
  if (schema) section.append(...bodyParts(schema, { id, path }, description));
  section.append(answers(operation.responses, Boolean(schema)));
  return section;
}

// Several endpoints take the same body; it is told at the first of them.
const firstWith = new Map(); // schema as text -> { id, path } of the endpoint that tells of it

function bodyParts(schema, { id, path }, description) {
  const key = JSON.stringify(schema);
  const first = firstWith.get(key);
  if (first) {
    const link = element("a", { href: `#${first.id}` }, element("code", {}, first.path));
    return [element("h3", {}, "Body"), element("p", {}, "The same as of ", link, ".")];
  }
  firstWith.set(key, { id, path });
  return bodiesOf(schema, description).flatMap((body, i) => fieldList(body, i > 0));
}

// What stands between backticks is code.
const withCode = (text) => text.split("`").map((part, i) => (i % 2 ? element("code", {}, part) : part));

function fieldList({ told, fields }, isOther) {
  const heading = element("h3", {}, isOther ? "Or this body" : "Body");
  return [heading, element("p", { class: "hint" }, told), element("dl", { class: "fields" }, ...fields.map(fieldItem))];
}

function fieldItem({ name, type, needed, told }) {
  const item = element("div", {}, element("dt", {}, element("code", {}, name), element("span", {}, type), element("span", {}, needed)));
  if (told) item.append(element("dd", {}, ...withCode(told)));
  return item;
}

function answers(responses, isFolded) {
  const items = Object.entries(responses).map(([status, { description }]) =>
    element("div", {}, element("dt", {}, element("code", {}, status)), element("dd", {}, description)),
  );
  const list = element("dl", { class: "fields answers" }, ...items);
  return element("details", { open: !isFolded }, element("summary", {}, "Answers by status"), list);
}

function showProblem(error) {
  const told = `${error.title ?? "The description can't be shown"}. ${error.message}`;
  byId("alert").replaceChildren(element("p", { class: "message" }, told));
}

showExamples();
ask("openapi.json").then(showDescription).catch(showProblem);
