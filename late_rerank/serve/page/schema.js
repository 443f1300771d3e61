// JSON Schema in words.

// What a `$ref` stands for; anything else as it is.
export function resolved(schema, description) {
  if (!schema.$ref) return schema;
  const { $ref, ...beside } = schema;
  return { ...$ref.slice(2).split("/").reduce((place, name) => place[name], description), ...beside };
}

// The bodies that an endpoint takes: [{ title, told, fields }].
export function bodiesOf(schema, description) {
  const found = resolved(schema, description);
  const variants = found.oneOf ?? found.anyOf;
  if (variants) return variants.flatMap((variant) => bodiesOf(variant, description));
  const required = new Set(found.required);
  const properties = Object.entries(found.properties ?? {});
  const fields = properties.map(([name, field]) => fieldOf(name, field, required.has(name), description));
  return [{ told: found.description ?? "", fields }];
}

function fieldOf(name, field, isRequired, description) {
  const known = isRequired || field.default === undefined;
  return {
    name,
    type: typeOf(field, description),
    needed: isRequired ? "required" : known ? "optional" : `default ${JSON.stringify(field.default)}`,
    told: resolved(field, description).description ?? "",
  };
}

export function typeOf(schema, description) {
  const found = resolved(schema, description);
  const variants = found.anyOf ?? found.oneOf;
  if (variants) return [...new Set(variants.map((variant) => typeOf(variant, description)))].join(" or ");
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.type === "array") return `array of ${typeOf(found.items ?? {}, description)}`;
  if (schema.$ref && found.properties) return `object {${Object.keys(found.properties).join(", ")}}`;
  return `${found.type ?? "anything"}${bounds(found)}`;
}

// Bounds that only say what fits into a machine's integer tell people nothing.
const LARGEST_TOLD = 2 ** 31 - 1;

function bounds({ minimum, exclusiveMinimum, maximum, exclusiveMaximum, maxLength }) {
  const told = [];
  if (minimum !== undefined) told.push(`from ${minimum}`);
  if (exclusiveMinimum !== undefined) told.push(`above ${exclusiveMinimum}`);
  if (maximum !== undefined && maximum < LARGEST_TOLD) told.push(`to ${maximum}`);
  if (exclusiveMaximum !== undefined) told.push(`below ${exclusiveMaximum}`);
  if (maxLength !== undefined) told.push(`at most ${maxLength} characters`);
  return told.length ? `, ${told.join(" ")}` : "";
}
