"""Claude Code hooks: recall memories at the start of a session and for each prompt, and store messages at the end.

Uses the REST API, and needs neither a language model nor any packages. Settings: SOMA_URL, SOMA_API_KEY,
SOMA_TENANT. Without a server, the hooks do nothing, so that Claude can still work.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

RECALL_TIMEOUT_S, STORE_TIMEOUT_S = 2, 10
RECALL_TOKENS, START_TOKENS = 1500, 1000
MAX_QUERY, MAX_TEXT, MAX_MESSAGES = 2000, 20_000, 200  # characters, characters, messages per request
MIN_PROMPT = 12  # characters; "yes" and "go on" need no memory


def main(event: dict) -> dict | None:
    """Handle a Claude Code event. Return the text that Claude Code adds to the context, or None."""
    handle = {"SessionStart": on_start, "UserPromptSubmit": on_prompt, "Stop": on_stop}
    text = handle[event["hook_event_name"]](event)
    if not text:
        return None
    return {"hookSpecificOutput": {"hookEventName": event["hook_event_name"], "additionalContext": text}}


def on_start(event: dict) -> str:
    """Recall earlier sessions in this project."""
    return recall(event, project(event), START_TOKENS, folder=folder(event))


def on_prompt(event: dict) -> str:
    """Recall messages relevant to a prompt, from all projects except this session."""
    prompt = event["prompt"].strip()
    return recall(event, prompt[:MAX_QUERY], RECALL_TOKENS) if len(prompt) >= MIN_PROMPT else ""


def on_stop(event: dict) -> str:
    """Store the messages of the session that are not stored yet."""
    messages = transcript(Path(event["transcript_path"]))
    if not messages:
        return ""
    session = event["session_id"]
    body = {"label": project(event), "folder": folder(event), "session_id": session, "agent_id": "claude-code"}
    path = f"/conversations/by-external-id/{quote(session, safe='')}"
    stored = request("PUT", path, body, STORE_TIMEOUT_S)["message_count"]
    while stored < len(messages):
        batch = messages[stored : stored + MAX_MESSAGES]
        # Two hooks of a session may run at the same time. The key prevents them from storing the same messages twice.
        key = f"{session}-{stored}"
        request("POST", f"{path}/messages", {"messages": batch}, STORE_TIMEOUT_S, key)
        stored += len(batch)
    return ""


def recall(event: dict, query: str, budget: int, **more: str) -> str:
    body = {
        "query": query,
        "context_budget": budget,
        "format": "text",
        "exclude_current_session": True,
        "session_id": event["session_id"],
        **more,
    }
    return request("POST", "/context/assemble", body, RECALL_TIMEOUT_S)["text"]


def transcript(path: Path) -> list[dict[str, str]]:
    """Return the messages of the user and of Claude, without tool calls and their results."""
    messages = []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry.get("type") not in ("user", "assistant") or entry.get("isMeta") or entry.get("isSidechain"):
            continue
        text = text_of(entry["message"]["content"]).replace("\0", "").strip()
        if text:
            messages.append({"role": entry["type"], "content": text[:MAX_TEXT]})
    return messages


def text_of(content: str | list) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def project(event: dict) -> str:
    return Path(event["cwd"]).name or "session"


def folder(event: dict) -> str:
    return f"/claude-code/{project(event)}"


def request(method: str, path: str, body: dict, timeout_s: float, idempotency_key: str = "") -> dict:
    headers = {
        "Authorization": f"Bearer {os.environ['SOMA_API_KEY']}",
        "Content-Type": "application/json",
        **({"Idempotency-Key": idempotency_key} if idempotency_key else {}),
        **({"X-Tenant": os.environ["SOMA_TENANT"]} if os.environ.get("SOMA_TENANT") else {}),
    }
    url = os.environ.get("SOMA_URL", "http://127.0.0.1:9595").rstrip("/") + "/api/v1" + path
    if not url.startswith(("http://", "https://")):
        raise ValueError("SOMA_URL must be an http or https URL")
    sent = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)  # noqa: S310 - http only
    with urllib.request.urlopen(sent, timeout=timeout_s) as response:  # noqa: S310
        return json.load(response)


if __name__ == "__main__":
    try:
        output = main(json.load(sys.stdin))
    except (OSError, ValueError, KeyError) as error:  # no server, no key, or an incomplete transcript
        print(f"somamemory: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(0)
    if output:
        print(json.dumps(output))
