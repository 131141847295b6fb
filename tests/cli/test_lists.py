"""Lists show whether they are complete, and can be continued."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Soma


@pytest.fixture
def talk(soma: Soma) -> str:
    """The id of a conversation. Two memories, keys, tenants, conversations and messages each already exist."""
    soma("tenants", "create", "acme")
    for name in ("one", "two"):
        soma("store", name, "--key", name)
        soma("keys", "create", "--name", name)
        id: str = soma("conversations", "create", "--label", name, "--json").json["id"]
    for text in ("one", "two"):
        soma("conversations", "append", id, "user", text)
    return id


@pytest.mark.parametrize(
    "command", ["list", "tenants list", "keys list", "conversations list", "conversations messages"]
)
def test_a_list_that_is_not_complete_can_be_continued(soma: Soma, talk: str, command: str) -> None:
    arguments = [*command.split(), *([talk] if command.endswith("messages") else []), "--limit", "1"]
    first = soma(*arguments)
    second = soma(*arguments, "--cursor", first.err.split()[-1])

    assert (first.code, second.code) == (0, 0)
    assert "There are more" in first.err
    assert second.err == ""
    assert first.out.splitlines()[1] != second.out.splitlines()[1]
