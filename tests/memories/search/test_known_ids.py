"""Ids by `seq` are read from the database once, and are never outdated."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from memories.models import Memory
from memories.search import known_ids
from tests.conftest import POSTGRESQL, Api, drain

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(POSTGRESQL, reason="PostgreSQL's full-text index is part of the table"),
]


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    known_ids.forget_cached()
    yield
    known_ids.forget_cached()


@pytest.fixture
def stored(api: Api) -> dict[int, UUID]:
    for number in range(4):
        api.store(str(number), "tea", metadata={"tag": "a"})
    drain()
    return dict(Memory.all_tenants.values_list("seq", "id"))


def ids(seqs: list[int]) -> set[UUID]:
    return {UUID(int=high << 64 | low) for high, low in known_ids.of(connection, seqs).tolist()}


def statements(seqs: list[int]) -> int:
    with CaptureQueriesContext(connection) as captured:
        known_ids.of(connection, seqs)
    return len(captured)


def test_an_id_is_read_only_once(stored: dict[int, UUID]) -> None:
    first, *others = stored

    assert ids([first]) == {stored[first]}
    assert statements([first]) == 0
    assert statements([first, *others]) == 1
    assert ids(list(stored)) == set(stored.values())
    assert statements(list(stored)) == 0


def test_an_unknown_seq_has_no_id(stored: dict[int, UUID]) -> None:
    assert ids([max(stored) + 1]) == set()
    assert ids([max(stored) + 1, max(stored)]) == {stored[max(stored)]}


def test_no_seqs_have_no_ids() -> None:
    assert known_ids.of(connection, []).shape == (0, 2)


def test_memories_that_share_a_slot_have_their_own_ids(
    stored: dict[int, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_ids, "SLOTS", 1)

    assert ids(list(stored)) == ids(list(stored)) == set(stored.values())
    for seq, id in stored.items():
        assert ids([seq]) == {id}
        assert statements([seq]) == 0


def test_ids_read_in_a_transaction_are_not_cached(stored: dict[int, UUID]) -> None:
    with transaction.atomic():
        assert ids(list(stored)) == set(stored.values())

    assert statements(list(stored)) == 1


def test_a_filter_finds_memories_stored_and_purged_after_its_ids_were_cached(api: Api, stored: dict[int, UUID]) -> None:
    def found() -> set[str]:
        hits = api.search(query="tea", mode="semantic", filters={"metadata.tag": "a"}, consistency="strong")
        return {hit["coord"].removesuffix(".0") for hit in hits}

    assert found() == {"0", "1", "2", "3"}
    api.delete("/memories/1?purge=true")
    api.store("9", "tea", metadata={"tag": "a"})
    drain()

    assert found() == {"0", "2", "3", "9"}
