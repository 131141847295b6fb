"""Claude Code hooks: recall memories for a new session and for each prompt, and store messages when Claude stops.

Uses the REST API, and needs neither a language model nor any packages. Settings: SOMA_URL, SOMA_API_KEY,
SOMA_TENANT. Without a server, the hooks do nothing, and Claude still works.

Each prompt waits for a new Python process, so this file imports little: urllib.request and http.client alone would
double the hook's time, and ssl is imported only for https. `python -m benchmarks.prompt_hook` measures this time.
"""

from __future__ import annotations

import json
import os
import socket
import sys

RECALL_TIMEOUT_S, STORE_TIMEOUT_S = 2, 10
RECALL_TOKENS, START_TOKENS = 1500, 1000
MAX_QUERY, MAX_TEXT, MAX_PROJECT = 2000, 20_000, 100  # characters
MAX_MESSAGES = 80  # per request; even with six bytes per character, they fit into the 10 MiB that the server accepts
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
MIN_PROMPT = 12  # characters; "yes" and "go on" need no memory


def main(event: dict) -> dict | None:
    """Handle a Claude Code event. Return the text that Claude Code adds to the context, or None."""
    handle = {"SessionStart": on_start, "UserPromptSubmit": on_prompt, "Stop": on_stop}
    text = handle[event["hook_event_name"]](event)
    if not text:
        return None
    return {"hookSpecificOutput": {"hookEventName": event["hook_event_name"], "additionalContext": text}}


def on_start(event: dict) -> str:
    """Recall messages from earlier sessions in this project, such as those from the last seven days."""
    name = project(event)
    return recall(event, name, START_TOKENS, folder=folder(event), preferred_labels=[name], order="chronological")


def on_prompt(event: dict) -> str:
    """Recall messages relevant to a prompt, from all projects, but not from this session."""
    prompt = storable(event["prompt"]).strip()
    return recall(event, prompt[:MAX_QUERY], RECALL_TOKENS) if len(prompt) >= MIN_PROMPT else ""


def on_stop(event: dict) -> str:
    """Store the session's messages that have not been stored yet."""
    messages = transcript(event["transcript_path"])
    if not messages:
        return ""
    session = event["session_id"]
    body = {"label": project(event), "folder": folder(event), "session_id": session, "agent_id": "claude-code"}
    path = f"/conversations/by-external-id/{quoted(session)}"
    conversation = request("PUT", path, body, STORE_TIMEOUT_S)
    stored = conversation["message_count"]
    while stored < len(messages):
        batch = messages[stored : stored + MAX_MESSAGES]
        # Two hooks for the same session may run at the same time. The key prevents them from storing the same messages
        # twice. If the conversation has been deleted in the meantime, the session is stored again, with other keys.
        key = f"{conversation['id']}-{stored}"
        request("POST", f"{path}/messages", {"messages": batch}, STORE_TIMEOUT_S, key)
        stored += len(batch)
    return ""


def recall(event: dict, query: str, budget: int, **more: str | list[str]) -> str:
    body = {
        "query": query,
        "context_budget": budget,
        "format": "text",
        "exclude_current_session": True,
        "session_id": event["session_id"],
        **more,
    }
    return request("POST", "/context/assemble", body, RECALL_TIMEOUT_S)["text"]


def transcript(path: str) -> list[dict[str, str]]:
    """Return the user's and Claude's messages, without tool calls and their results."""
    messages = []
    for entry in entries(path):
        if entry.get("type") not in ("user", "assistant") or entry.get("isMeta") or entry.get("isSidechain"):
            continue
        text = storable(text_of(entry["message"]["content"])).strip()
        if text:
            messages.append({"role": entry["type"], "content": text[:MAX_TEXT]})
    return messages


def entries(path: str) -> list[dict]:
    """Return the entries of a transcript, without damaged lines, such as one that a crash has cut off."""
    found = []
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return [entry for entry in found if isinstance(entry, dict)]


def text_of(content: str | list) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def storable(text: str) -> str:
    """Return a text without NUL characters and unpaired surrogates, which the server rejects."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def project(event: dict) -> str:
    """Return the name of the project's folder, with `_` in place of characters that the server rejects."""
    name = os.path.basename(os.path.normpath(event["cwd"]))
    allowed = "".join(letter if letter.isalnum() or letter in " ._-" else "_" for letter in name)
    return allowed[:MAX_PROJECT].strip(" .") or "session"


def folder(event: dict) -> str:
    return f"/claude-code/{project(event)}"


def request(method: str, path: str, body: dict, timeout_s: float, idempotency_key: str = "") -> dict:
    """Return the server's JSON response.

    Raises OSError if no response arrives, and ValueError for an invalid setting, an error response or invalid JSON.
    """
    scheme, host, port, prefix = address(os.environ.get("SOMA_URL", "http://127.0.0.1:9595"))
    content = encoded(body)
    headers = {
        "Host": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "Authorization": f"Bearer {os.environ['SOMA_API_KEY']}",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Connection": "close",
        **({"Idempotency-Key": idempotency_key} if idempotency_key else {}),
        **({"X-Tenant": os.environ["SOMA_TENANT"]} if os.environ.get("SOMA_TENANT") else {}),
    }
    if any("\r" in value or "\n" in value for value in headers.values()):
        raise ValueError("SOMA_API_KEY and SOMA_TENANT must not contain line breaks")
    head = [f"{method} {prefix}/api/v1{path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with connected(scheme, host, port, timeout_s) as connection, connection.makefile("rb") as response:
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + content)
        status = int(response.readline().partition(b" ")[2][:3])
        answer = json.loads(received(response))
    if status >= 400:
        raise ValueError(f"{status} {answer.get('detail', '')}")
    return answer


def encoded(body: dict) -> bytes:
    """Return the body of a request as JSON. If escaped, a non-ASCII character would take up to twelve bytes."""
    return json.dumps(body, ensure_ascii=False).encode()


def address(url: str) -> tuple[str, str, int, str]:
    """Return the scheme, host, port and path of the server's URL. Raises ValueError if the URL is invalid."""
    scheme, separator, rest = url.partition("://")
    place, _, path = rest.rstrip("/").partition("/")
    has_port = ":" in place and not place.endswith("]")
    host, _, port = place.rpartition(":") if has_port else (place, "", "")
    host = host.strip("[]")
    if scheme not in ("http", "https") or not separator or not host or any(mark in url for mark in " \r\n?#@"):
        raise ValueError("SOMA_URL must be an http or https URL without credentials, a query or a fragment")
    return scheme, host, int(port or (443 if scheme == "https" else 80)), f"/{path}" if path else ""


def connected(scheme: str, host: str, port: int, timeout_s: float) -> socket.socket:
    connection = socket.create_connection((host, port), timeout_s)
    if scheme == "http":
        return connection
    import ssl

    return ssl.create_default_context().wrap_socket(connection, server_hostname=host)


def received(response) -> bytes:
    """Return the body of a response after its status line."""
    fields = {}
    while line := response.readline().strip():
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip().lower()
    if fields.get(b"transfer-encoding") != b"chunked":
        return response.read(int(fields.get(b"content-length", -1)))
    pieces = []
    while size := int(response.readline().partition(b";")[0], 16):
        pieces.append(response.read(size))
        response.readline()
    return b"".join(pieces)


def quoted(text: str) -> str:
    """Return the text as a percent-encoded path segment."""
    return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in text.encode())


if __name__ == "__main__":
    try:
        output = main(json.load(sys.stdin.buffer))  # UTF-8 on every system
    # No server, no key, or a transcript that is incomplete or in an unknown format
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"somamemory: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(0)
    if output:
        print(json.dumps(output))
