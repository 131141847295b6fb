// Test the client against the server at SOMA_URL. tests/clients/test_typescript_client.py starts one.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { test } from "node:test";
import { Client, Forbidden, HistoryGone, InvalidArgument, InvalidInput, NotFound, PreconditionFailed, Unauthenticated } from "@somamemory/client";

const server = new Client();
const client = server.namespace(`ts/${randomUUID()}`);

test("a text is stored and found by meaning", async () => {
  const stored = await client.memories.store("Ada drinks her coffee without sugar.", { user_id: "ada" });
  const hits = [...(await client.memories.search("What does Ada drink?", { user_id: "ada" }))];
  assert.equal(hits[0].id, stored.id);
});

test("a user's client sees the memories of this user only", async () => {
  const [eve, bob] = [client.user("eve"), client.user("bob")];
  await eve.memories.store("Eve plays the cello.");
  assert.deepEqual(await bob.memories.list().all(), []);
  assert.equal((await eve.memories.list().all()).length, 1);
});

test("a client for an undefined user is refused", () => {
  for (const value of [undefined, null]) assert.throws(() => server.user(value), InvalidArgument);
});

test("a memory is named by key, by id and by coordinate", async () => {
  const { id, coord } = await client.memories.store({ text: "a window seat" }, { key: "ada/seat & place" });
  for (const address of [{ key: "ada/seat & place" }, { id }, { coord }]) {
    assert.equal((await client.memories.get(address)).id, id);
    await client.memories.update(address, { importance: 5 });
  }
  const versions = await client.memories.history({ key: "ada/seat & place" }).all();
  assert.deepEqual(versions.map((version) => version.version), [4, 3, 2, 1]);
  assert.equal(await client.memories.delete({ id }), true);
  assert.equal((await client.memories.restore({ coord })).id, id);
});

test("a list continues over its pages", async () => {
  const many = client.namespace(`ts/${randomUUID()}`);
  const report = await many.memories.storeAll(Array.from({ length: 1203 }, (_, n) => ({ payload: `note ${n}` })));
  assert.deepEqual([report.stored, report.failed, report.results.at(-1).index], [1203, 0, 1202]);
  assert.equal((await many.memories.list({ limit: 500 }).all()).length, 1203);
  assert.equal((await many.memories.list({ limit: 500 }).all(7)).length, 7);
  assert.equal((await many.memories.getMany({ ids: report.results.map((result) => result.id) })).length, 1203);
});

test("a report names the memories that were not stored", async () => {
  const report = await client.memories.storeAll([{ payload: "good" }, { payload: "bad", importance: 11 }]);
  assert.deepEqual([report.stored, report.failed, report.results[1].index], [1, 1, 1]);
});

test("a condition on the version protects a change", async () => {
  const { version } = await client.memories.store("one", { key: "guarded" });
  await client.memories.update({ key: "guarded" }, { payload: { text: "two" }, if_version: version });
  await assert.rejects(client.memories.update({ key: "guarded" }, { importance: 1, if_version: version }), PreconditionFailed);
  await assert.rejects(client.memories.store("three", { key: "guarded", if_absent: true }), PreconditionFailed);
});

test("a conversation is recorded once, continued, searched and assembled", async () => {
  const eve = server.user(`eve-${randomUUID()}`);
  const external_id = randomUUID();
  const first = await eve.conversations.create({ external_id, label: "Breakfast", messages: [{ role: "user", content: "No eggs for Ada." }] });
  const again = await eve.conversations.create({ external_id });
  assert.equal(again.id, first.id);
  await eve.conversations.append({ external_id }, { role: "assistant", content: "I will plan without eggs." });
  assert.equal((await eve.conversations.messages(first.id).all()).length, 2);
  assert.ok((await eve.conversations.search("eggs")).results.length > 0);
  assert.ok((await eve.context.assemble("What about eggs for Ada?")).length > 0);
  const prompt = await eve.context.assemble("What about eggs for Ada?", { format: "text" });
  assert.match(prompt.text, /No eggs for Ada/);
});

test("links lead from a memory to its neighbours", async () => {
  await client.memories.store("first", { coord: [1, 2] });
  await client.memories.store("second", { coord: [1, 3] });
  await client.graph.link({ from_coord: "1,2", to_coord: "1,3", link_type: "follows" });
  const { neighbors } = await client.graph.neighbors({ coord: "1,2" });
  assert.equal(neighbors.length, 1);
  assert.equal((await client.graph.path({ from_coord: "1,2", to_coord: "1,3" })).found, true);
  await client.graph.unlink({ from_coord: [1, 2], to_coord: [1, 3], link_type: "follows" });
  assert.deepEqual((await client.graph.neighbors({ coord: "1,2" })).neighbors, []);
});

test("proposals are listed", async () => {
  assert.deepEqual(await server.proposals.list().all(), []);
  await assert.rejects(server.proposals.accept(randomUUID()), NotFound);
});

test("an error has the class of its code, the field and the id of the request", async () => {
  await assert.rejects(client.memories.get({ key: "nothing/here" }), (error) => error instanceof NotFound && error.requestId.length > 0);
  await assert.rejects(client.memories.search(""), (error) => error instanceof InvalidInput && error.errors[0].field === "query");
  await assert.rejects(server.withOptions({ apiKey: "wrong" }).memories.stats(), Unauthenticated);
  await assert.rejects(client.tenant("no-such-tenant").memories.store("x"), (error) => error instanceof NotFound || error instanceof Forbidden);
  assert.ok(HistoryGone);
});

test("the version of the server is known", async () => {
  assert.match(await client.checkVersion(), /^0\./);
});

test("the CommonJS build offers the same names", async () => {
  const required = createRequire(import.meta.url)("@somamemory/client");
  assert.deepEqual(Object.keys(required).sort(), Object.keys(await import("@somamemory/client")).sort());
});
