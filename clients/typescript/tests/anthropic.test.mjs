// Compare the backend of Claude's memory tool with Anthropic's tool for local files, using random sequences of
// commands, and let two agents write concurrently to the server at SOMA_URL.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { betaMemoryTool, BetaLocalFilesystemMemoryTool } from "@anthropic-ai/sdk/tools/memory/node";
import { Client, NotFound, PreconditionFailed } from "@somamemory/client";
import { Refused, SomaMemoryTool } from "@somamemory/client/anthropic";

const SEQUENCES = Number(process.env.SEQUENCES ?? 1000);
const ON_A_SERVER = Number(process.env.SEQUENCES_ON_A_SERVER ?? 20);
const NAMES = ["a", "b.md", "a/b.md", "a/c", "a/c/d.txt", "a/c/d.txt/e", ".hidden", "a/.h", "é x", "x/../b.md", "../../etc", "node_modules/x", "a-b", ""];
const TEXTS = ["", "\n", "one", "one\ntwo\nthree\n", "two\ntwo", "a\r\nb\r\n", "tail\n\n", "$& $1", "ünïcode ✓\n".repeat(200)];
const PARTS = ["", "one", "two", "o", "\n", "missing", "\r", "✓", "$&"];

/** A seeded random number generator, so that failures are reproducible (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function* commands(seed) {
  const next = random(seed);
  const choose = (items) => items[Math.floor(next() * items.length)];
  const path = () => choose(["/memories/", "/memories/", "/memories//", "/memories"]) + choose(NAMES);
  const makers = {
    view: () => ({ path: path(), view_range: choose([undefined, [1, 2], [2, -1], [0, 99], [3, 1]]) }),
    create: () => ({ path: path(), file_text: choose(TEXTS) }),
    str_replace: () => ({ path: path(), old_str: choose(PARTS), new_str: choose(PARTS) }),
    insert: () => ({ path: path(), insert_line: Math.floor(next() * 6) - 1, insert_text: choose(TEXTS) }),
    delete: () => ({ path: path() }),
    rename: () => ({ old_path: path(), new_path: path() }),
  };
  const count = 4 + Math.floor(next() * 9);
  for (let n = 0; n < count; n++) {
    const command = choose(["create", "create", ...Object.keys(makers)]);
    yield { command, ...makers[command]() };
  }
  yield { command: "view", path: "/memories" };
}

async function answer(tool, command) {
  try {
    return (await tool[command.command](command)).replace(/^\S+(?=\t.*\/$)/gm, "4K").replace(/^(Here're .*\n)\S+/, "$14K");
  } catch (error) {
    if (error.code?.startsWith?.("E")) return "refused by the file system"; // which the vendor's tool does not translate
    return `refused: ${error.message}`;
  }
}

async function compare(tool, folder, seed) {
  const oracle = await BetaLocalFilesystemMemoryTool.init(folder);
  const done = [];
  for (const command of commands(seed)) {
    const [expected, given] = [await answer(oracle, command), await answer(tool, command)];
    done.push(command);
    if (expected === "refused by the file system" && given.startsWith("refused: ")) continue;
    assert.equal(given, expected, JSON.stringify({ seed, done }));
  }
  await rm(folder, { recursive: true });
}

/** An in-memory substitute for the operations that the tool uses. */
class Memories {
  all = new Map();

  namespace() {
    return { memories: this };
  }

  list({ key_prefix } = {}) {
    const found = [...this.all.values()].filter(({ key }) => key_prefix === undefined || `${key}/`.startsWith(`${key_prefix}/`));
    return { all: async () => found };
  }

  async get({ key }) {
    if (!this.all.has(key)) throw new NotFound({ status: 404 });
    return this.all.get(key);
  }

  async getMany({ keys }) {
    return keys.map((key) => ({ memory: this.all.get(key) ?? null }));
  }

  async store(payload, { key, if_version, if_absent }) {
    const version = this.all.get(key)?.version;
    if (if_absent ? version !== undefined : version !== if_version) throw new PreconditionFailed({ status: 412 });
    this.all.set(key, { key, payload, version: (version ?? 0) + 1 });
  }

  async delete({ key }, { if_version }) {
    if (this.all.get(key)?.version !== if_version) throw new PreconditionFailed({ status: 412 });
    return this.all.delete(key);
  }

  async deleteMany({ keys }) {
    for (const key of keys) this.all.delete(key);
  }
}

async function folders(run) {
  const parent = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "soma-"));
  try {
    await run((seed) => join(parent, String(seed)));
  } finally {
    await rm(parent, { recursive: true });
  }
}

test(`${SEQUENCES} random sequences of commands match the vendor's results`, async () => {
  await folders(async (folder) => {
    for (let seed = 0; seed < SEQUENCES; seed++) await compare(new SomaMemoryTool(new Memories(), "files"), folder(seed), seed);
  });
});

test(`${ON_A_SERVER} random sequences of commands match the vendor's results on a server`, async () => {
  await folders(async (folder) => {
    for (let seed = 0; seed < ON_A_SERVER; seed++) {
      await compare(new SomaMemoryTool(new Client(), `test/${randomUUID()}`), folder(seed), seed);
    }
  });
});

test("two agents that write to one file concurrently lose no changes", async () => {
  const namespace = `test/${randomUUID()}`;
  const agents = [new SomaMemoryTool(new Client(), namespace), new SomaMemoryTool(new Client(), namespace)];
  await agents[0].create({ command: "create", path: "/memories/log", file_text: "" });
  const write = async (agent, name) => {
    for (let n = 0; n < 20; n++) {
      await agent.insert({ command: "insert", path: "/memories/log", insert_line: 0, insert_text: `${name}${n}` });
    }
  };
  await Promise.all(agents.map((agent, name) => write(agent, `agent ${name}, line `)));
  const shown = await agents[0].view({ command: "view", path: "/memories/log" });
  assert.equal(new Set(shown.match(/agent \d, line \d+/g)).size, 40);
});

test("agents that create one file concurrently do not overwrite each other", async () => {
  const namespace = `test/${randomUUID()}`;
  const create = async (text) => {
    const tool = new SomaMemoryTool(new Client(), namespace);
    return tool.create({ command: "create", path: "/memories/plan", file_text: text });
  };
  const outcomes = await Promise.allSettled(["one", "two", "three"].map(create));
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
  assert.ok(outcomes.every(({ reason }) => reason === undefined || reason instanceof Refused));
});

test("the SDK accepts the backend, and files can be searched", async () => {
  const namespace = `test/${randomUUID()}`;
  const tool = betaMemoryTool(new SomaMemoryTool(new Client(), namespace));
  assert.deepEqual([tool.type, tool.name], ["memory_20250818", "memory"]);
  await tool.run({ command: "create", path: "/memories/ada.md", file_text: "Ada is allergic to nuts." });
  const hits = await new Client().namespace(namespace).memories.search("What must Ada not eat?");
  assert.equal(hits.memories[0].key, "ada.md");
});
