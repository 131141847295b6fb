// Test the client against a server that fails in the ways that networks and proxies do.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import {
  ApiError, BulkStopped, ConnectionLost, ResponseTimeout, Client, DatabaseBusy, DeadlineExceeded, Forbidden, IncompatibleServer, IndexBacklog,
  InvalidArgument, InvalidResponse, LlmAnswerInvalid, LlmUnavailable, RequestQuotaExceeded, ServerError, StillRunning,
} from "@somamemory/client";

const problem = (status, code, headers = {}) => (_, response) => {
  response.writeHead(status, { "content-type": "application/problem+json", ...headers });
  response.end(JSON.stringify({ type: "about:blank", title: code, status, detail: code, code, request_id: "r1" }));
};
const ok = (_, response) => response.writeHead(201, { "content-type": "application/json" }).end('{"ok": true, "id": "1"}');

const lose = (request) => request.socket.destroy();
const text = (status, body) => (_, response) => response.writeHead(status, { "content-type": "application/json" }).end(body);

/** Answer each request with the next of `answers`, and repeat the last one. Resolves to [client, requests]. */
async function serving(t, answers, options = {}) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answers[Math.min(requests.length, answers.length) - 1](request, response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => (server.closeAllConnections(), server.close()));
  return [new Client({ baseUrl: `http://127.0.0.1:${server.address().port}`, apiKey: "key", ...options }), requests];
}

for (const [name, failure] of [
  ["a lost connection", (request) => request.socket.destroy()],
  ["a truncated body", (request, response) => (response.writeHead(201, { "content-length": "99" }), response.write("{"), setTimeout(() => request.socket.destroy(), 5))],
  ["a busy database", problem(503, "database_busy", { "retry-after": "0" })],
  ["a rate limit", problem(429, "rate_limited", { "retry-after": "0" })],
  ["a request that still runs", problem(409, "still_running", { "retry-after": "0" })],
  ["an error page of a proxy", (_, response) => response.writeHead(502).end("<html>")],
]) {
  test(`after ${name}, a write is sent again with the same Idempotency-Key`, async (t) => {
    const [client, requests] = await serving(t, [failure, ok]);
    assert.equal((await client.memories.store("x")).id, "1");
    const keys = requests.map((request) => request.headers["idempotency-key"]);
    assert.equal(keys.length, 2);
    assert.ok(keys[0] && keys[0] === keys[1]);
  });
}

test("a deletion of a certain version is not sent again", async (t) => {
  for (const [options, count] of [[{}, 2], [{ if_version: 3 }, 1]]) {
    const [client, requests] = await serving(t, [lose], { maxRetries: 1 });
    await assert.rejects(client.memories.delete({ key: "a" }, options), ConnectionLost);
    assert.equal(requests.length, count);
  }
});

test("two writes have different Idempotency-Keys", async (t) => {
  const [client, requests] = await serving(t, [ok]);
  await client.memories.store("x");
  await client.memories.store("x");
  assert.notEqual(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
});

test("the last error is thrown when no retry is left", async (t) => {
  const [client, requests] = await serving(t, [problem(503, "database_busy")], { maxRetries: 1 });
  await assert.rejects(client.memories.search("x"), (error) => error instanceof DatabaseBusy && error.requestId === "r1");
  assert.equal(requests.length, 2);
});

test("a request that fails permanently is not sent again", async (t) => {
  for (const [answer, type] of [
    [problem(503, "deadline_exceeded"), DeadlineExceeded],
    [problem(429, "quota_exceeded", { "retry-after": "40000" }), RequestQuotaExceeded],
    [(_, response) => response.writeHead(404).end("not here"), InvalidResponse],
    [text(200, "<html>"), InvalidResponse],
    [problem(404, "from_the_future"), ApiError],
  ]) {
    const [client, requests] = await serving(t, [answer]);
    await assert.rejects(client.memories.store("x"), type);
    assert.equal(requests.filter(({ url }) => !url.endsWith("/health")).length, 1);
  }
});

test("a call to a language model is not sent again if it may have been charged for", async (t) => {
  for (const [answer, type] of [
    [lose, ConnectionLost],
    [problem(503, "llm_answer_invalid"), LlmAnswerInvalid],
    [problem(503, "llm_unavailable"), LlmUnavailable],
    [problem(503, "database_busy"), DatabaseBusy], // when the model's answer was to be stored
    [problem(429, "index_backlog"), IndexBacklog],
  ]) {
    const [client, requests] = await serving(t, [answer]);
    await assert.rejects(client.conversations.summarize("1"), type);
    assert.equal(requests.length, 1);
  }
});

test("a call to a language model is sent again after a rate limit", async (t) => {
  const [client, requests] = await serving(t, [problem(429, "rate_limited"), ok]);
  await client.conversations.summarize("1");
  assert.equal(requests.length, 2);
});

test("without retries, a request that is still running throws StillRunning", async (t) => {
  const [client] = await serving(t, [problem(409, "still_running")], { maxRetries: 0 });
  await assert.rejects(client.memories.store("x"), StillRunning);
});

test("a slow response is a timeout with a remedy", async (t) => {
  const [client] = await serving(t, [() => undefined], { timeoutMs: 30, maxRetries: 1 });
  await assert.rejects(client.memories.search("x"), (error) => error instanceof ResponseTimeout && /raise timeoutMs/.test(error.message));
});

test("an aborted request is not sent again", async (t) => {
  const caller = new AbortController();
  const [client, requests] = await serving(t, [() => caller.abort()]);
  await assert.rejects(client.request("GET", "/stats", { signal: caller.signal }), { name: "AbortError" });
  assert.equal(requests.length, 1);
});

test("an unknown host and a closed port are connection errors", async () => {
  for (const baseUrl of ["http://no-such-host.invalid", "http://127.0.0.1:1"]) {
    await assert.rejects(new Client({ baseUrl, maxRetries: 0 }).memories.search("x"), ConnectionLost);
  }
});

test("an invalid argument is refused before a request is sent", async (t) => {
  const [client, requests] = await serving(t, [ok]);
  assert.throws(() => new Client({ baseUrl: "localhost:9595" }), InvalidArgument);
  await assert.rejects(client.memories.get({ key: "a/../b" }), InvalidArgument);
  for (const external_id of ["..", "a/b"]) {
    await assert.rejects(client.conversations.get({ external_id }), InvalidArgument);
  }
  const half = "\ud800"; // of a surrogate pair
  await assert.rejects(client.memories.get({ key: half }), InvalidArgument);
  await assert.rejects(client.conversations.get({ external_id: half }), InvalidArgument);
  await assert.rejects(client.memories.list({ user_id: half }).all(), InvalidArgument);
  await assert.rejects(client.memories.get({}), (error) => error.field === "address");
  await assert.rejects(client.memories.store("x", { if_absent: true, if_version: 1 }), InvalidArgument);
  assert.equal(requests.length, 0);
});

test("spaces around the URL are ignored", async (t) => {
  const [client, requests] = await serving(t, [ok]);
  await new Client({ ...client.options, baseUrl: ` ${client.options.baseUrl} ` }).memories.search("x");
  assert.equal(requests.length, 1);
});

test("spaces in a filter do not make the URL three times as long", async (t) => {
  const [client, requests] = await serving(t, [text(200, '{"items": [], "next_cursor": null}')]);
  const filters = JSON.stringify({ "metadata.title": "a ".repeat(2500) });
  await client.memories.list({ filters }).all();
  assert.ok(requests[0].url.length < 6000);
  assert.equal(new URL(requests[0].url, "http://localhost").searchParams.get("filters"), filters);
});

test("an option that no request could have is refused", async (t) => {
  for (const [field, options] of [
    ["timeoutMs", { timeoutMs: 0 }],
    ["maxRetries", { maxRetries: 1.5 }],
    ["apiKey", { apiKey: "line\nline" }],
    ["baseUrl", { baseUrl: "http://user:secret@host" }],
  ]) {
    assert.throws(() => new Client(options), (error) => error instanceof InvalidArgument && error.field === field);
  }
  const [client, requests] = await serving(t, [ok]);
  await assert.rejects(client.memories.store({ size: Number.NaN }), (error) => error instanceof InvalidArgument && error.field === "size");
  await assert.rejects(client.memories.store({ count: 1n }), (error) => error instanceof InvalidArgument && error.field === "count");
  assert.equal(requests.length, 0);
});

test("a call that ignores the scope of its client is refused", async (t) => {
  const [client, requests] = await serving(t, [ok]);
  const ada = client.user("ada");
  await assert.rejects(ada.memories.stats(), (error) => error instanceof InvalidArgument && error.field === "user_id");
  await assert.rejects(ada.namespaces.delete("notes"), InvalidArgument);
  assert.throws(() => ada.proposals.list(), InvalidArgument);
  assert.throws(() => client.namespace("notes").conversations.list(), InvalidArgument);
  assert.equal(requests.length, 0);
});

test("null and undefined do not override the scope of a client", async () => {
  const sent = [];
  const answered = '{"items": [], "results": [], "memories": []}';
  const fetch = async (url, { body }) => (sent.push(`${url} ${body}`), new Response(answered, { headers: { "content-type": "application/json" } }));
  const ada = new Client({ apiKey: "key", fetch }).user("ada");
  const notes = ada.namespace("notes");
  for (const none of [null, undefined]) {
    const ids = { user_id: none, namespace: none };
    await notes.memories.list(ids).page();
    await notes.memories.map(ids);
    await notes.memories.search("x", ids);
    await notes.memories.store("x", ids);
    await notes.memories.storeAll([{ payload: "x", ...ids }]);
    await notes.memories.deleteMatching(ids);
    await notes.context.assemble("x", { user_id: none });
    await notes.context.manifest("x", { user_id: none });
    await ada.conversations.list({ user_id: none }).page();
    await ada.conversations.create({ user_id: none });
    await ada.conversations.search("x", { user_id: none });
    await ada.conversations.searchFullText("x", { user_id: none });
    for (const request of sent.splice(0)) assert.match(request, /user_id(=|":")ada/);
    const ends = { from_coord: "1", to_coord: "2", namespace: none };
    await notes.memories.search("x", ids);
    await notes.graph.link(ends);
    await notes.graph.linkMany([ends]);
    await notes.graph.neighbors({ coord: "1", namespace: none });
    await notes.graph.path(ends);
    await notes.graph.unlink(ends);
    for (const request of sent.splice(0)) assert.match(request, /namespace(=|":")notes/);
  }
});

test("a call whose repetition has another effect is not repeated when its response is lost", async (t) => {
  const [client, requests] = await serving(t, [lose]);
  await assert.rejects(client.conversations.summarize("1"), ConnectionLost);
  await assert.rejects(client.request("POST", "/memories", { json: { payload: {} } }), ConnectionLost);
  assert.equal(requests.length, 2);
});

test("a search is repeated when its response is lost", async (t) => {
  const [client, requests] = await serving(t, [lose, text(200, '{"memories": []}')]);
  await client.memories.search("x");
  assert.equal(requests.length, 2);
});

test("the error names another major version", async (t) => {
  const [client] = await serving(t, [problem(404, "not_found"), text(200, '{"version": "7.1.0"}')]);
  await assert.rejects(client.memories.store("x"), (error) => error instanceof IncompatibleServer && /7\.1\.0.*client@7/.test(error.message));
  await assert.rejects(client.checkVersion(), IncompatibleServer);
});

test("an unknown code has the class of its status, and the id of its request", async (t) => {
  const bare = (_, response) => {
    response.writeHead(599, { "content-type": "application/problem+json", "x-request-id": "r2" });
    response.end('{"status": 599, "code": "from_the_future"}');
  };
  const [client] = await serving(t, [bare]);
  await assert.rejects(client.memories.stats(), (error) => error instanceof ServerError && error.requestId === "r2");
});

test("options can be changed for one call", async (t) => {
  const [client, requests] = await serving(t, [ok]);
  await client.withOptions({ headers: { "x-request-id": "mine" }, idempotencyKey: "once" }).memories.store("x");
  assert.deepEqual([requests[0].headers["x-request-id"], requests[0].headers["idempotency-key"]], ["mine", "once"]);
  const aborted = client.withOptions({ signal: AbortSignal.abort() });
  await assert.rejects(aborted.memories.search("x"), { name: "AbortError" });
});

test("hooks see each attempt", async (t) => {
  const seen = [];
  const [client] = await serving(t, [problem(503, "unavailable"), ok], {
    onRequest: ({ attempt, headers }) => (headers.set("traceparent", "00-1"), seen.push(attempt)),
    onResponse: ({ attempt, response }) => seen.push([attempt, response?.status]),
  });
  await client.memories.store("x");
  assert.deepEqual(seen, [0, [0, 503], 1, [1, 201]]);
});

/** Store the memories of a bulk request, and record the size of its body. */
const storing = (sizes) => (request, response) => {
  let body = "";
  request.setEncoding("utf8").on("data", (part) => (body += part));
  request.on("end", () => {
    sizes.push(Buffer.byteLength(body));
    const results = JSON.parse(body).items.map((_, index) => ({ index, status: 201 }));
    text(200, JSON.stringify({ stored: results.length, failed: 0, results }))(request, response);
  });
};

test("storeAll sends no body that is too large for the server", async (t) => {
  const sizes = [];
  const [client] = await serving(t, [storing(sizes)]);
  const memories = Array.from({ length: 900 }, () => ({ payload: "漢".repeat(9000) }));
  assert.equal((await client.memories.storeAll(memories)).stored, 900);
  assert.ok(Math.max(...sizes) < 10 * 1024 * 1024, `${sizes}`);
});

test("storeAll sends no body with too many values for the server", async (t) => {
  const counts = [];
  const counting = (request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (part) => (body += part));
    request.on("end", () => {
      counts.push(body.split(",").length);
      const results = JSON.parse(body).items.map((_, index) => ({ index, status: 201 }));
      text(200, JSON.stringify({ stored: results.length, failed: 0, results }))(request, response);
    });
  };
  const [client] = await serving(t, [counting]);
  const memories = Array.from({ length: 400 }, () => ({ payload: { readings: Array(3000).fill(0) } }));
  assert.equal((await client.memories.storeAll(memories)).stored, 400);
  assert.ok(Math.max(...counts) < 500_000, `${counts}`);
});

test("the error of storeAll contains the results of earlier batches", async (t) => {
  const [client] = await serving(t, [storing([]), problem(403, "forbidden")]);
  await assert.rejects(client.memories.storeAll(Array.from({ length: 600 }, () => ({ payload: "x" }))), (error) => {
    assert.ok(error instanceof BulkStopped && error.cause instanceof Forbidden);
    assert.deepEqual([error.report.stored, error.report.results.length], [500, 500]);
    return true;
  });
});
