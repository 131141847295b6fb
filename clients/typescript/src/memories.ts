import { type Address, type Coordinate, coordinateText, pathOf } from "./addresses.js";
import { jsonText } from "./arguments.js";
import { InvalidArgument, SomaError } from "./errors.js";
import { Pages } from "./pages.js";
import type {
  BulkDeletedOut, BulkFound, BulkGotOut, BulkResult, BulkStoredOut, DeletedMatchingOut, DeletedOut, DeleteMatchingBody,
  FoundOut, HistoryOut, MapOut, MemoriesListQuery, MemoriesMapQuery, MemoryEnvelope, MemoryOut, NeighborsOut, PageOut,
  PatchBody, SearchBody, SearchOut, StatsOut, StoreBody, StoredOut, VersionOut,
} from "./schema.js"; // prettier-ignore
import { IDS, Resource } from "./scope.js";

/** The payload of a memory: text, or any JSON object. */
export type Payload = string | Record<string, unknown>;
export type StoreOptions = Omit<StoreBody, "payload" | "embedding"> & { embedding?: readonly number[] | null } & Conditions;
export type SearchOptions = Omit<SearchBody, "query">;
export type NewMemory = { payload: Payload } & Omit<StoreBody, "payload">;

/** Conditions on the version of a memory, from the `ETag` header or the `version` field. */
export interface Conditions {
  /** Write only if this is the current version. */
  if_version?: number | undefined;
  /** Write only if there is no memory yet. */
  if_absent?: boolean | undefined;
}

/** The names of several memories in one namespace. */
export type Addresses =
  | { readonly keys: readonly string[]; readonly namespace?: string | undefined }
  | { readonly coords: readonly Coordinate[]; readonly namespace?: string | undefined }
  | { readonly ids: readonly string[] };

/** The hits of a search, best first, for use in a `for` loop. */
export class SearchResult implements Iterable<FoundOut> {
  readonly memories: readonly FoundOut[];
  /** The search legs ("semantic" or "keyword") that were unavailable. */
  readonly degraded: SearchOut["degraded"];
  readonly mode: SearchOut["mode"];
  readonly next_offset: number | null;

  constructor(readonly raw: SearchOut) {
    this.memories = raw.memories;
    this.degraded = raw.degraded;
    this.mode = raw.mode;
    this.next_offset = raw.next_offset ?? null;
  }

  [Symbol.iterator](): Iterator<FoundOut> {
    return this.memories[Symbol.iterator]();
  }
}

/** The result for each memory passed to `storeAll`. `index` is its position in the given list. */
export interface Report {
  stored: number;
  failed: number;
  results: BulkResult[];
}

/** `storeAll` could not continue. `report` has the results so far; later memories may not have been stored. */
export class BulkStopped extends SomaError {
  constructor(readonly report: Report, cause: SomaError) {
    super(`stopped after ${report.results.length} memories: ${cause.message}`, { cause });
  }
}

const BATCH = 500;
// The service accepts bodies of 10 MiB with 500,000 values.
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
const MAX_BATCH_VALUES = 400_000;
const UTF8 = new TextEncoder();

const payloadOf = (payload: Payload): Record<string, unknown> => (typeof payload === "string" ? { text: payload } : payload);

function conditionsOf({ if_version, if_absent }: Conditions): Record<string, string | undefined> {
  if (if_version !== undefined && if_absent) throw new InvalidArgument("if_absent", "cannot be combined with if_version");
  return { "if-match": if_version === undefined ? undefined : `"${if_version}"`, "if-none-match": if_absent ? "*" : undefined };
}

/** Store, find, change and delete memories. */
export class Memories extends Resource {
  /** Store a memory: text, or any JSON object. If a memory with its key or coordinate exists, replace it. */
  async store(payload: Payload, options: StoreOptions = {}): Promise<StoredOut> {
    const { if_version, if_absent, ...fields } = options;
    return this.transport.json("POST", "/memories", {
      json: this.#new(payload, fields as Omit<StoreBody, "payload">),
      headers: conditionsOf({ if_version, if_absent }),
      once: true,
    });
  }

  /**
   * Store many memories in batches. The report lists the memories that failed, with the reason for each. Throws
   * BulkStopped, with the report so far, if a whole batch fails.
   */
  async storeAll(memories: Iterable<NewMemory> | AsyncIterable<NewMemory>): Promise<Report> {
    const report: Report = { stored: 0, failed: 0, results: [] };
    let batch: StoreBody[] = [];
    let bytes = 0;
    let values = 0;
    const send = async (): Promise<void> => {
      if (batch.length === 0) return;
      const first = report.results.length;
      const json = { items: batch, atomic: false };
      const sent = await this.transport.json<BulkStoredOut>("POST", "/memories/bulk", { json, once: true }).catch((error: unknown) => {
        throw error instanceof SomaError ? new BulkStopped(report, error) : error;
      });
      report.stored += sent.stored;
      report.failed += sent.failed;
      for (const result of sent.results) report.results.push({ ...result, index: first + result.index });
      batch = [];
      bytes = values = 0;
    };
    for await (const { payload, ...fields } of memories) {
      const memory = this.#new(payload, fields);
      const text = jsonText(memory);
      const size = UTF8.encode(text).length;
      const count = text.split(",").length; // also counts commas in strings, so it may be too high
      if (batch.length >= BATCH || bytes + size > MAX_BATCH_BYTES || values + count > MAX_BATCH_VALUES) await send();
      batch.push(memory);
      bytes += size;
      values += count;
    }
    await send();
    return report;
  }

  /** Return a memory, optionally as it was at an earlier time (`as_of`). Throws NotFound if there is none. */
  async get(address: Address, options: { as_of?: string } = {}): Promise<MemoryOut> {
    const query = { ...options, ...this.#namespaceOf(address) };
    return (await this.transport.json<MemoryEnvelope>("GET", pathOf(address), { query })).memory;
  }

  /** Return several memories, in the order of the addresses. `memory` is null if there is no memory at an address. */
  async getMany(addresses: Addresses): Promise<BulkFound[]> {
    const items: BulkFound[] = [];
    const body = this.#names(addresses);
    const [name, all] = Object.entries(body).find(([, value]) => Array.isArray(value)) as [string, unknown[]];
    while (items.length < all.length) {
      const json = { ...body, [name]: all.slice(items.length, items.length + BATCH) };
      const page = await this.transport.json<BulkGotOut>("POST", "/memories/bulk/get", { json, repeatable: true });
      items.push(...page.items);
      if (page.items.length === 0) break;
    }
    return items;
  }

  /** Change fields of a memory. The payload and metadata are merged; null resets a field. */
  async update(address: Address, changes: PatchBody & Conditions): Promise<MemoryOut> {
    const { if_version, if_absent, ...json } = changes;
    const options = { json, query: this.#namespaceOf(address), headers: conditionsOf({ if_version, if_absent }), once: true };
    return (await this.transport.json<MemoryEnvelope>("PATCH", pathOf(address), options)).memory;
  }

  /** Delete a memory; `restore` undoes the deletion. With `purge`, delete it permanently. Return whether it existed. */
  async delete(address: Address, options: { purge?: boolean; if_version?: number } = {}): Promise<boolean> {
    const query = { purge: options.purge, ...this.#namespaceOf(address) };
    const headers = conditionsOf({ if_version: options.if_version });
    return (await this.transport.json<DeletedOut>("DELETE", pathOf(address), { query, headers })).deleted;
  }

  /** Delete several memories in one request. */
  async deleteMany(addresses: Addresses): Promise<BulkDeletedOut> {
    return this.transport.json("POST", "/memories/bulk/delete", { json: this.#names(addresses), once: true });
  }

  /** Delete all memories that match a filter. With `dry_run`, only count them. */
  async deleteMatching(filter: DeleteMatchingBody): Promise<DeletedMatchingOut> {
    const json = { ...filter, ...this.ids(filter), ...(filter.namespace_prefix ? {} : this.namespace(filter.namespace)) };
    return this.transport.json("POST", "/memories/delete", { json, once: true });
  }

  /** Undo a deletion, or restore an earlier version. */
  async restore(address: Address, options: { version?: number } = {}): Promise<MemoryOut> {
    const { namespace: _, ...name } = address as { namespace?: string };
    const json = { ...name, ...options, ...this.#namespaceOf(address) };
    return (await this.transport.json<MemoryEnvelope>("POST", "/memories/restore", { json, once: true })).memory;
  }

  /** Find memories by meaning and keyword. */
  async search(query: string, options: SearchOptions = {}): Promise<SearchResult> {
    const where = options.namespace_prefix ? {} : this.namespace(options.namespace);
    const json = { query, ...options, ...this.ids(options), ...where };
    return new SearchResult(await this.transport.json<SearchOut>("POST", "/memories/search", { json, repeatable: true }));
  }

  /** List the memories in a namespace, under a coordinate or a key, or near a point. */
  list(options: Omit<MemoriesListQuery, "cursor"> = {}): Pages<MemoryOut> {
    return new Pages(async (cursor) => {
      const query = { ...options, ...this.ids(options), ...this.namespace(options.namespace), cursor };
      const page = await this.transport.json<PageOut>("GET", "/memories", { query });
      return { items: page.items, nextCursor: page.next_cursor };
    });
  }

  /** List a memory's versions, newest first, each with its changes, author and time. */
  history(address: Address): Pages<VersionOut> {
    const byKey = "key" in address && address.key !== undefined;
    const path = byKey ? "/memories/history" : `${pathOf(address)}/history`;
    return new Pages(async (cursor) => {
      const query = { cursor, ...this.#namespaceOf(address), ...(byKey ? { key: address.key } : {}) };
      const page = await this.transport.json<HistoryOut>("GET", path, { query });
      return { items: page.items, nextCursor: page.next_cursor };
    });
  }

  /** Return the memories that are linked to the memory with this id. */
  async links(id: string, options: { link_type?: string; k_hop?: number; include_memory?: boolean } = {}): Promise<NeighborsOut> {
    return this.transport.json("GET", `${pathOf({ id })}/links`, { query: options });
  }

  /** Count the memories in the cells of a grid or under each coordinate. */
  async map(options: MemoriesMapQuery = {}): Promise<MapOut> {
    return this.transport.json("GET", "/memories/map", { query: { ...options, ...this.ids(options), ...this.namespace(options.namespace) } });
  }

  /** Return the number of stored objects of each kind, and the state of the index. */
  async stats(): Promise<StatsOut> {
    this.refuse("memories.stats", ...IDS, "namespace");
    return this.transport.json("GET", "/stats");
  }

  #new(payload: Payload, fields: Omit<StoreBody, "payload">): StoreBody {
    return { ...fields, ...this.ids(fields), ...this.namespace(fields.namespace), payload: payloadOf(payload) };
  }

  #namespaceOf(address: { namespace?: string | undefined; id?: string | undefined }): { namespace?: string } {
    return address.id === undefined ? this.namespace(address.namespace) : {};
  }

  #names(addresses: Addresses): Record<string, unknown> {
    if ("ids" in addresses) return { ids: addresses.ids };
    const names = "keys" in addresses ? { keys: addresses.keys } : { coords: addresses.coords.map(coordinateText) };
    return { ...names, ...this.namespace(addresses.namespace) };
  }
}
