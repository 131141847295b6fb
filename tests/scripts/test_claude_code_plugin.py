"""The hooks of the Claude Code plugin: a session recalls earlier sessions."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings

import somamemory
from testing.processes import HOME
from testing.server import free_port
from tests.conftest import Api, drain

PLUGIN = HOME / "clients" / "claude-code"
HOOK = PLUGIN / "hooks" / "memory.py"


@pytest.fixture
def hook(api: Api, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The hooks' module. Its requests go to the test's application."""
    spec = importlib.util.spec_from_file_location("claude_code_hook", HOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def request(method: str, path: str, body: dict[str, Any], timeout_s: float, idempotency_key: str = "") -> Any:
        headers = {"idempotency_key": idempotency_key} if idempotency_key else {}
        response = api.request(method, "/api/v1" + path, body, None, **headers)
        assert response.status_code < 400, response.content
        return response.json()

    monkeypatch.setattr(module, "request", request)
    return module


def transcript(folder: Path, *turns: tuple[str, Any]) -> Path:
    """Write a transcript in Claude Code's format, including entries that are not messages."""
    entries: list[dict[str, Any]] = [{"type": "summary", "summary": "Bread"}]
    entries += [{"type": role, "message": {"role": role, "content": content}} for role, content in turns]
    entries += [{"type": "user", "isMeta": True, "message": {"role": "user", "content": "<command-name>/clear"}}]
    path = folder / "transcript.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def event(name: str, session: str = "one", **more: Any) -> dict[str, Any]:
    return {"hook_event_name": name, "session_id": session, "cwd": "/home/ada/bakery", **more}


TURNS = (
    ("user", "Which flour do we use for the sourdough?"),
    ("assistant", [{"type": "text", "text": "Rye from the mill in Emmental."}, {"type": "tool_use", "name": "Bash"}]),
    ("user", [{"type": "tool_result", "content": "a secret of a tool"}]),
)


def messages(api: Api, session: str = "one") -> list[str]:
    items = api.get(f"/api/v1/conversations/by-external-id/{session}/messages").json()["items"]
    return [item["content"] for item in items]


def test_a_session_is_stored_without_its_tools(api: Api, hook: ModuleType, tmp_path: Path) -> None:
    assert hook.main(event("Stop", transcript_path=str(transcript(tmp_path, *TURNS)))) is None

    assert messages(api) == ["Which flour do we use for the sourdough?", "Rye from the mill in Emmental."]
    conversation = api.get("/api/v1/conversations/by-external-id/one").json()
    assert (conversation["folder"], conversation["session_id"]) == ("/claude-code/bakery", "one")


def test_a_continued_session_adds_only_new_messages(api: Api, hook: ModuleType, tmp_path: Path) -> None:
    for turns in (TURNS, TURNS, (*TURNS, ("user", "Thanks, that is all."))):
        hook.main(event("Stop", transcript_path=str(transcript(tmp_path, *turns))))

    assert len(messages(api)) == 3


def test_a_session_whose_conversation_was_deleted_is_stored_again(api: Api, hook: ModuleType, tmp_path: Path) -> None:
    hook.main(event("Stop", transcript_path=str(transcript(tmp_path, *TURNS))))
    id = api.get("/api/v1/conversations/by-external-id/one").json()["id"]
    assert api.delete(f"/api/v1/conversations/{id}").status_code == 200
    hook.main(event("Stop", transcript_path=str(transcript(tmp_path, *TURNS, ("user", "Thanks, that is all.")))))

    assert len(messages(api)) == 3


def test_the_next_session_recalls_earlier_messages(hook: ModuleType, api: Api, tmp_path: Path) -> None:
    hook.main(event("Stop", transcript_path=str(transcript(tmp_path, *TURNS))))
    drain()

    prompt = hook.main(event("UserPromptSubmit", "two", prompt="Write a recipe with our sourdough flour"))

    assert "Rye from the mill" in prompt["hookSpecificOutput"]["additionalContext"]
    assert prompt["hookSpecificOutput"]["hookEventName"] == "UserPromptSubmit"


def test_the_start_of_a_session_recalls_the_latest_sessions_of_the_project(
    hook: ModuleType, api: Api, tmp_path: Path
) -> None:
    hook.main(event("Stop", transcript_path=str(transcript(tmp_path, *TURNS))))
    drain()

    start = hook.main(event("SessionStart", "two"))["hookSpecificOutput"]
    elsewhere = hook.main(event("SessionStart", "three") | {"cwd": "/home/ada/garden"})

    assert start["hookEventName"] == "SessionStart"
    assert "Rye from the mill" in start["additionalContext"]
    assert elsewhere is None


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("c++ [old]", "c__ _old_"),
        ("a\\b\n", "a_b_"),
        ("Ba\u0308cker", "Ba_cker"),
        ("...", "session"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_project_may_have_any_folder(api: Api, hook: ModuleType, tmp_path: Path, folder: str, name: str) -> None:
    hook.main(event("Stop", transcript_path=str(transcript(tmp_path, *TURNS))) | {"cwd": f"/home/ada/{folder}"})

    assert api.get("/api/v1/conversations/by-external-id/one").json()["folder"] == f"/claude-code/{name}"


def test_a_damaged_line_does_not_prevent_the_storage_of_later_messages(
    api: Api, hook: ModuleType, tmp_path: Path
) -> None:
    path = transcript(tmp_path, *TURNS)
    path.write_text('{"type": "user", "mess\n' + path.read_text() + '{"type": "assist')
    hook.main(event("Stop", transcript_path=str(path)))

    assert messages(api) == ["Which flour do we use for the sourdough?", "Rye from the mill in Emmental."]


def test_a_message_with_half_a_character_is_stored(api: Api, hook: ModuleType, tmp_path: Path) -> None:
    hook.main(event("Stop", transcript_path=str(transcript(tmp_path, ("user", "Rye \ud83d\0bread")))))

    assert messages(api) == ["Rye ?bread"]


def test_a_request_with_the_longest_messages_is_not_too_large(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def request(method: str, path: str, body: dict[str, Any], *more: Any) -> dict[str, Any]:
        sizes.append(len(hook.encoded(body)))
        return {"id": "1", "message_count": 0}

    monkeypatch.setattr(hook, "request", request)
    turns = [("user", "🍞" * 20_001), ("assistant", "\x01" * 20_001)] * 100
    hook.main(event("Stop", transcript_path=str(transcript(tmp_path, *turns))))

    assert max(sizes) < settings.MAX_BODY_BYTES


def test_a_session_does_not_recall_itself(hook: ModuleType, api: Api, tmp_path: Path) -> None:
    hook.main(event("Stop", transcript_path=str(transcript(tmp_path, *TURNS))))
    drain()

    assert hook.main(event("UserPromptSubmit", prompt="Write a recipe with our sourdough flour")) is None


def test_a_short_prompt_causes_no_search(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "request", None)

    assert hook.main(event("UserPromptSubmit", prompt="go on")) is None


@pytest.mark.parametrize("name", ["SessionStart", "UserPromptSubmit", "Stop"])
def test_without_a_server_a_hook_adds_nothing_and_does_not_fail(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "SOMA_URL": f"http://127.0.0.1:{free_port()}", "SOMA_API_KEY": "none"}
    more = {"prompt": "What is the plan for today?", "transcript_path": str(transcript(tmp_path, *TURNS))}

    done = subprocess.run(
        [sys.executable, str(HOOK)],
        input=json.dumps(event(name, **more)),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")
    assert "somamemory" in done.stderr


@pytest.mark.parametrize(
    "line", ["[1]", "null", '{"type": "user"}', '{"type": "user", "message": {"content": 5}}', "{"]
)
def test_a_transcript_with_another_format_does_not_make_the_hook_fail(tmp_path: Path, line: str) -> None:
    path = tmp_path / "transcript.jsonl"
    path.write_text(line)

    done = subprocess.run(
        [sys.executable, str(HOOK)],
        input=json.dumps(event("Stop", transcript_path=str(path))),
        env={**os.environ, "SOMA_API_KEY": "none"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:9595", ("http", "127.0.0.1", 9595, "")),
        ("https://memory.example.org", ("https", "memory.example.org", 443, "")),
        ("http://localhost/soma/", ("http", "localhost", 80, "/soma")),
        ("http://[::1]", ("http", "::1", 80, "")),
        ("http://[::1]:9595", ("http", "::1", 9595, "")),
    ],
)
def test_the_url_of_the_server_needs_no_port(hook: ModuleType, url: str, place: tuple[str, str, int, str]) -> None:
    assert hook.address(url) == place


def test_the_plugin_has_the_version_of_the_service() -> None:
    manifest = json.loads((PLUGIN / ".claude-plugin" / "plugin.json").read_text())

    assert manifest["version"] == somamemory.__version__
    assert json.loads((PLUGIN / ".mcp.json").read_text())["mcpServers"]["somamemory"]["type"] == "http"


def test_every_hook_runs_the_script() -> None:
    hooks = json.loads((PLUGIN / "hooks" / "hooks.json").read_text())["hooks"]

    assert set(hooks) == {"SessionStart", "UserPromptSubmit", "Stop"}
    commands = [entry["command"] for groups in hooks.values() for group in groups for entry in group["hooks"]]
    assert set(commands) == {'python3 -I -S "${CLAUDE_PLUGIN_ROOT}/hooks/memory.py"'}
