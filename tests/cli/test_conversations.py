"""Commands for conversations, imports and exports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Soma


@pytest.fixture
def conversation(soma: Soma) -> str:
    created = soma("conversations", "create", "--label", "Coffee", "--folder", "/talk", "--json").json
    soma("conversations", "append", created["id"], "user", "Ada wants no sugar today.")
    return str(created["id"])


def test_conversations_are_listed(soma: Soma, conversation: str) -> None:
    listed = soma("conversations", "list")

    assert listed.out.splitlines()[1].split()[:3] == [conversation, "Coffee", "/talk"]
    assert soma("conversations", "list", "--folder", "/talk", "--json").json["results"][0]["id"] == conversation


def test_an_external_id_creates_one_conversation(soma: Soma) -> None:
    first, second = (soma("conversations", "create", "--external-id", "mine", "--json") for _ in range(2))

    assert (first.err, first.json["id"]) == ("", second.json["id"])


def test_messages_are_shown(soma: Soma, conversation: str) -> None:
    messages = soma("conversations", "messages", conversation)

    assert "user" in messages.out
    assert "no sugar" in messages.out
    assert soma("conversations", "messages", conversation, "--json").code == 0


def test_a_conversation_is_shown(soma: Soma, conversation: str) -> None:
    assert "Coffee" in soma("conversations", "get", conversation).out
    assert soma("conversations", "get", conversation, "--json").json["label"] == "Coffee"


def test_messages_are_searched(soma: Soma, conversation: str) -> None:
    assert "no sugar" in soma("conversations", "search", "sugar").out
    assert soma("conversations", "search", "sugar", "--json").json["results"]


def test_a_conversation_is_deleted_after_confirmation(soma: Soma, conversation: str) -> None:
    refused = soma("conversations", "delete", conversation)
    assert (refused.code, "Interrupted." in refused.err) == (130, True)

    assert soma("conversations", "delete", conversation, "--yes").code == 0
    assert soma("conversations", "get", conversation).code == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("append", "ID", "nobody", "text"), "'nobody' is not one of"),
        (("list", "--limit", "0"), "--limit"),
        (("list", "--status", "lost"), "--status"),
        (("get",), "ID"),
        (("get", "not-an-id"), "id"),
    ],
)
def test_invalid_input_is_refused(soma: Soma, arguments: tuple[str, ...], message: str) -> None:
    done = soma("conversations", *arguments)

    assert done.code == 2
    assert message in done.err


def test_conversations_are_exported_and_imported(soma: Soma, conversation: str, tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    exported = soma("export", "--format", "json", "--output", str(file))
    assert (exported.code, exported.out) == (0, "")

    imported = soma("import", str(file), "--json")
    assert imported.code == 0
    assert imported.json[0]["failed"] == 0


def test_an_export_that_fails_leaves_the_earlier_file(soma: Soma, tmp_path: Path) -> None:
    file = tmp_path / "exports" / "memories.jsonl"
    file.parent.mkdir()
    file.write_text("the earlier export")

    assert soma("export", "--memories", "--namespace", "no namespace", "--output", str(file)).code != 0

    assert file.read_text() == "the earlier export"
    assert list(file.parent.iterdir()) == [file]


def test_an_export_keeps_the_permissions_and_the_link_of_the_file_that_it_replaces(soma: Soma, tmp_path: Path) -> None:
    file, link = tmp_path / "private.jsonl", tmp_path / "link.jsonl"
    file.touch(0o600)
    link.symlink_to(file)
    soma("store", "Ada drinks coffee")

    assert soma("export", "--memories", "--output", str(link)).code == 0

    assert "Ada drinks coffee" in file.read_text()
    assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o600)


def test_an_export_is_written_to_standard_output_by_default(soma: Soma, conversation: str) -> None:
    assert "no sugar" in soma("export").out
    assert json.loads(soma("export", "--json").out)


def test_a_folder_is_imported(soma: Soma, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A talk\n\nuser: Hello\n\nassistant: Hi\n")
    (tmp_path / "b.txt").write_text("user: Hello\nassistant: Hi\n")
    done = soma("import", str(tmp_path))

    assert (done.code, done.err, done.out.count("file  ")) == (0, "Importing\n", 2)


def test_other_files_in_an_imported_folder_are_ignored(soma: Soma, tmp_path: Path) -> None:
    (tmp_path / "a.markdown").write_text("# A talk\n\nuser: Hello\n")
    (tmp_path / "picture.png").write_bytes(b"")
    done = soma("import", str(tmp_path), "--json")

    assert (done.code, [report["file"] for report in done.json]) == (0, [str(tmp_path / "a.markdown")])


def test_a_rejected_file_does_not_end_the_import_of_a_folder(soma: Soma, tmp_path: Path) -> None:
    for name, text in (("a.md", "# User\none"), ("b.txt", ""), ("c.txt", "x" * 11_000_000), ("d.md", "# User\ntwo")):
        (tmp_path / name).write_text(text)
    done = soma("import", str(tmp_path), "--json")

    assert (done.code, [report["failed"] for report in done.json]) == (1, [0, 1, 1, 0])


def test_a_dry_run_imports_nothing(soma: Soma, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A talk\n\nuser: Hello\n")

    assert soma("import", str(tmp_path), "--dry-run", "--json").json[0]["dry_run"] is True
    assert soma("conversations", "list").out == "No conversations.\n"


@pytest.mark.parametrize("name", ["missing.json", "picture.png"])
def test_a_file_that_cannot_be_imported_is_refused_before_a_request(bare: Soma, tmp_path: Path, name: str) -> None:
    (tmp_path / "picture.png").write_bytes(b"")
    done = bare("import", str(tmp_path / name))

    assert done.code == 2
    assert "PATH" in done.err


def test_memories_are_exported_and_imported(soma: Soma, tmp_path: Path) -> None:
    soma("store", "Ada drinks coffee", "--key", "a", "--user", "ada")
    file = tmp_path / "memories.jsonl"
    assert soma("export", "--memories", "--output", str(file)).code == 0
    soma("delete", "a", "--purge")

    assert soma("import", "--memories", str(file), "--json").json == {"stored": 1, "expired": 0, "failures": []}
    assert soma("get", "a", "--json").json["user_id"] == "ada"


def test_an_imported_memory_has_all_fields_of_the_exported_one(soma: Soma, tmp_path: Path) -> None:
    fields = {
        "key": "a", "namespace": "work", "payload": {"text": "Ada drinks coffee"}, "memory_type": "semantic",
        "metadata": {"place": "home"}, "importance": 0.5, "context": "morning", "user_id": "ada", "agent_id": "hal",
        "session_id": "s", "source": {"app": "notes"}, "trust": 0.25, "valid_from": "2020-01-01T00:00:00Z",
        "valid_to": "2090-01-01T00:00:00Z", "expires_at": "2100-01-01T00:00:00Z",
    }  # fmt: skip
    file = tmp_path / "memories.jsonl"
    file.write_text(json.dumps(fields))
    soma("import", "--memories", str(file))
    assert soma("export", "--memories", "--namespace", "work", "--output", str(file)).code == 0
    soma("delete", "a", "--namespace", "work", "--purge")

    assert soma("import", "--memories", str(file)).code == 0
    stored = soma("get", "a", "--namespace", "work", "--json").json
    assert {name: stored[name] for name in fields} == fields


def test_memories_that_have_expired_since_the_export_are_skipped(soma: Soma, tmp_path: Path) -> None:
    file = tmp_path / "memories.jsonl"
    times = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
    file.write_text("".join(json.dumps({"payload": {"text": time}, "expires_at": time}) + "\n" for time in times))

    assert soma("import", "--memories", str(file), "--json").json == {"stored": 1, "expired": 1, "failures": []}
    assert [memory["expires_at"] for memory in soma("list", "--json").json["items"]] == [times[1]]


def test_a_dry_run_stores_no_memory(soma: Soma, tmp_path: Path) -> None:
    file = tmp_path / "memories.jsonl"
    file.write_text('{"payload": {"text": "a"}}\n\n')

    assert "would_store  1" in soma("import", "--memories", "--dry-run", str(file)).out
    assert soma("list", "--json").json["items"] == []


@pytest.mark.parametrize(("line", "message"), [("{", "line 1"), ("[]", "a JSON object with a payload")])
def test_the_number_of_an_invalid_line_is_reported(bare: Soma, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "memories.jsonl").write_text(line)
    done = bare("import", "--memories", str(tmp_path / "memories.jsonl"))

    assert done.code == 2
    assert message in done.err


def test_a_rejected_memory_is_reported_and_changes_the_exit_code(soma: Soma, tmp_path: Path) -> None:
    (tmp_path / "memories.jsonl").write_text('{"payload": {"text": "a"}, "key": "a"}\n{"payload": {}, "coord": "x"}\n')
    done = soma("import", "--memories", str(tmp_path / "memories.jsonl"), "--json")

    assert done.code != 0
