"""Import and export over HTTP: repeated imports add nothing, and round trips are exact."""

from __future__ import annotations

import io
import itertools
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from conversations import lookup, restoring, services
from conversations.models import Conversation, ImportedConversation
from conversations.query import ConversationQuery
from conversations.transfer import exporting, formats, importing
from conversations.transfer.formats import text as markdown
from conversations.transfer.formats.base import Broken, Imported
from memories.index import backpressure
from memories.models import Memory
from somamemory import deadline
from somamemory.errors import Conflict, DeadlineExceeded, SomaError
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import Api, issue_key, problem_of
from tests.support.conversation_files import chatgpt, claude, file_of, grown

FORMATS = {"json": "application/json", "jsonl": "application/x-ndjson", "markdown": "text/markdown"}


def send(api: Api, raw: bytes, kind: str = "application/json", query: str = "", **headers: str) -> Any:
    return api.request("POST", f"/api/v1/import{query}", None, raw, content_type=kind, **headers)


def report(api: Api, raw: bytes, kind: str = "application/json", status: int = 200, query: str = "") -> Any:
    response = send(api, raw, kind, query)
    assert response.status_code == status, response.content
    return response.json()


def exported(api: Api, format: str, query: str = "") -> bytes:
    response = api.get(f"/api/v1/export?format={format}{query}")
    assert response.status_code == 200
    assert response["Content-Type"].startswith(FORMATS[format])
    content: bytes = response.getvalue()
    return content


def contents(api: Api) -> list[Any]:
    """Return all of a tenant's conversations, without values that differ between installations."""
    output = []
    for row in Conversation.objects.for_tenant(api.tenant).order_by("number"):
        facts = api.get(f"/api/v1/conversations/{row.id}").json()
        for name in ("id", "conversation_id", "number", "updated_at"):
            del facts[name]
        messages = api.get(f"/api/v1/conversations/{row.id}/messages?limit=1000").json()["items"]
        kept = ("role", "content", "timestamp", "metadata", "turn")
        output.append((facts, [{name: message[name] for name in kept} for message in messages]))
    return output


def counted(api: Api) -> tuple[int, int]:
    return (
        Conversation.objects.for_tenant(api.tenant).count(),
        Memory.objects.for_tenant(api.tenant).filter(namespace="conversations").count(),
    )


# --- Import ------------------------------------------------------------------------------------------------------


def test_an_export_of_another_service_is_imported(api: Api) -> None:
    output = report(api, file_of(chatgpt(), claude()))

    assert (output["conversations"], output["messages"], output["failed"]) == ({"created": 2}, 6, 0)
    assert output["left_out"] == {"empty": 2, "hidden": 1, "thoughts": 2, "other branches": 1}
    assert counted(api) == (2, 6)
    assert api.get("/api/v1/conversations?label=Garden plans").json()["total"] == 1


def test_a_json_body_that_is_not_json_is_an_error_and_not_a_text(api: Api) -> None:
    output = report(api, b"<html>502 Bad Gateway</html>", status=207)

    assert output["failed"] == 1
    assert counted(api) == (0, 0)


def test_a_command_never_stores_a_broken_json_file_as_text(api: Api, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("<html>502 Bad Gateway</html>")

    with pytest.raises(CommandError):
        call_command("import_conversations", str(tmp_path), tenant=api.tenant.slug)
    assert counted(api) == (0, 0)


def test_imported_messages_keep_their_times(api: Api) -> None:
    report(api, file_of(claude()))

    [(facts, messages)] = contents(api)
    assert facts["created_at"] == "2025-03-01T09:30:00.123456Z"
    assert messages[0]["timestamp"] == "2025-03-01T09:30:00.100000Z"


def test_a_second_import_adds_nothing(api: Api) -> None:
    report(api, file_of(chatgpt(), claude()))
    before = contents(api)

    output = report(api, file_of(chatgpt(), claude()))

    assert (output["conversations"], output["messages"]) == ({"unchanged": 2}, 0)
    assert contents(api) == before


def test_a_longer_one_adds_its_new_turns(api: Api) -> None:
    report(api, file_of(chatgpt()))

    output = report(api, file_of(grown(chatgpt(), "Do they swim?", "They do.")))

    assert (output["conversations"], output["messages"]) == ({"extended": 1}, 2)
    [(_, messages)] = contents(api)
    assert [message["content"] for message in messages[-2:]] == ["Do they swim?", "They do."]
    assert counted(api) == (1, 6)


def test_a_shorter_one_takes_nothing_away(api: Api) -> None:
    report(api, file_of(grown(chatgpt(), "Do they swim?")))

    assert report(api, file_of(chatgpt()))["conversations"] == {"unchanged": 1}
    assert counted(api) == (1, 5)


def test_one_that_went_another_way_is_reported_and_left_as_it_is(api: Api) -> None:
    report(api, file_of(grown(chatgpt(), "Do they swim?")))
    before = contents(api)

    output = report(api, file_of(grown(chatgpt(), "Do they fly?", "No.")), status=207)

    assert output["conversations"] == {"diverged": 1}
    assert "not updated" in output["errors"][0]["reason"]
    assert contents(api) == before


def test_a_deleted_conversation_is_imported_again(api: Api) -> None:
    report(api, file_of(claude()))
    api.delete(f"/api/v1/conversations/{Conversation.objects.for_tenant(api.tenant).get().id}")

    assert report(api, file_of(claude()))["conversations"] == {"created": 1}
    assert ImportedConversation.objects.for_tenant(api.tenant).count() == 1


def test_nothing_remains_of_an_import_after_the_retention_period(api: Api, settings: Any) -> None:
    report(api, file_of(claude()))
    api.delete(f"/api/v1/conversations/{Conversation.objects.for_tenant(api.tenant).get().id}")

    settings.RETENTION_DAYS = 0
    restoring.forget_expired()

    assert not ImportedConversation.objects.for_tenant(api.tenant).exists()


def test_a_dry_run_reports_and_stores_nothing(api: Api) -> None:
    output = report(api, file_of(chatgpt(), claude()), query="?dry_run=true")

    assert (output["conversations"], output["messages"], output["dry_run"]) == ({"readable": 2}, 6, True)
    assert counted(api) == (0, 0)


def test_the_intact_part_of_a_broken_file_is_imported(api: Api) -> None:
    output = report(api, file_of(chatgpt(), claude())[:-200], status=207)

    assert output["conversations"] == {"created": 1}
    assert output["errors"] == [{"place": output["errors"][0]["place"], "reason": "the file ends in the middle of it"}]
    assert output["errors"][0]["place"].startswith("item 2 (byte ")


def test_an_import_stops_after_a_thousand_conversations_that_cannot_be_read(api: Api) -> None:
    output = report(api, b"[" + b"{}," * 2_000 + file_of(chatgpt())[1:], status=207)

    assert output["failed"] == len(output["errors"]) == 1_001
    assert output["errors"][-1]["reason"].startswith("stopped after 1000 errors")
    assert counted(api) == (0, 0)


def test_a_command_continues_after_any_number_of_conversations_that_cannot_be_read(caller: Caller) -> None:
    items = formats.read(io.BytesIO(b"[" + b"{}," * 2_000 + file_of(chatgpt())[1:]))

    output = importing.import_conversations(caller, items)

    assert (output.failed, output.counts[importing.CREATED]) == (2_000, 1)


def test_reading_conversations_that_cannot_be_read_keeps_the_deadline(caller: Caller) -> None:
    with deadline.within(0.01), pytest.raises(DeadlineExceeded):
        importing.import_conversations(caller, itertools.repeat(Broken("item", "broken")))


def test_a_conversation_is_imported_completely_or_not_at_all(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    appended = services.append

    def failing(caller: Caller, id: Any, messages: Any) -> Any:
        if len(messages) < importing._BATCH:
            raise Conflict("this conversation is full")
        return appended(caller, id, messages)

    monkeypatch.setattr(importing, "_BATCH", 3)
    monkeypatch.setattr(services, "append", failing)

    output = report(api, file_of(grown(chatgpt(), "a")), status=207)

    assert output["failed"] == 1
    assert counted(api) == (0, 0)


def test_an_import_stops_at_the_backlog_limit_and_continues_later(api: Api, settings: Any) -> None:
    api.store("1")
    api.store("2")
    backpressure.forget_cached()
    settings.MAX_BACKLOG = 1
    problem_of(send(api, file_of(chatgpt(), claude())), 429, code="index_backlog")
    assert counted(api) == (0, 0)

    backpressure.forget_cached()
    settings.MAX_BACKLOG = 100
    assert report(api, file_of(chatgpt(), claude()))["conversations"] == {"created": 2}


def test_a_command_waits_for_room(api: Api, caller: Caller, settings: Any) -> None:
    api.store("1")
    api.store("2")
    backpressure.forget_cached()
    settings.MAX_BACKLOG = 1

    def make_room(error: SomaError) -> None:
        backpressure.forget_cached()
        settings.MAX_BACKLOG = 100

    done = importing.import_conversations(caller, formats.read(io.BytesIO(file_of(chatgpt()))), wait=make_room)

    assert done.counts == {"created": 1}


@pytest.mark.django_db(transaction=True)
def test_a_file_imported_concurrently_is_stored_once(api: Api) -> None:
    outcomes: list[str] = []

    def take_over() -> None:
        try:
            outcomes.extend(report(api, file_of(chatgpt()))["conversations"])
        finally:
            connection.close()

    threads = [threading.Thread(target=take_over) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["created", *["unchanged"] * 4]
    assert counted(api) == (1, 4)


def test_two_tenants_import_the_same_file_each_for_itself(api: Api, stranger: Api) -> None:
    report(api, file_of(chatgpt()))

    assert report(stranger, file_of(chatgpt()))["conversations"] == {"created": 1}
    assert counted(stranger) == (1, 4)


def test_an_idempotency_key_gives_the_first_answer_again(api: Api) -> None:
    first = send(api, file_of(claude()), idempotency_key="k")
    again = send(api, file_of(claude()), idempotency_key="k")

    assert again.json() == first.json() == {**first.json(), "conversations": {"created": 1}}
    assert again["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png", "text/html"])
def test_a_file_of_another_kind_is_refused(api: Api, kind: str) -> None:
    problem_of(send(api, b"x", kind), 415)


def test_an_empty_file_is_refused(api: Api) -> None:
    problem_of(send(api, b""), 422, field="body")


@pytest.mark.parametrize("query", ["?source=icq", "?name=" + "x" * 300, "?dry_run=maybe", "?more=1"])
def test_a_wrong_parameter_is_refused(api: Api, query: str) -> None:
    problem_of(send(api, b"[]", query=query), 422)


@pytest.mark.parametrize("scopes", [("read",), ("write",)])
def test_an_import_needs_to_read_and_to_write(api: Api, scopes: tuple[str, ...]) -> None:
    problem_of(send(Api(issue_key(api.tenant, scopes), api.tenant), file_of(claude())), 403)


# --- Export ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_is_imported_unchanged(api: Api, stranger: Api, format: str) -> None:
    report(api, file_of(chatgpt(), claude()))
    hard = "<!-- soma:message {} -->\n\\<!-- soma:conversation -->\n## user\n\n--> \r\n\n\n  ends with spaces  \n"
    messages = [{"role": "tool", "content": hard, "metadata": {"a": {"b": ["--> 1", 2.5, None]}}}]
    made = {"label": "Hard\n# ones -->", "folder": "/a/b", "messages": messages, "importance_score": 7.5}
    assert api.post("/api/v1/conversations", made).status_code == 201
    api.post("/api/v1/conversations", {"label": "Empty"})

    output = report(stranger, exported(api, format), FORMATS[format])

    assert (output["conversations"], output["failed"]) == ({"created": 4}, 0)
    assert contents(stranger) == contents(api)


@pytest.mark.parametrize("format", FORMATS)
def test_an_imported_conversation_keeps_its_external_id(api: Api, stranger: Api, format: str) -> None:
    assert api.put("/api/v1/conversations/by-external-id/thread-1", {"label": "Beans"}).status_code == 201

    assert report(stranger, exported(api, format), FORMATS[format])["left_out"] == {}
    assert stranger.get("/api/v1/conversations/by-external-id/thread-1").json()["label"] == "Beans"


def test_an_external_id_that_is_in_use_is_left_out_and_counted(api: Api, stranger: Api) -> None:
    api.put("/api/v1/conversations/by-external-id/thread-1", {"label": "Beans"})
    stranger.put("/api/v1/conversations/by-external-id/thread-1", {"label": "Mine"})

    output = report(stranger, exported(api, "json"))

    assert (output["conversations"], output["left_out"]) == ({"created": 1}, {"external ids in use": 1})
    assert stranger.get("/api/v1/conversations/by-external-id/thread-1").json()["label"] == "Mine"


def test_an_external_id_that_another_writer_takes_during_the_import_is_left_out(
    api: Api, stranger: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put("/api/v1/conversations/by-external-id/thread-1")
    stranger.put("/api/v1/conversations/by-external-id/thread-1")
    find, misses = lookup.by_external_id, [None]
    monkeypatch.setattr(lookup, "by_external_id", lambda *given: misses.pop() if misses else find(*given))

    assert report(stranger, exported(api, "json"))["left_out"] == {"external ids in use": 1}


@pytest.mark.parametrize("external_id", ["  a", "a" * 256, 5, "..", "a/b"])
def test_an_invalid_external_id_is_reported(api: Api, external_id: Any) -> None:
    item = {"format": "somamemory.conversation/1", "id": "a", "external_id": external_id, "messages": []}

    assert "external_id" in report(api, file_of(item), status=207)["errors"][0]["reason"]


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_is_recognised_where_it_was_exported(api: Api, format: str) -> None:
    report(api, file_of(chatgpt(), claude()))

    assert report(api, exported(api, format), FORMATS[format])["conversations"] == {"unchanged": 2}


def test_an_export_with_windows_line_endings_is_recognised(api: Api) -> None:
    report(api, file_of(chatgpt(), claude()))
    converted = exported(api, "markdown").replace(b"\n", b"\r\n")

    assert report(api, converted, FORMATS["markdown"])["conversations"] == {"unchanged": 2}


@pytest.mark.parametrize("format", ["jsonl", "markdown"])
def test_nothing_at_all_is_an_empty_file(api: Api, format: str) -> None:
    assert exported(api, format) == b""


def test_an_export_may_be_of_a_label_or_a_folder(api: Api) -> None:
    report(api, file_of(chatgpt(), claude()))
    api.post("/api/v1/conversations", {"label": "x", "folder": "/work/jobs"})

    assert [conversation["label"] for conversation in json.loads(exported(api, "json", "&label=Garden plans"))] == [
        "Garden plans"
    ]
    assert [conversation["folder"] for conversation in json.loads(exported(api, "json", "&folder=/work"))] == [
        "/work/jobs"
    ]


def test_an_export_is_streamed_in_pieces(api: Api) -> None:
    for start in range(3):
        api.post("/api/v1/conversations", {"messages": [{"role": "user", "content": f"{start}"}] * 400})
    caller = Caller(tenant=api.tenant, actor="key:test", scopes=frozenset(["read"]))

    pieces = list(exporting.export(caller, ConversationQuery(), "jsonl"))
    assert max(map(len, pieces)) < 1_000
    assert len(b"".join(pieces).splitlines()) == 3


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda text: bool(text.strip())
)


@bounded(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(TEXTS | st.just("<!-- soma:message x -->\n## a") | st.just("\n\n## user\r\n\r\n"), min_size=1, max_size=4)
)
def test_every_text_survives_markdown(texts: list[str]) -> None:
    facts = {"format": "somamemory.conversation/1", "id": "x", "label": "l", "folder": "", "metadata": {}}
    file = markdown.mark("conversation", facts) + "\n# l\n\n"
    for text in texts:
        file += f"{markdown.mark('message', {'role': 'user'})}\n## user\n\n{markdown.escaped(text)}\n\n"

    [found] = formats.read(io.BytesIO(file.encode()))
    assert isinstance(found, Imported)
    assert [message.content for message in found.messages] == texts


def test_a_stranger_exports_nothing_of_ours(api: Api, stranger: Api) -> None:
    report(api, file_of(chatgpt()))

    assert json.loads(exported(stranger, "json")) == []
    assert Tenant.objects.count() >= 2


def test_a_command_takes_a_file_over(api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "conversations.json").write_bytes(file_of(chatgpt(), claude()))
    (tmp_path / "notes.md").write_text("# Notes\n\n## User\n\nBuy beans.\n")

    call_command("import_conversations", str(tmp_path), "--tenant", "acme")

    assert counted(api) == (3, 7)
    assert "2 created; 6 messages" in capsys.readouterr().out


def test_a_command_says_what_it_could_not_take_over(api: Api, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "broken.json").write_bytes(file_of(chatgpt(), claude())[:-200])

    with pytest.raises(CommandError, match="conversations not imported: 1"):
        call_command("import_conversations", str(tmp_path), "--tenant", "acme")

    assert "the file ends in the middle of it" in capsys.readouterr().out
    assert counted(api) == (1, 4)


def test_files_added_to_a_watched_folder_are_imported(
    api: Api, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def pause(seconds: float) -> None:
        """Write a file after the first poll, extend it after the second, and press Ctrl-C after the third."""
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt
        file = tmp_path / "chat.json"
        file.write_bytes(file_of(chatgpt() if looks == 1 else grown(chatgpt(), "And ants?")))
        os.utime(file, (looks, looks))  # long ago: the file is complete

    monkeypatch.setattr(time, "sleep", pause)
    call_command("import_conversations", str(tmp_path), "--tenant", "acme", "--watch")

    assert counted(api) == (1, 5)
    assert capsys.readouterr().out.endswith("Stopped.\n")


def secret_and_link(folder: Path) -> Path:
    """Create a file outside the folder, and return the path for a link to it."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text(json.dumps([{"id": "s", "messages": [{"role": "user", "content": "secret"}]}]))
    return outside / "secret.json"


@pytest.mark.parametrize("kind", ["file", "folder", "path", "pipe"])
def test_an_import_follows_no_symbolic_link_and_opens_no_pipe(api: Api, tmp_path: Path, capsys: Any, kind: str) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    target = secret_and_link(folder)
    path = folder / "chats.json"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target.parent if kind == "folder" else target)

    with pytest.raises(CommandError, match="conversations not imported: 1"):
        call_command("import_conversations", str(path if kind == "path" else folder), "--tenant", "acme")

    output = capsys.readouterr().out
    assert "is not a regular file" in output if kind == "pipe" else "is a symbolic link" in output
    assert not Conversation.objects.for_tenant(api.tenant).exists()


def test_a_file_that_changes_while_it_is_read_is_reported(
    api: Api, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chats.json"
    path.write_text(json.dumps([{"id": "a", "messages": [{"role": "user", "content": "hello"}]}]))
    store = importing._store

    def write_as_well(*given: Any) -> Any:
        with path.open("a") as file:
            file.write(" ")
        return store(*given)

    monkeypatch.setattr(importing, "_store", write_as_well)
    with pytest.raises(CommandError, match="conversations not imported: 1"):
        call_command("import_conversations", str(tmp_path), "--tenant", "acme")

    assert "was written to during the import; import it again" in capsys.readouterr().out


def test_a_conversation_without_any_content_is_not_created(api: Api) -> None:
    empty = {"id": "e", "messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": []}]}

    report = api.post("/api/v1/import", [empty]).json()

    assert report["conversations"] == {"empty": 1}
    assert report["left_out"] == {"empty": 2}
    assert not Conversation.objects.for_tenant(api.tenant).exists()


def test_a_command_for_a_folder_without_conversations_fails(api: Api) -> None:
    with pytest.raises(CommandError, match="has no conversations in folder /nope"):
        call_command("rate_messages", "/nope", "--tenant", "acme")


def test_every_message_of_a_folder_is_judged_by_a_command(api: Api, capsys: Any) -> None:
    message = {"role": "user", "content": "Remember that I am allergic to nuts."}
    for folder in ("/a/b", "/c"):
        api.post("/api/v1/conversations", {"folder": folder, "label": folder, "messages": [message]})

    call_command("rate_messages", "/a", "--tenant", "acme")

    rows = Memory.objects.for_tenant(api.tenant).filter(namespace="conversations").order_by("coordinate_key")
    assert [row.importance for row in rows] == [7.0, 0.0]
    assert capsys.readouterr().out == "/a/b: 1 messages\n"
