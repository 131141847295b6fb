// Test the tools and the middleware for the Vercel AI SDK with its mock model, against the server at SOMA_URL.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { generateText, simulateReadableStream, stepCountIs, streamText, wrapLanguageModel } from "ai";
import { MockLanguageModelV3 } from "ai/test";
import { Client } from "@somamemory/client";
import { memoryMiddleware, memoryTools } from "@somamemory/client/ai-sdk";

const usage = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 },
};
const result = (finish, ...content) => ({ content, finishReason: { unified: finish, raw: undefined }, usage, warnings: [] });
const says = (text) => result("stop", { type: "text", text });
const calls = (toolName, input) =>
  result("tool-calls", { type: "tool-call", toolCallId: randomUUID(), toolName, input: JSON.stringify(input) });

/** A model that returns these results in turn. */
const scripted = (...results) => new MockLanguageModelV3({ doGenerate: results });
const newUser = () => new Client().user(`user-${randomUUID()}`);
const remembering = (model, ...options) => wrapLanguageModel({ model, middleware: memoryMiddleware(...options) });
const messagesOf = async (client, external_id) =>
  (await client.conversations.messages({ external_id }).all()).map(({ role, content }) => [role, content]);

test("a later conversation recalls what was said", async () => {
  const [ada, first, second] = [newUser(), randomUUID(), randomUUID()];
  const model = scripted(says("Noted."), says("Porridge."));
  await generateText({ model: remembering(model, ada, { conversation: first }), prompt: "I am allergic to eggs at breakfast." });
  await generateText({ model: remembering(model, ada, { conversation: second }), system: "Be brief.", prompt: "What should I eat for breakfast?" });

  const [before, { prompt }] = model.doGenerateCalls;
  assert.equal(before.prompt.length, 1); // nothing to recall yet
  assert.deepEqual(prompt.map(({ role }) => role), ["system", "system", "user"]);
  assert.equal(prompt[0].content, "Be brief.");
  assert.match(prompt[1].content, /allergic to eggs/);
});

test("messages of the same conversation are not recalled, and are stored in order", async () => {
  const [ada, conversation] = [newUser(), randomUUID()];
  const model = scripted(says("Good."), says("Still good."));
  for (const prompt of ["I like tea in the morning.", "I still like tea in the morning."]) {
    await generateText({ model: remembering(model, ada, { conversation }), prompt });
  }
  assert.deepEqual(model.doGenerateCalls.map(({ prompt }) => prompt.length), [1, 1]);
  assert.deepEqual(await messagesOf(ada, conversation), [
    ["user", "I like tea in the morning."], ["assistant", "Good."],
    ["user", "I still like tea in the morning."], ["assistant", "Still good."],
  ]);
});

test("a long message with an emoji at the limit of the query is answered", async () => {
  const model = scripted(says("Nice."));
  await generateText({ model: remembering(model, newUser()), prompt: `${"a".repeat(1999)}😀 and more` });
  assert.equal(model.doGenerateCalls.length, 1);
});

test("a user does not recall the messages of another user", async () => {
  const model = scripted(says("Noted."), says("Anything."));
  await generateText({ model: remembering(model, newUser(), { conversation: randomUUID() }), prompt: "I am allergic to eggs." });
  await generateText({ model: remembering(model, newUser()), prompt: "Am I allergic to eggs?" });
  assert.equal(model.doGenerateCalls[1].prompt.length, 1);
});

test("messages are not added to the conversation of another user", async () => {
  const [ada, ben, conversation] = [newUser(), newUser(), randomUUID()];
  await generateText({ model: remembering(scripted(says("Noted.")), ada, { conversation }), prompt: "I am allergic to eggs." });
  const intruding = generateText({ model: remembering(scripted(says("Noted.")), ben, { conversation }), prompt: "I am Ben." });
  await assert.rejects(intruding, { name: "InvalidArgument", field: "conversation" });
  assert.equal((await messagesOf(ada, conversation)).length, 2);
});

test("a streamed answer is stored when it is complete", async () => {
  const [ada, conversation] = [newUser(), randomUUID()];
  const chunks = [
    { type: "text-start", id: "1" }, { type: "text-delta", id: "1", delta: "Por" }, { type: "text-delta", id: "1", delta: "ridge" },
    { type: "text-end", id: "1" }, { type: "finish", finishReason: { unified: "stop", raw: undefined }, usage },
  ];
  const model = new MockLanguageModelV3({ doStream: async () => ({ stream: simulateReadableStream({ chunks }) }) });
  const { text } = streamText({ model: remembering(model, ada, { conversation }), prompt: "What is for breakfast?" });
  assert.equal(await text, "Porridge");
  assert.deepEqual(await messagesOf(ada, conversation), [["user", "What is for breakfast?"], ["assistant", "Porridge"]]);
});

test("a streamed answer that ends with an error is not stored", async () => {
  const finish = { type: "finish", finishReason: { unified: "error", raw: undefined }, usage };
  for (const end of [[{ type: "error", error: new Error("overloaded") }, finish], []]) {
    const [ada, conversation] = [newUser(), randomUUID()];
    const chunks = [{ type: "text-start", id: "1" }, { type: "text-delta", id: "1", delta: "Por" }, ...end];
    const model = new MockLanguageModelV3({ doStream: async () => ({ stream: simulateReadableStream({ chunks }) }) });
    const answer = streamText({ model: remembering(model, ada, { conversation }), prompt: "Breakfast?", onError: () => {} });
    await answer.consumeStream();
    await assert.rejects(messagesOf(ada, conversation), { name: "NotFound" });
  }
});

test("a model stores, finds and deletes memories with tools", async () => {
  const ada = newUser();
  const store = scripted(calls("memory_store", { content: "Ada prefers a window seat.", key: "ada/seat" }), says("Done."));
  const stored = await generateText({ model: store, tools: memoryTools(ada), stopWhen: stepCountIs(3), prompt: "Remember my seat." });
  const { id, version } = stored.steps[0].toolResults[0].output;
  assert.equal(version, 1);

  const search = scripted(calls("memory_search", { query: "Which seat does Ada prefer?" }), says("By the window."));
  const found = await generateText({ model: search, tools: memoryTools(ada), stopWhen: stepCountIs(3), prompt: "Where do I sit?" });
  const [memory] = found.steps[0].toolResults[0].output.memories;
  assert.deepEqual([memory.id, memory.key, memory.payload.text], [id, "ada/seat", "Ada prefers a window seat."]);

  const forget = scripted(calls("memory_delete", { id }), says("Forgotten."));
  const deleted = await generateText({ model: forget, tools: memoryTools(ada), stopWhen: stepCountIs(3), prompt: "Forget it." });
  assert.deepEqual(deleted.steps[0].toolResults[0].output, { deleted: true });
});

test("a key of one user does not replace the memory of another", async () => {
  const [ada, ben] = [newUser(), newUser()];
  for (const user of [ada, ben]) {
    const model = scripted(calls("memory_store", { content: user.scope.user_id, key: "name" }), says("Done."));
    await generateText({ model, tools: memoryTools(user), stopWhen: stepCountIs(3), prompt: "Remember my name." });
  }
  for (const user of [ada, ben]) {
    const [memory] = await user.memories.list().all();
    assert.equal(memory.payload.text, user.scope.user_id);
  }
});

test("the user's message is stored once if the model calls tools", async () => {
  const [ada, conversation] = [newUser(), randomUUID()];
  const model = scripted(calls("memory_search", { query: "seat" }), says("I do not know."));
  await generateText({
    model: remembering(model, ada, { conversation }), tools: memoryTools(ada), stopWhen: stepCountIs(3), prompt: "Where do I sit?",
  });
  assert.deepEqual(await messagesOf(ada, conversation), [["user", "Where do I sit?"], ["assistant", "I do not know."]]);
});

test("without a server, the call fails or onError is called", async () => {
  const gone = new Client({ baseUrl: "http://127.0.0.1:9", apiKey: "key", maxRetries: 0 });
  const options = { conversation: "chat" };
  await assert.rejects(generateText({ model: remembering(scripted(says("Hi.")), gone, options), prompt: "Hello there", maxRetries: 0 }));

  const errors = [];
  const model = remembering(scripted(says("Hi.")), gone, { ...options, onError: (error) => errors.push(error.name) });
  assert.equal((await generateText({ model, prompt: "Hello there" })).text, "Hi.");
  assert.deepEqual(errors, ["ConnectionLost", "ConnectionLost"]); // once when recalling, once when storing
});
