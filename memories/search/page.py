"""Select a page from the ranked candidates, and only then read the payloads."""

from __future__ import annotations

from collections.abc import Sequence

from memories import large_rows
from memories.models import Memory
from memories.search.query import GRAPH, Search, SearchHit
from memories.search.ranking import Ranked, Ranking
from memories.search.relevance import Signals
from memories.search.selection import Selection, as_uuid
from somamemory.response_size import fitting


def page_of(
    selection: Selection, ranking: Ranking, ranked: Sequence[Ranked], search: Search, signals: Signals
) -> tuple[list[SearchHit], int | None]:
    """Return the page and, if its memories are too large for one response, the offset at which to continue.

    Memories that were removed after they had been confirmed are skipped.
    """
    page: list[SearchHit] = []
    at = search.offset
    while len(page) < search.top_k and at < len(ranked):
        part = ranked[at : at + search.top_k - len(page)]
        rows = _read(selection, part)
        at += len(rows)
        page += [
            SearchHit(
                row,
                round(hit.score, 6),
                explained(hit, ranking, search),
                signals.relevance(hit.score, ranked[0].score),
            )
            for hit, row in zip(part, rows, strict=False)  # the other hits do not fit in the response
            if row is not None
        ]
        if len(rows) < len(part):
            return page, at
    return page, None


def _read(selection: Selection, part: Sequence[Ranked]) -> list[Memory | None]:
    """Return the memory (or None) for each hit. The list ends early if the memories are too large for one response."""
    rows = selection.whole([hit.candidate.id for hit in part])
    ids = [as_uuid(hit.candidate.id) for hit in part]
    if rows is None:
        return large_rows.in_order(selection.memories, "id", ids)
    by_id = {row.id: row for row in rows}
    count = fitting(by_id[id].size if id in by_id else 0 for id in ids)
    return [by_id.get(id) for id in ids[:count]]


def explained(hit: Ranked, ranking: Ranking, search: Search) -> dict[str, float | None] | None:
    if not search.explain:
        return None
    scores = ranking.scores(hit.candidate)
    parts: dict[str, float | None] = {name: round(score, 6) for name, score in scores.items()}
    if hit.candidate.similarity is None:
        parts["semantic"] = None
    if search.expansion is None:
        del parts[GRAPH]
    return parts
