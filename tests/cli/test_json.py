"""`--json` prints one document for each command that changes something."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.cli.conftest import Soma


@dataclass
class Names:
    conversation: str
    prefix: str


@pytest.fixture
def names(soma: Soma) -> Names:
    soma("store", "Ada drinks coffee", "--key", "a")
    soma("tenants", "create", "acme")
    return Names(
        soma("conversations", "create", "--json").json["id"], soma("keys", "create", "acme", "--json").json["prefix"]
    )


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("delete a", "deleted", True),
        ("conversations append CONVERSATION user Hello", "items", None),
        ("conversations search coffee", "results", []),
        ("conversations delete CONVERSATION --yes", "success", True),
        ("tenants create other", "slug", "other"),
        ("tenants update acme --name Acme", "name", "Acme"),
        ("tenants erase acme --yes", "slug", "acme"),
        ("keys list acme", "items", None),
        ("keys revoke acme PREFIX", "prefix", None),
    ],
)
def test_a_command_prints_the_response_as_json(soma: Soma, names: Names, line: str, field: str, value: object) -> None:
    words = line.replace("CONVERSATION", names.conversation).replace("PREFIX", names.prefix).split()
    done = soma(*words, "--json")

    assert (done.code, done.err) == (0, "")
    assert field in done.json
    assert value is None or done.json[field] == value


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("conversations messages not-an-id", 2),
        ("conversations search", 2),
        ("conversations delete 2f1f0e60-0000-4000-8000-000000000000 --yes", 4),
        ("tenants list --limit 0", 2),
        ("conversations delete 2f1f0e60-0000-4000-8000-000000000000", 2),
        ("tenants erase missing --yes", 4),
        ("tenants erase missing", 2),
        ("keys list missing", 4),
        ("export --format xml", 2),
        ("list --limit 101", 2),
        ("delete", 2),
        ("init --port 1", 2),
    ],
)
def test_an_error_is_one_json_document(soma: Soma, line: str, code: int) -> None:
    done = soma(*line.split(), "--json")

    assert (done.code, done.out) == (code, "")
    assert done.error["message"]
    assert done.error["exit_code"] == code
