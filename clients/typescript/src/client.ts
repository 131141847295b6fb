import { Admin, Namespaces, Proposals } from "./admin.js";
import { Context, Conversations } from "./conversations.js";
import { InvalidArgument } from "./errors.js";
import { Graph } from "./graph.js";
import { Memories } from "./memories.js";
import type { HealthOut } from "./schema.js";
import type { Scope } from "./scope.js";
import { type ClientOptions, incompatibility, type RequestOptions, Transport } from "./transport.js";

/**
 * A client for a SomaMemory server. It is cheap to create and has no connection to close.
 *
 *     const client = new Client({ baseUrl: "http://127.0.0.1:9595", apiKey: "…" });
 *     await client.memories.store("Ada drinks coffee", { user_id: "ada" });
 *     for (const hit of await client.memories.search("What does Ada drink?", { user_id: "ada" })) console.log(hit.payload);
 */
export class Client {
  readonly memories: Memories;
  readonly conversations: Conversations;
  readonly context: Context;
  readonly graph: Graph;
  readonly namespaces: Namespaces;
  readonly proposals: Proposals;
  readonly admin: Admin;
  readonly #transport: Transport;

  constructor(readonly options: ClientOptions = {}, readonly scope: Scope = {}) {
    this.#transport = new Transport(options);
    this.memories = new Memories(this.#transport, scope);
    this.conversations = new Conversations(this.#transport, scope);
    this.context = new Context(this.#transport, scope);
    this.graph = new Graph(this.#transport, scope);
    this.namespaces = new Namespaces(this.#transport, scope);
    this.proposals = new Proposals(this.#transport, scope);
    this.admin = new Admin(this.#transport, scope);
  }

  /** Return a client that is limited to the memories and conversations of one user. */
  user(user_id: string): Client {
    return this.#limited("user_id", user_id);
  }

  /** Return a client that is limited to the memories and conversations of one agent. */
  agent(agent_id: string): Client {
    return this.#limited("agent_id", agent_id);
  }

  /** Return a client that is limited to the memories and conversations of one session. */
  session(session_id: string): Client {
    return this.#limited("session_id", session_id);
  }

  /** Return a client that is limited to the memories in one namespace. */
  namespace(namespace: string): Client {
    return this.#limited("namespace", namespace);
  }

  #limited(name: keyof Scope, value: string): Client {
    // Without this check, a client for an undefined user would find the memories of all users.
    if (typeof value !== "string") throw new InvalidArgument(name, `must be text, not ${value}`);
    return new Client(this.options, { ...this.scope, [name]: value });
  }

  /** Return a client that acts for another tenant. Requires an operator's key. */
  tenant(tenant: string): Client {
    return this.withOptions({ tenant });
  }

  /** Return a client with other options, such as `timeoutMs` or `maxRetries`. */
  withOptions(options: ClientOptions): Client {
    return new Client({ ...this.options, ...options }, this.scope);
  }

  /**
   * Send any request, and return the unchanged response. Throws the same errors as the other methods. A write that
   * may have taken effect is sent again only with `once: true`. Routes that call a language model ignore the Idempotency-Key.
   */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    return this.#transport.response(method, path, options);
  }

  /** Return the state of the server and the services that it uses. */
  async health(): Promise<HealthOut> {
    return this.#transport.json<HealthOut>("GET", "/health");
  }

  /** Return the server's version. Throws IncompatibleServer if its major version differs from the client's. */
  async checkVersion(): Promise<string> {
    const { version } = await this.health();
    const error = incompatibility(version ?? "unknown");
    if (error) throw error;
    return version as string;
  }
}
