import { jsonSchema, type LanguageModelMiddleware, tool } from "ai";
import type { Client } from "./client.js";
import { InvalidArgument } from "./errors.js";

type Wrapped = Parameters<NonNullable<LanguageModelMiddleware["wrapGenerate"]>>[0];
type CallOptions = Wrapped["params"];
type Message = CallOptions["prompt"][number];
type StreamPart = Awaited<ReturnType<Wrapped["doStream"]>>["stream"] extends ReadableStream<infer Part> ? Part : never;

const HEADER = "Relevant memories from earlier conversations. Use them if they help, and do not mention them otherwise:";
const MAX_QUERY = 2000; // UTF-16 code units

export interface MemoryMiddlewareOptions {
  /** The external id of the conversation in which the messages are stored. If absent, no messages are stored. */
  conversation?: string;
  /** Maximum number of tokens in the recalled messages, 1,000 by default. */
  contextBudget?: number;
  /** Called with each memory error; the model then answers without memory. If absent, memory errors are thrown. */
  onError?: (error: unknown) => void;
}

/**
 * Middleware for a Vercel AI SDK language model: adds relevant messages from earlier conversations to the prompt,
 * and stores the messages from the user and the model.
 *
 *     const model = wrapLanguageModel({ model: openai("…"), middleware: memoryMiddleware(client.user("ada"), { conversation: "chat-17" }) });
 */
export function memoryMiddleware(client: Client, options: MemoryMiddlewareOptions = {}): LanguageModelMiddleware {
  const { conversation, contextBudget = 1000, onError } = options;
  const guarded = async <Value>(action: () => Promise<Value>, otherwise: Value): Promise<Value> => {
    if (!onError) return action();
    try {
      return await action();
    } catch (error) {
      onError(error);
      return otherwise;
    }
  };
  const store = async (prompt: CallOptions["prompt"], answer: string): Promise<void> => {
    if (conversation === undefined) return;
    const messages = [
      { role: "user" as const, content: lastUserText(prompt) },
      { role: "assistant" as const, content: answer },
    ].filter(({ content }) => content.trim() !== "");
    if (messages.length === 0) return;
    const { user_id } = await client.conversations.create({ external_id: conversation, session_id: conversation });
    if (client.scope.user_id !== undefined && user_id !== client.scope.user_id) {
      throw new InvalidArgument("conversation", "belongs to another user; choose an id that no other user has");
    }
    await client.conversations.append({ external_id: conversation }, messages);
  };
  const recall = async (query: string): Promise<string> => {
    const current = conversation === undefined ? {} : { session_id: conversation, exclude_current_session: true };
    const context = { context_budget: contextBudget, format: "text" as const, ...current };
    return (await client.context.assemble(shortened(query), context)).text ?? "";
  };
  return {
    specificationVersion: "v3",
    transformParams: async ({ params }) => {
      const query = lastUserText(params.prompt);
      const text = query.trim() === "" ? "" : await guarded(() => recall(query), "");
      return text === "" ? params : { ...params, prompt: withMemories(params.prompt, `${HEADER}\n\n${text}`) };
    },
    wrapGenerate: async ({ doGenerate, params }) => {
      const result = await doGenerate();
      const answer = result.content.map((part) => (part.type === "text" ? part.text : "")).join("");
      await guarded(() => store(params.prompt, answer), undefined);
      return result;
    },
    wrapStream: async ({ doStream, params }) => {
      const { stream, ...rest } = await doStream();
      let answer = "";
      let isFinished = false;
      let hasFailed = false;
      const storing = new TransformStream<StreamPart, StreamPart>({
        transform(part, controller) {
          if (part.type === "text-delta") answer += part.delta;
          if (part.type === "finish") isFinished = true;
          if (part.type === "error") hasFailed = true;
          controller.enqueue(part);
        },
        flush: async () => {
          if (isFinished && !hasFailed) await guarded(() => store(params.prompt, answer), undefined);
        },
      });
      return { stream: stream.pipeThrough(storing), ...rest };
    },
  };
}

/** Return the text of the last message if it is the user's; in later steps, the last message is a tool result. */
function lastUserText(prompt: readonly Message[]): string {
  const last = prompt.at(-1);
  return last?.role === "user" ? last.content.map((part) => (part.type === "text" ? part.text : "")).join("\n") : "";
}

/** Return the beginning of a text, without half of a surrogate pair at its end, which the service would reject. */
const shortened = (text: string): string => text.slice(0, MAX_QUERY).replace(/[\uD800-\uDBFF]$/, "");

/** Add a system message after those at the beginning of the prompt. */
function withMemories(prompt: CallOptions["prompt"], content: string): CallOptions["prompt"] {
  const first = prompt.findIndex((message) => message.role !== "system");
  const start = first < 0 ? prompt.length : first;
  return [...prompt.slice(0, start), { role: "system", content }, ...prompt.slice(start)];
}

/**
 * Tools for a Vercel AI SDK model that decides when to use the memory: `memory_search`, `memory_store` and
 * `memory_delete`.
 *
 *     await generateText({ model, tools: memoryTools(client.user("ada")), stopWhen: stepCountIs(5), prompt });
 */
export function memoryTools(client: Client) {
  const { user_id } = client.scope;
  // Keys are unique in a namespace. Without this prefix, one user could replace another user's memory.
  const prefix = user_id === undefined ? "" : `${encodeURIComponent(user_id)}/`;
  const shown = (key?: string | null): string | null | undefined => (key?.startsWith(prefix) ? key.slice(prefix.length) : key);
  return {
    memory_search: tool({
      description: "Search memories by meaning and keywords, best first.",
      inputSchema: jsonSchema<{ query: string; limit?: number }>({
        type: "object",
        properties: { query: { type: "string" }, limit: { type: "integer", minimum: 1, maximum: 50, default: 10 } },
        required: ["query"],
        additionalProperties: false,
      }),
      execute: async ({ query, limit }) => {
        const found = await client.memories.search(query, { top_k: limit ?? 10 });
        const memories = found.memories.map(({ id, key, score, payload, created_at }) => ({ id, key: shown(key), score, payload, created_at }));
        return { memories, degraded: found.degraded };
      },
    }),
    memory_store: tool({
      description: "Store a self-contained statement. With a key, replace the memory that has this key.",
      inputSchema: jsonSchema<{ content: string; key?: string }>({
        type: "object",
        properties: { content: { type: "string" }, key: { type: "string" } },
        required: ["content"],
        additionalProperties: false,
      }),
      execute: async ({ content, key }) => {
        const { id, version } = await client.memories.store(content, key === undefined ? {} : { key: prefix + key });
        return { id, version };
      },
    }),
    memory_delete: tool({
      description: "Delete a memory if the user asks you to forget it.",
      inputSchema: jsonSchema<{ id: string }>({
        type: "object",
        properties: { id: { type: "string", format: "uuid" } },
        required: ["id"],
        additionalProperties: false,
      }),
      execute: async ({ id }) => ({ deleted: await client.memories.delete({ id }) }),
    }),
  };
}
