import { ApiError, ConnectionLost, ERRORS, InvalidArgument, InvalidResponse, RequestQuotaExceeded, ResponseTimeout, TransportError } from "./errors.js";
import type { Problem } from "./schema.js";

export interface ClientOptions {
  /** Address of the server. Default: the environment variable SOMA_URL, or http://127.0.0.1:9595. */
  baseUrl?: string | undefined;
  /** Default: the environment variable SOMA_API_KEY. */
  apiKey?: string | undefined;
  /** The tenant to act for, with an operator's key. Default: the environment variable SOMA_TENANT. */
  tenant?: string | undefined;
  /** Limit for one attempt, in milliseconds. Default: 60,000. */
  timeoutMs?: number | undefined;
  /** The highest number of retries after a transient failure. Default: 3. */
  maxRetries?: number | undefined;
  /** A replacement for the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /** Called before each attempt; it may add headers. */
  onRequest?: ((request: { method: string; url: string; headers: Headers; attempt: number }) => void) | undefined;
  /** Called after each attempt, with the response or with the error. */
  onResponse?: ((result: { method: string; url: string; attempt: number; response?: Response; error?: unknown }) => void) | undefined;
}

export type QueryValue = string | number | boolean | readonly (string | number)[] | null | undefined;

export interface RequestOptions {
  query?: Record<string, QueryValue> | undefined;
  /** A value that is sent as JSON. */
  json?: unknown;
  /** A body that is sent unchanged. */
  body?: string | Uint8Array | undefined;
  headers?: Record<string, string | undefined> | undefined;
  /** Send an Idempotency-Key, so that a retried write takes effect once. */
  once?: boolean | undefined;
  /** Aborts the request and its retries. */
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
}

const API = "/api/v1";
const MAX_RETRY_AFTER_S = 60;
const RETRIED = new Set([408, 429, 500, 502, 503, 504]);
/** Error codes with these statuses that a retry does not resolve. */
const FINAL = new Set(["cold_file_damaged", "deadline_exceeded", "embedder_refused", "llm_answer_invalid", "llm_refused"]);

const environment = (name: string): string | undefined =>
  (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name] || undefined;

/** Sends requests, and retries them after transient failures. */
export class Transport {
  readonly baseUrl: string;

  constructor(readonly options: ClientOptions) {
    const url = options.baseUrl ?? environment("SOMA_URL") ?? "http://127.0.0.1:9595";
    if (!/^https?:\/\/[^/]/.test(url)) throw new InvalidArgument("baseUrl", `must begin with http:// or https://; this one is '${url}'`);
    this.baseUrl = url.replace(/\/+$/, "").replace(/\/api\/v1$/, "");
  }

  /** Return the decoded JSON of a successful response. */
  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    return this.#attempts(method, path, options, async (response) => (await response.json()) as T);
  }

  /** Return the text of a successful response. */
  async text(method: string, path: string, options: RequestOptions = {}): Promise<string> {
    return this.#attempts(method, path, options, (response) => response.text());
  }

  /** Return a successful response whose body has not been read. */
  async response(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    return this.#attempts(method, path, options, async (response) => response);
  }

  async #attempts<T>(method: string, path: string, options: RequestOptions, read: (response: Response) => Promise<T>): Promise<T> {
    const request = this.#prepared(method, path, options);
    const retries = this.options.maxRetries ?? 3;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt(request, options, attempt, read);
      } catch (error) {
        const waitMs = attempt < retries ? pauseMs(error, attempt) : undefined;
        if (waitMs === undefined) throw error;
        await pause(waitMs, options.signal);
      }
    }
  }

  #prepared(method: string, path: string, options: RequestOptions): Prepared {
    const headers = new Headers({ accept: "application/json" });
    const key = this.options.apiKey ?? environment("SOMA_API_KEY");
    const tenant = this.options.tenant ?? environment("SOMA_TENANT");
    if (key) headers.set("authorization", `Bearer ${key}`);
    if (tenant) headers.set("x-tenant", tenant);
    if (options.once) headers.set("idempotency-key", crypto.randomUUID());
    if (options.json !== undefined) headers.set("content-type", "application/json");
    for (const [name, value] of Object.entries(options.headers ?? {})) if (value !== undefined) headers.set(name, value);
    const body = options.json === undefined ? options.body : JSON.stringify(options.json);
    return { method, url: `${this.baseUrl}${API}${path}${queryString(options.query)}`, headers, body };
  }

  async #attempt<T>(request: Prepared, options: RequestOptions, attempt: number, read: (response: Response) => Promise<T>): Promise<T> {
    const { method, url, headers } = request;
    const timeout = AbortSignal.timeout(options.timeoutMs ?? this.options.timeoutMs ?? 60_000);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    this.options.onRequest?.({ method, url, headers, attempt });
    try {
      const response = await (this.options.fetch ?? fetch)(url, { method, headers, body: request.body as BodyInit, signal });
      this.options.onResponse?.({ method, url, attempt, response });
      if (!response.ok) throw await errorOf(response);
      return await read(response);
    } catch (error) {
      if (error instanceof ApiError || error instanceof InvalidResponse || options.signal?.aborted) throw error;
      this.options.onResponse?.({ method, url, attempt, error });
      throw connectionError(error, url, timeout.aborted);
    }
  }
}

interface Prepared {
  method: string;
  url: string;
  headers: Headers;
  body: string | Uint8Array | undefined;
}

function queryString(query: Record<string, QueryValue> = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) parameters.set(name, Array.isArray(value) ? value.join(",") : String(value));
  }
  const text = parameters.toString();
  return text && `?${text}`;
}

async function errorOf(response: Response): Promise<Error> {
  const after = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryAfterS = Number.isFinite(after) ? after : undefined;
  const text = await response.text().catch(() => "");
  if (response.headers.get("content-type")?.startsWith("application/problem+json")) {
    const problem = JSON.parse(text) as Problem;
    const isRequestQuota = problem.code === "quota_exceeded" && problem.status === 429;
    return new (isRequestQuota ? RequestQuotaExceeded : (ERRORS[problem.code] ?? ApiError))(problem, retryAfterS);
  }
  if (response.status >= 500 || response.status === 429 || response.status === 408) {
    return new ApiError({ status: response.status, detail: `a proxy responded with status ${response.status}` }, retryAfterS);
  }
  return new InvalidResponse(
    `the response with status ${response.status} does not come from SomaMemory; check baseUrl, which must be the address of the server`,
  );
}

function connectionError(error: unknown, url: string, timedOut: boolean): Error {
  const host = new URL(url).origin;
  if (timedOut) return new ResponseTimeout(`${host} did not respond in time; raise timeoutMs, or request less`, { cause: error });
  const reason = error instanceof Error ? ((error.cause as Error | undefined)?.message ?? error.message) : String(error);
  return new ConnectionLost(`no complete response from ${host}: ${reason}`, { cause: error });
}

/** Return how long to wait before the next attempt, or undefined if another attempt would not help. */
function pauseMs(error: unknown, attempt: number): number | undefined {
  const backoff = Math.random() * Math.min(8000, 250 * 2 ** attempt);
  if (error instanceof TransportError) return backoff;
  if (!(error instanceof ApiError) || FINAL.has(error.code)) return undefined;
  if (!RETRIED.has(error.status) && error.code !== "still_running") return undefined;
  const after = error.retryAfterS ?? 0;
  return after > MAX_RETRY_AFTER_S ? undefined : after * 1000 + backoff;
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
