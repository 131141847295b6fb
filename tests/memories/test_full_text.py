"""Merging the segments of SQLite's full-text index."""

from __future__ import annotations

import pytest
from django.db import connection

from memories import full_text
from somamemory import scheduling
from tests.conftest import Api

pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]


def segments() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT segid) FROM sfm_memory_terms_scoped_idx")
        found: int = cursor.fetchone()[0]
    return found


def test_many_segments_become_few_and_searches_find_the_same(api: Api) -> None:
    for at in range(40):
        api.store(str(at), f"Ada painted boat number{at} on lake{at % 7}")
    before, hits = segments(), api.search("the boat on lake3", top_k=40)

    assert full_text.merge() > 0

    assert segments() < before
    assert api.search("the boat on lake3", top_k=40) == hits
    assert full_text.merge() == 0


def test_it_stops_when_the_server_stops(api: Api) -> None:
    for at in range(10):
        api.store(str(at), "a boat")
    before = segments()
    assert full_text.merge(lambda: True) == 0
    assert segments() == before


def test_the_embedded_server_runs_it_every_minute() -> None:
    [job] = [job for job in scheduling.registered() if job.work is full_text.merge]
    assert job.every_s() == 60
    assert not job.in_beat
