// Generate src/schema.ts from an OpenAPI document: `node scripts/generate.mjs DOCUMENT [RESULT]`.
//
// The result contains the request and response bodies, and the query parameters of each operation that has any, such as
// `MemoriesListQuery`. Routes, headers and error responses are omitted, because the client contains them.
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const document = JSON.parse(readFileSync(process.argv[2], "utf8"));
const METHODS = ["get", "put", "post", "patch", "delete"];
const operations = Object.values(document.paths).flatMap((path) => METHODS.flatMap((method) => path[method] ?? []));

const title = (id) => id.split(/[._]/).map((word) => word[0].toUpperCase() + word.slice(1)).join("");

function queryOf(operation) {
  const parameters = (operation.parameters ?? []).filter((parameter) => parameter.in === "query");
  const properties = Object.fromEntries(
    parameters.map(({ name, description, schema }) => [name, { ...schema, description: description ?? schema.description }]),
  );
  const required = parameters.filter((parameter) => parameter.required).map((parameter) => parameter.name);
  return { type: "object", properties, required };
}

function referenced(value, names = new Set()) {
  if (Array.isArray(value)) value.forEach((item) => referenced(item, names));
  else if (value !== null && typeof value === "object") {
    for (const [key, item] of Object.entries(value)) {
      const name = key === "$ref" ? item.split("/").at(-1) : undefined;
      if (name === undefined) referenced(item, names);
      else if (!names.has(name)) referenced(document.components.schemas[name], names.add(name));
    }
  }
  return names;
}

// An empty schema means any JSON value; examples and titles only repeat the types.
function tidied(schema) {
  if (Array.isArray(schema)) return schema.map(tidied);
  if (schema === null || typeof schema !== "object") return schema;
  const kept = Object.entries(schema).filter(([key, value]) => !["example", "examples", "default"].includes(key) && !(key === "title" && typeof value === "string"));
  return Object.fromEntries(kept.map(([key, value]) => [key, tidied(value)]));
}

const used = new Set(["Problem"]);
const queries = {};
for (const operation of operations) {
  referenced(operation.requestBody, used);
  for (const [status, response] of Object.entries(operation.responses)) if (status.startsWith("2")) referenced(response, used);
  const query = queryOf(operation);
  if (Object.keys(query.properties).length > 0) queries[`${title(operation.operationId)}Query`] = query;
}
referenced(document.components.schemas.Problem, used);
const bodies = Object.fromEntries([...used].map((name) => [name, document.components.schemas[name]]));
const schemas = Object.fromEntries(Object.entries({ ...bodies, ...queries }).sort(([a], [b]) => (a < b ? -1 : 1)));
const ast = await openapiTS(
  { openapi: "3.1.0", info: document.info, paths: {}, components: { schemas: tidied(schemas) } },
  { alphabetize: true, defaultNonNullable: false, rootTypes: true, rootTypesNoSchemaPrefix: true },
);
const text = astToString(ast)
  .replace(/^export type paths[^\n]*\n|^export type webhooks[^\n]*\n|^export type operations[^\n]*\n|^export type \$defs[^\n]*\n/gm, "")
  .replace(/^(?: {4})+/gm, (indent) => " ".repeat(indent.length / 2));
writeFileSync(process.argv[3] ?? "src/schema.ts", `// Generated from the OpenAPI document by \`npm run generate\`. Do not edit.\n${text}`);
