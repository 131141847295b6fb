import { encoded, environment, headersOf, jsonText, randomKey, urlOf, validated } from "./arguments.js";
import {
  ApiError, ConnectionLost, ERRORS, IncompatibleServer, InvalidResponse, RequestQuotaExceeded, ResponseTimeout, ServerError,
  TransportError,
} from "./errors.js"; // prettier-ignore
import type { Problem } from "./schema.js";

/** The major version of the servers that this client understands. */
export const MAJOR_VERSION = "0";

export interface ClientOptions {
  /** The URL of the server. Default: the SOMA_URL environment variable, or http://127.0.0.1:9595. */
  baseUrl?: string | undefined;
  /** The API key. Default: the SOMA_API_KEY environment variable. */
  apiKey?: string | undefined;
  /** The tenant to act for, with an operator's key. Default: the SOMA_TENANT environment variable. */
  tenant?: string | undefined;
  /** The time limit for one attempt, in milliseconds. Default: 60,000. */
  timeoutMs?: number | undefined;
  /** The maximum number of retries after a transient failure. Default: 3. */
  maxRetries?: number | undefined;
  /** Headers to send with each request. */
  headers?: Record<string, string> | undefined;
  /** The Idempotency-Key for one write. By default, each write gets a random key. */
  idempotencyKey?: string | undefined;
  /** A signal that aborts this client's requests and their retries. */
  signal?: AbortSignal | undefined;
  /** A replacement for the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /** A function that is called before each attempt. It may add headers. */
  onRequest?: ((request: { method: string; url: string; headers: Headers; attempt: number }) => void) | undefined;
  /** A function that is called after each attempt, with the response or the error. */
  onResponse?: ((result: { method: string; url: string; attempt: number; response?: Response; error?: unknown }) => void) | undefined;
}

export type QueryValue = string | number | boolean | readonly (string | number)[] | null | undefined;

export interface RequestOptions {
  /** Query parameters. Lists are joined with commas. */
  query?: Record<string, QueryValue> | undefined;
  /** A value to send as JSON. */
  json?: unknown;
  /** A body to send unchanged. */
  body?: string | Uint8Array | undefined;
  /** Headers to send in addition to the client's. */
  headers?: Record<string, string | undefined> | undefined;
  /** Send an Idempotency-Key, so that a retried write takes effect only once. */
  once?: boolean | undefined;
  /**
   * Send the request again even if it may have taken effect. Default: true with `once`, and for GET and DELETE without
   * `if-match`. Other requests are sent again only after errors that mean the request had no effect, such as
   * `rate_limited`.
   */
  repeatable?: boolean | undefined;
  /** A signal that aborts the request and its retries. */
  signal?: AbortSignal | undefined;
  /** The time limit for one attempt, in milliseconds. Default: the client's limit. */
  timeoutMs?: number | undefined;
}

const API = "/api/v1";
const MAX_RETRY_AFTER_S = 60;
const VERSION_TIMEOUT_MS = 5000;
const RETRIED = new Set([408, 425, 429, 500, 502, 503, 504, 529]);
/** Codes of errors that the server returns before it processes the request. Other errors may follow a paid model call. */
const WITHOUT_EFFECT = new Set(["rate_limited", "request_timeout"]);
/** Error codes for which a retry does not help, although their statuses are in RETRIED. */
const FINAL = new Set([
  "cold_file_damaged", "deadline_exceeded", "embedder_refused", "llm_budget_exceeded", "llm_refused", "quota_exceeded",
]); // prettier-ignore

/** Sends requests, and retries them after transient failures. */
export class Transport {
  readonly options: ClientOptions;
  readonly baseUrl: string;

  constructor(options: ClientOptions) {
    this.options = validated(options);
    this.baseUrl = urlOf(options.baseUrl ?? environment("SOMA_URL") ?? "http://127.0.0.1:9595");
  }

  /** Return the decoded JSON of a successful response. */
  async json<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    return this.#attempts(method, path, options, async (response) => parsed(await response.text(), response.status) as T);
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
        const waitMs = attempt < retries ? pauseMs(error, attempt, request.repeatable) : undefined;
        if (waitMs === undefined) throw (await this.#versionError(error, request)) ?? error;
        await pause(waitMs, request.signal);
      }
    }
  }

  #prepared(method: string, path: string, options: RequestOptions): Prepared {
    const key = this.options.apiKey ?? environment("SOMA_API_KEY");
    const headers = headersOf({
      accept: "application/json",
      authorization: key && `Bearer ${key}`,
      "x-tenant": this.options.tenant ?? environment("SOMA_TENANT"),
      "idempotency-key": options.once ? (this.options.idempotencyKey ?? randomKey()) : undefined,
      "content-type": options.json === undefined ? undefined : "application/json",
      ...this.options.headers,
      ...options.headers,
    });
    const body = options.json === undefined ? options.body : jsonText(options.json);
    // A second deletion of the same version would fail, even though the first may have succeeded.
    const safe = ["GET", "HEAD"].includes(method) || (method === "DELETE" && !headers.has("if-match"));
    const repeatable = options.repeatable ?? (options.once || safe);
    const signal = options.signal ?? this.options.signal;
    return { method, url: `${this.baseUrl}${API}${path}${queryString(options.query)}`, headers, body, repeatable, signal };
  }

  async #attempt<T>(request: Prepared, options: RequestOptions, attempt: number, read: (response: Response) => Promise<T>): Promise<T> {
    const { method, url, headers } = request;
    const timeout = AbortSignal.timeout(options.timeoutMs ?? this.options.timeoutMs ?? 60_000);
    const signal = request.signal ? AbortSignal.any([request.signal, timeout]) : timeout;
    this.options.onRequest?.({ method, url, headers, attempt });
    try {
      const response = await (this.options.fetch ?? fetch)(url, { method, headers, body: request.body as BodyInit, signal });
      this.options.onResponse?.({ method, url, attempt, response });
      if (!response.ok) throw await errorOf(response);
      return await read(response);
    } catch (error) {
      if (error instanceof ApiError || error instanceof InvalidResponse || request.signal?.aborted) throw error;
      this.options.onResponse?.({ method, url, attempt, error });
      throw connectionError(error, url, timeout.aborted);
    }
  }

  /** Return an error if the server's major version differs, which may explain an unknown route or an invalid response. */
  async #versionError(error: unknown, { headers, signal }: Prepared): Promise<IncompatibleServer | undefined> {
    if (!(error instanceof InvalidResponse) && !isUnknownRoute(error)) return undefined;
    const timeout = AbortSignal.timeout(VERSION_TIMEOUT_MS);
    const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
    const authorization = headersOf({ authorization: headers.get("authorization") ?? undefined });
    try {
      const response = await (this.options.fetch ?? fetch)(`${this.baseUrl}${API}/health`, { headers: authorization, signal: either });
      return incompatibility(((await response.json()) as { version?: unknown } | null)?.version);
    } catch {
      return undefined;
    }
  }
}

/** Return an error if the major version of the server differs from the client's. */
export function incompatibility(version: unknown): IncompatibleServer | undefined {
  if (typeof version !== "string" || version.split(".")[0] === MAJOR_VERSION) return undefined;
  const major = version.split(".")[0];
  return new IncompatibleServer(`the server is version ${version}; this client needs ${MAJOR_VERSION}.x, so install @somamemory/client@${major}`);
}

interface Prepared {
  method: string;
  url: string;
  headers: Headers;
  body: string | Uint8Array | undefined;
  repeatable: boolean;
  signal: AbortSignal | undefined;
}

function queryString(query: Record<string, QueryValue> = {}): string {
  const parameters: string[] = [];
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null) continue;
    parameters.push(`${encoded(name, name)}=${encoded(name, Array.isArray(value) ? value.join(",") : String(value))}`);
  }
  return parameters.length === 0 ? "" : `?${parameters.join("&").replaceAll("%20", "+")}`;
}

/** Return the parsed JSON. Throws InvalidResponse if the text is not JSON. */
function parsed(text: string, status: number): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidResponse(`the response with status ${status} is not JSON: ${text.slice(0, 200)}`);
  }
}

async function errorOf(response: Response): Promise<Error> {
  const after = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryAfterS = Number.isFinite(after) && after >= 0 ? after : undefined;
  const text = await response.text();
  if (response.headers.get("content-type")?.startsWith("application/problem+json")) {
    const problem = parsed(text, response.status) as Problem;
    return problemError({ ...problem, request_id: problem.request_id ?? response.headers.get("x-request-id") ?? "" }, retryAfterS);
  }
  if (RETRIED.has(response.status)) {
    return new ApiError({ status: response.status, detail: `a proxy responded with status ${response.status}` }, retryAfterS);
  }
  return new InvalidResponse(
    `the response with status ${response.status} did not come from SomaMemory; check baseUrl, which must be the server's URL`,
  );
}

/** Return the error for a problem. If the code is newer than this client, use the class of the status. */
function problemError(problem: Problem, retryAfterS: number | undefined): ApiError {
  if (problem.code === "quota_exceeded" && problem.status === 429) return new RequestQuotaExceeded(problem, retryAfterS);
  return new (ERRORS[problem.code] ?? (problem.status >= 500 ? ServerError : ApiError))(problem, retryAfterS);
}

/** Return whether the server lacks the route, and may therefore have a different version. */
const isUnknownRoute = (error: unknown): boolean =>
  error instanceof ApiError && (error.status === 405 || (error.code === "not_found" && error.detail === error.title));

function connectionError(error: unknown, url: string, timedOut: boolean): Error {
  const host = new URL(url).origin;
  if (timedOut) return new ResponseTimeout(`${host} did not respond in time; raise timeoutMs, or request less data`, { cause: error });
  const reason = error instanceof Error ? ((error.cause as Error | undefined)?.message ?? error.message) : String(error);
  return new ConnectionLost(`no complete response from ${host}: ${reason}`, { cause: error });
}

/** Return how long to wait before the next attempt, or undefined if another attempt would not help or is not safe. */
function pauseMs(error: unknown, attempt: number, repeatable: boolean): number | undefined {
  const backoff = Math.random() * Math.min(8000, 250 * 2 ** attempt);
  if (error instanceof TransportError) return repeatable ? backoff : undefined;
  if (!(error instanceof ApiError) || FINAL.has(error.code)) return undefined;
  if (!RETRIED.has(error.status) && error.code !== "still_running") return undefined;
  if (!repeatable && !WITHOUT_EFFECT.has(error.code)) return undefined;
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
