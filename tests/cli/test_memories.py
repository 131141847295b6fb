"""Commands for memories: valid and invalid input, and output as tables and JSON."""

from __future__ import annotations

import io

import pytest

from tests.cli.conftest import Soma


def test_a_memory_is_stored_and_found(soma: Soma) -> None:
    stored = soma("store", "Ada drinks coffee", "--user", "ada", "--key", "ada/coffee")
    found = soma("search", "coffee", "--user", "ada")

    assert (stored.code, stored.out.splitlines()[0]) == (0, "Stored ada/coffee")
    assert found.out.splitlines()[0].split() == ["score", "name", "namespace", "text"]
    assert found.out.splitlines()[1].split()[1:] == ["ada/coffee", "default", "Ada", "drinks", "coffee"]


def test_json_is_the_response_of_the_service(soma: Soma) -> None:
    stored = soma("store", "Ada drinks coffee", "--json").json
    found = soma("search", "coffee", "--json").json

    assert stored["created"] is True
    assert [memory["id"] for memory in found["memories"]] == [stored["id"]]


def test_a_memory_is_replaced_by_its_key(soma: Soma) -> None:
    soma("store", "one", "--key", "a")

    assert soma("store", "two", "--key", "a").out.startswith("Replaced a\n")


def test_a_text_is_read_from_standard_input(soma: Soma, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
    soma("store", "-", "--key", "piped")

    assert soma("get", "piped", "--json").json["payload"] == {"text": "from a pipe"}


def test_a_payload_can_be_an_object(soma: Soma) -> None:
    soma("store", "--payload", '{"city": "Lisbon"}', "--key", "trip", "--metadata", '{"a": 1}')

    assert '{"city": "Lisbon"}' in soma("get", "trip").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either TEXT or --payload"),
        (("text", "--payload", "{}"), "give either TEXT or --payload"),
        (("--payload", "[1]"), "must be a JSON object"),
        (("--payload", "{"), "must be JSON"),
        (("text", "--importance", "-1"), "--importance"),
        (("text", "--ttl", "0"), "--ttl"),
        (("text", "--type", "dream"), "--type"),
        (("text", "--coord", "x"), "coord"),
        (("text", "--user", ""), "user_id"),
        (("text", "--colour", "red"), "--colour"),
    ],
)
def test_an_invalid_memory_is_refused_with_the_name_of_the_field(
    soma: Soma, arguments: tuple[str, ...], message: str
) -> None:
    done = soma("store", *arguments)

    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_very_large_or_small_coordinate_can_be_used_as_it_is_shown(soma: Soma) -> None:
    shown = soma("store", "text", "--coord", "1e22,1e-7,1").out.splitlines()[0].removeprefix("Stored ")

    assert soma("delete", shown).code == 0


@pytest.mark.parametrize("command", ["search", "context"])
def test_a_command_reports_that_its_results_are_incomplete(soma: Soma, command: str) -> None:
    words = [f"word{number}" for number in range(65)]  # one more than a keyword search uses

    assert soma(command, " ".join(words)).err.endswith("degraded: keyword.\n")
    assert soma(command, " ".join(words[:64])).err == ""


@pytest.mark.parametrize("name", ["7,8,9", "by/key", "id"])
def test_a_memory_is_shown_by_coordinate_key_or_id(soma: Soma, name: str) -> None:
    options = {"7,8,9": ["--coord", "7,8,9"], "by/key": ["--key", "by/key"], "id": []}[name]
    stored = soma("store", "here", *options, "--json").json
    fetched = soma("get", stored["id"] if name == "id" else name)

    assert (fetched.code, stored["id"] in fetched.out) == (0, True)


@pytest.mark.parametrize(
    ("kind", "name"), [("coord", "5.0"), ("key", "4,5"), ("key", "d41d8cd98f00b204e9800998ecf8427e")]
)
def test_an_ambiguous_name_can_be_used_with_its_kind(soma: Soma, kind: str, name: str) -> None:
    assert soma("store", "here", f"--{kind}", name).out.startswith(f"Stored {name}")
    fetched, deleted = (soma(command, name, "--as", kind) for command in ("get", "delete"))

    assert (fetched.code, deleted.code) == (0, 0)
    assert "here" in fetched.out


@pytest.mark.parametrize("name", ["nothing", "1,1,1", "2f1f0e60-0000-4000-8000-000000000000"])
@pytest.mark.parametrize("command", ["get", "delete"])
def test_a_missing_memory_has_its_own_exit_code(soma: Soma, command: str, name: str) -> None:
    done = soma(command, name)

    assert done.code == 4
    assert done.err.startswith("error: there is no memory")


def test_an_error_as_json_has_its_code_and_the_request_id(soma: Soma) -> None:
    done = soma("get", "nothing", "--json")

    assert done.out == ""
    assert (done.error["code"], done.error["status"], done.error["exit_code"]) == ("not_found", 404, 4)
    assert done.error["request_id"]


def test_a_memory_is_deleted(soma: Soma) -> None:
    soma("store", "gone", "--key", "a")

    assert soma("delete", "a").out == "Deleted a\n"
    assert soma("get", "a").code == 4


def test_memories_are_listed(soma: Soma) -> None:
    assert soma("list").out.startswith("No memories. Store one:")
    soma("store", "one", "--key", "a", "--user", "ada")
    soma("store", "two", "--key", "b")

    assert len(soma("list").out.splitlines()) == 3
    assert [memory["key"] for memory in soma("list", "--user", "ada", "--json").json["items"]] == ["a"]


def test_stored_text_cannot_control_the_terminal(soma: Soma) -> None:
    soma("store", "\x1b[31mred\x1b]0;title\x07", "--key", "a")

    assert "\x1b" not in soma("list").out + soma("get", "a").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("q", "--top-k", "0"), "--top-k"),
        (("q", "--mode", "magic"), "--mode"),
        (("q", "--filters", "{"), "--filters"),
        (("",), "query"),
        ((), "QUERY"),
    ],
)
def test_an_invalid_search_is_refused(soma: Soma, arguments: tuple[str, ...], message: str) -> None:
    done = soma("search", *arguments)

    assert done.code == 2
    assert message in done.err


def test_a_context_is_assembled(soma: Soma) -> None:
    conversation = soma("conversations", "create", "--label", "Coffee", "--json").json["id"]
    soma("conversations", "append", conversation, "user", "Ada wants no sugar today.")

    assert "no sugar" in soma("context", "sugar", "--budget", "500").out
    assert soma("context", "sugar", "--json").json["used_tokens"] > 0


@pytest.mark.parametrize("arguments", [("q", "--budget", "0"), ("q", "--budget", "many"), ()])
def test_an_invalid_context_is_refused(soma: Soma, arguments: tuple[str, ...]) -> None:
    assert soma("context", *arguments).code == 2
