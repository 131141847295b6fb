"""Select a page from the ranked candidates, and only then read the payloads."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet

from memories.models import Memory
from memories.search.query import GRAPH, Search, SearchHit
from memories.search.ranking import Ranked


def page_of(memories: QuerySet[Memory], ranked: Sequence[Ranked], search: Search) -> list[SearchHit]:
    """Return the page, without memories that have been removed since they were confirmed."""
    page: list[SearchHit] = []
    at = search.offset
    while len(page) < search.top_k and at < len(ranked):
        part = ranked[at : at + search.top_k - len(page)]
        at += len(part)
        rows = {row.id: row for row in memories.filter(id__in=[hit.candidate.id for hit in part])}
        page += [
            SearchHit(rows[hit.candidate.id], round(hit.score, 6), _explain(hit, search))
            for hit in part
            if hit.candidate.id in rows
        ]
    return page


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
