// Relay MCP messages, one JSON-RPC message per line, between standard input/output and a SomaMemory server.
// Settings: SOMA_URL, SOMA_API_KEY, SOMA_NAMESPACE, SOMA_TENANT. Requires no packages.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";

const TIMEOUT_MS = 90_000; // longer than the deadline of any request to /mcp
const PAUSES_MS = [250, 500, 1_000]; // between attempts, in case the server is restarting
const NOT_SERVED = -32000;
const VERSION = "io.modelcontextprotocol/protocolVersion";

/** Return a setting. If the user has left it empty, Claude Desktop passes its placeholder, such as ${user_config.tenant}. */
function setting(name, otherwise = "") {
  const value = (process.env[name] ?? "").trim();
  return value === "" || value.startsWith("${") ? otherwise : value;
}

function endpoint() {
  const server = setting("SOMA_URL", "http://127.0.0.1:9595").replace(/\/+$/, "");
  const namespace = setting("SOMA_NAMESPACE");
  return new URL(server + (namespace ? `/mcp/${encodeURI(namespace)}` : "/mcp"));
}

/** Return the headers that version 2026-07-28 requires over HTTP, and a key that makes a retry safe. */
function headers(message) {
  const tenant = setting("SOMA_TENANT");
  const sent = {
    "Authorization": `Bearer ${setting("SOMA_API_KEY")}`,
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "Idempotency-Key": randomUUID(),
    ...(tenant ? { "X-Tenant": tenant } : {}),
  };
  const version = message?.params?._meta?.[VERSION];
  if (typeof version !== "string") return sent;
  const name = message.params.name;
  return {
    ...sent,
    "MCP-Protocol-Version": version,
    "Mcp-Method": String(message.method),
    ...(typeof name === "string" ? { "Mcp-Name": encoded(name) } : {}),
  };
}

/** Encode a header value as base64 unless it is printable ASCII, as the protocol requires. */
function encoded(value) {
  const isPlain = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value) && !value.startsWith("=?base64?");
  return isPlain ? value : `=?base64?${Buffer.from(value).toString("base64")}?=`;
}

async function send(url, line, sent) {
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await fetch(url, {
        method: "POST", body: line, headers: sent, redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      return [response.status, await response.text()];
    } catch (error) {
      if (attempt === PAUSES_MS.length) throw new Error(`no server is responding at ${url.origin}; start it, or correct the URL`, { cause: error });
      await new Promise((resume) => setTimeout(resume, PAUSES_MS[attempt]));
    }
  }
}

/** Return an error response for a message that the server did not process. Notifications get none. */
function failed(message, reason) {
  console.error(`somamemory: ${reason}`);
  if (message?.id === undefined) return "";
  return JSON.stringify({ jsonrpc: "2.0", id: message.id, error: { code: NOT_SERVED, message: reason } });
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

async function answer(url, line) {
  const message = parsed(line);
  let sent;
  try {
    sent = new Headers(headers(message));
  } catch { // its message would contain the key
    return failed(message, "the API key, the tenant or the message contains characters that are not allowed in HTTP headers");
  }
  try {
    const [status, content] = await send(url, line, sent);
    const answered = parsed(content);
    // The server does not read the id of a message that it rejects, but without the id, Claude would wait forever.
    if (answered?.jsonrpc && answered.id === null) return JSON.stringify({ ...answered, id: message?.id ?? null });
    if (content === "" || answered?.jsonrpc) return content;
    const page = `another server, such as a proxy, responded with status ${status}; check the URL`;
    return failed(message, answered?.detail ?? page);
  } catch (error) {
    return failed(message, error.message);
  }
}

process.stdout.on("error", () => process.exit(1)); // Claude Desktop has exited
const url = endpoint();
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim() === "") continue;
  const content = await answer(url, line.trim());
  if (content) process.stdout.write(content.trim() + "\n");
}
