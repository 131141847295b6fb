import { InvalidArgument } from "./errors.js";
import type { ClientOptions } from "./transport.js";

/** Return an environment variable, if the client may read it: web pages have none, and Deno asks for permission. */
export function environment(name: string): string | undefined {
  try {
    return (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name] || undefined;
  } catch {
    return undefined;
  }
}

/** Return the options. Throws InvalidArgument if one of them is invalid. */
export function validated(options: ClientOptions): ClientOptions {
  const { timeoutMs, maxRetries } = options;
  if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs < 2 ** 31)) {
    throw new InvalidArgument("timeoutMs", "must be a positive number of milliseconds below 2^31");
  }
  if (maxRetries !== undefined && !(Number.isInteger(maxRetries) && maxRetries >= 0 && maxRetries <= 100)) {
    throw new InvalidArgument("maxRetries", "must be a whole number from 0 to 100");
  }
  for (const name of ["apiKey", "tenant", "idempotencyKey"] as const) checkHeader(name, options[name]);
  for (const [name, value] of Object.entries(options.headers ?? {})) checkHeader(name, value);
  return options;
}

function checkHeader(field: string, value: string | undefined): void {
  if (value !== undefined && !/^[!-~](?:[ -~]*[!-~])?$/.test(value)) {
    throw new InvalidArgument(field, "must be printable ASCII text without leading or trailing spaces");
  }
}

/** Return a server's URL without a trailing slash or `/api/v1`. Throws InvalidArgument if the URL is invalid. */
export function urlOf(given: string): string {
  const text = given.trim();
  const url = /^https?:\/\//.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  if (!url || url.search || url.hash) throw new InvalidArgument("baseUrl", `must be a URL such as http://127.0.0.1:9595, not '${text}'`);
  if (url.username || url.password) throw new InvalidArgument("baseUrl", "must not contain a password; use apiKey");
  return text.replace(/\/+$/, "").replace(/\/api\/v1$/, "");
}

/** Return a text encoded for a URL. Throws InvalidArgument if it contains half of a surrogate pair. */
export function encoded(field: string, text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    throw new InvalidArgument(field, "must not contain half of a surrogate pair");
  }
}

/** Return the headers that have a value. Throws InvalidArgument if one of the values is invalid. */
export function headersOf(values: Record<string, string | undefined>): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(values)) {
    if (!value) continue;
    checkHeader(name, value);
    headers.set(name, value);
  }
  return headers;
}

/** Return a value as JSON. If JSON cannot represent it, throw InvalidArgument with the name of the field. */
export function jsonText(value: unknown): string {
  let field = "body";
  try {
    return JSON.stringify(value, (name: string, part: unknown) => {
      field = name || field;
      if (typeof part === "number" && !Number.isFinite(part)) throw new InvalidArgument(field, "must be a finite number");
      return part;
    });
  } catch (error) {
    if (error instanceof InvalidArgument) throw error;
    throw new InvalidArgument(field, `cannot be sent as JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Return a random Idempotency-Key. `crypto.randomUUID` is not available on web pages without TLS. */
export const randomKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
