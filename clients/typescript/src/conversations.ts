import { encoded } from "./arguments.js";
import { InvalidArgument } from "./errors.js";
import { Pages } from "./pages.js";
import type {
  ChangedOut, ContextBody, ContextMessageOut, ContextPromptOut, ConversationBody, ConversationDeletedOut, ConversationOut,
  ConversationPatch, ConversationsListQuery, ConversationsOut, FactOut, FactsOut, FullTextBody, FullTextOut, ManifestOut,
  MessageBody, MessageOut, MessagesOut, QueryBody, QueryOut, SummaryOut,
} from "./schema.js"; // prettier-ignore
import { Resource } from "./scope.js";

/** The name of a conversation: its id, or the `external_id` that your application chose. */
export type ConversationName = string | { readonly external_id: string };

const MESSAGES = 1000; // in one request

function pathOf(conversation: ConversationName): string {
  if (typeof conversation === "string") return `/conversations/${encoded("id", conversation)}`;
  const { external_id } = conversation;
  if (!external_id) throw new InvalidArgument("external_id", "must not be empty");
  if (external_id === "." || external_id === "..") throw new InvalidArgument("external_id", "must not be '.' or '..'");
  if (external_id.includes("/")) throw new InvalidArgument("external_id", "must not contain a slash");
  return `/conversations/by-external-id/${encoded("external_id", external_id)}`;
}

/** Record and search conversations and their messages. */
export class Conversations extends Resource {
  /** Record a conversation. If a conversation with this `external_id` exists, return it unchanged. */
  async create(options: ConversationBody & { external_id?: string } = {}): Promise<ConversationOut> {
    this.refuse("conversations.create", "namespace");
    const { external_id, ...fields } = options;
    const json = { ...fields, ...this.ids(fields) };
    if (external_id !== undefined) return this.transport.json("PUT", pathOf({ external_id }), { json, once: true });
    return this.transport.json("POST", "/conversations", { json, once: true });
  }

  /** Return a conversation without its messages. Throws NotFound if it does not exist. */
  async get(conversation: ConversationName): Promise<ConversationOut> {
    return this.transport.json("GET", pathOf(conversation));
  }

  /** List conversations, most recently changed first. */
  list(options: Omit<ConversationsListQuery, "cursor" | "page" | "page_size"> = {}): Pages<ConversationOut> {
    this.refuse("conversations.list", "namespace");
    return new Pages(async (cursor) => {
      const query = { limit: 100, ...options, ...this.ids(options), cursor };
      const page = await this.transport.json<ConversationsOut>("GET", "/conversations", { query });
      return { items: page.results, nextCursor: page.next_cursor };
    });
  }

  /** Append messages. Long lists are sent in several requests. */
  async append(conversation: ConversationName, messages: MessageBody | readonly MessageBody[]): Promise<MessageOut[]> {
    const all = Array.isArray(messages) ? (messages as readonly MessageBody[]) : [messages as MessageBody];
    const stored: MessageOut[] = [];
    for (let start = 0; start < all.length; start += MESSAGES) {
      const json = { messages: all.slice(start, start + MESSAGES) };
      const sent = await this.transport.json<MessagesOut>("POST", `${pathOf(conversation)}/messages`, { json, once: true });
      stored.push(...sent.items);
    }
    return stored;
  }

  /** List the messages in a conversation, in order. */
  messages(conversation: ConversationName, options: { limit?: number } = {}): Pages<MessageOut> {
    return new Pages(async (cursor) => {
      const page = await this.transport.json<MessagesOut>("GET", `${pathOf(conversation)}/messages`, { query: { ...options, cursor } });
      return { items: page.items, nextCursor: page.next_cursor };
    });
  }

  /** Change a conversation's fields, such as its label. */
  async update(id: string, changes: ConversationPatch): Promise<ChangedOut> {
    return this.transport.json("PATCH", pathOf(id), { json: changes, once: true });
  }

  /** Delete a conversation. With `purge`, delete it permanently. */
  async delete(id: string, options: { purge?: boolean } = {}): Promise<ConversationDeletedOut> {
    return this.transport.json("DELETE", pathOf(id), { query: options });
  }

  /** Find messages by meaning and keyword. */
  async search(query: string, options: Omit<QueryBody, "query"> = {}): Promise<QueryOut> {
    this.refuse("conversations.search", "namespace");
    return this.transport.json("POST", "/query", { json: { query, ...options, ...this.ids(options) }, repeatable: true });
  }

  /** Find messages by keyword only. */
  async searchFullText(query: string, options: Omit<FullTextBody, "query"> = {}): Promise<FullTextOut> {
    this.refuse("conversations.searchFullText", "namespace");
    return this.transport.json("POST", "/search/fts", { json: { query, ...options, ...this.ids(options) }, repeatable: true });
  }

  /** List the facts that were extracted from a conversation. */
  facts(id: string): Pages<FactOut> {
    return new Pages(async (cursor) => {
      const page = await this.transport.json<FactsOut>("GET", `${pathOf(id)}/facts`, { query: { cursor } });
      return { items: page.items, nextCursor: page.next_cursor };
    });
  }

  /** Summarise a day, a week or a month of a conversation. */
  async summarize(id: string, options: { level?: "daily" | "weekly" | "monthly"; day?: string } = {}): Promise<SummaryOut> {
    return this.transport.json("POST", `${pathOf(id)}/summary`, { query: options });
  }
}

type ContextOptions = Omit<ContextBody, "query" | "format">;

/** Assemble the context for a prompt. */
export class Context extends Resource {
  /** Return the most useful messages that fit in the token budget, best first. */
  async assemble(query: string, options?: ContextOptions & { format?: "items" }): Promise<ContextMessageOut[]>;
  /** Return the context as a single string for a prompt, or as messages for a language model. */
  async assemble(query: string, options: ContextOptions & { format: "text" | "messages" }): Promise<ContextPromptOut>;
  async assemble(query: string, options: Omit<ContextBody, "query"> = {}): Promise<ContextMessageOut[] | ContextPromptOut> {
    return this.transport.json("POST", "/context/assemble", { json: { query, ...options, ...this.ids(options) }, repeatable: true });
  }

  /** Return the context, with the reason for including or leaving out each candidate. */
  async manifest(query: string, options: ContextOptions = {}): Promise<ManifestOut> {
    return this.transport.json("POST", "/context/assemble", { json: { query, ...options, ...this.ids(options) }, query: { manifest: true }, repeatable: true });
  }
}
