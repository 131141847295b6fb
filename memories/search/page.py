"""Select a page from the ranked candidates, and only then read the payloads."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet

from memories import large_rows
from memories.models import Memory
from memories.search.query import GRAPH, Search, SearchHit
from memories.search.ranking import Ranked


def page_of(memories: QuerySet[Memory], ranked: Sequence[Ranked], search: Search) -> tuple[list[SearchHit], int | None]:
    """Return the page, and the offset to go on from if its memories are too large for one response.

    Skip memories that were removed after they were confirmed.
    """
    page: list[SearchHit] = []
    at = search.offset
    while len(page) < search.top_k and at < len(ranked):
        part = ranked[at : at + search.top_k - len(page)]
        rows = large_rows.in_order(memories, "id", [hit.candidate.id for hit in part])
        at += len(rows)
        page += [
            SearchHit(row, round(hit.score, 6), _explain(hit, search))
            for hit, row in zip(part, rows, strict=False)  # the rest has no room
            if row is not None
        ]
        if len(rows) < len(part):
            return page, at
    return page, None


def _explain(hit: Ranked, search: Search) -> dict[str, float | None] | None:
    if not search.explain:
        return None
    explained = {
        "semantic": None if hit.candidate.similarity is None else round(hit.scores.semantic, 6),
        "keyword": round(hit.scores.keyword, 6),
        "recency": round(hit.scores.recency, 6),
        "importance": round(hit.scores.importance, 6),
    }
    return {**explained, GRAPH: round(hit.scores.graph, 6)} if search.expansion else explained
