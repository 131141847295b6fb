"""Sizes and term frequencies: exact or unbiased, with the same meaning for namespaces of any size."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection

from memories.models import Memory
from memories.search import scoring
from memories.search.scoring import Stats
from memories.search.statistics import statistics
from tenants.caller import Caller
from tests.conftest import Api

SIXTEENTH = 1 << 124  # of the range of ids


@pytest.mark.parametrize("documents", [100, 1_000, 10_000, 100_000, 1_000_000])
def test_a_frequent_word_is_left_out_of_the_embedded_query_at_any_size(documents: int) -> None:
    stats = Stats(documents, 10.0, {"carolin": documents * 3 // 10, "paint": documents // 50})

    assert scoring.dense_query("Caroline paints", stats) == "paints"


@pytest.fixture
def many(api: Api) -> Caller:
    """Return a caller for a tenant whose memories have evenly spread ids, so that a sixteenth of them are sampled."""
    items = [{"coord": [n], "payload": {"text": "walrus heron" if n % 32 < 16 else "walrus"}} for n in range(160)]
    items += [{"coord": [n], "payload": {"text": "owl"}} for n in range(160, 163)]
    api.post("/memories/bulk", {"items": items})
    rows = list(Memory.objects.for_tenant(api.tenant).order_by("coordinate_key"))
    for number, row in enumerate(rows):
        row.id = uuid.UUID(int=(number % 16 if number < 160 else 15) * SIXTEENTH + number)
    Memory.all_tenants.bulk_update(rows, ["id"])
    return Caller.command(api.tenant)


@pytest.mark.django_db
def test_statistics_of_a_large_namespace_agree_with_the_exact_ones(
    many: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("memories.search.statistics", "memories.search.term_index"):
        monkeypatch.setattr(f"{module}.COUNTED", 50)
    monkeypatch.setattr("memories.search.statistics._RELIABLE", 4)

    stats = statistics(many.tenant, ["default"], ["walrus", "heron", "owl", "none"])

    assert stats.documents == pytest.approx(163, rel=0.02)
    assert stats.frequency == {
        "walrus": pytest.approx(160, rel=0.02),
        "heron": pytest.approx(80, rel=0.02),
        "owl": 3,
        "none": 0,
    }


@pytest.mark.django_db
def test_sizes_follow_every_change(api: Api) -> None:
    def size(namespace: str = "default") -> tuple[int, float]:
        """Return the number of memories and their average length, without the mark and the four terms of the date."""
        stats = statistics(api.tenant, [namespace], [])
        return stats.documents, stats.average_length and stats.average_length - 5

    api.store("1", "walrus heron")
    api.store("2", "owl")
    assert size() == (2, 1.5)
    api.store("2", "owl owl owl owl")
    assert size() == (2, 3.0)
    api.delete("/memories/1?purge=true")
    assert size() == (1, 4.0)
    Memory.objects.for_tenant(api.tenant).update(namespace="elsewhere")
    assert (size(), size("elsewhere")) == ((0, 0.0), (1, 4.0))


@pytest.mark.django_db
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="the table of scopes is SQLite's")
def test_an_empty_scope_leaves_no_trace(api: Api) -> None:
    api.store("1", "walrus")
    api.delete("/memories/1?purge=true")

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sfm_memory_terms_scopes")
        assert cursor.fetchone() == (0,)
