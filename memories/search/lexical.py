"""The keyword leg: the database's full-text index supplies candidates, and this module ranks them by BM25.

The index is used only to find the memories that contain certain terms (`term_index`). The rankings built into the
databases differ from each other. They also depend on other tenants' words, but a tenant's scores must not reveal
what others have stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from memories.search import scoring, term_index
from memories.search.clauses import choose
from memories.search.scoring import Stats
from memories.search.selection import Row, Selection, StoredId
from memories.search.term_index import Clause
from tenants.models import Tenant

# The approximate number of memories to rank for one query: the memories that contain the heaviest combinations of its
# terms are ranked. The actual number can differ, because the number of memories that contain a combination is estimated
# from the term frequencies.
FEW = 400
# The maximum number of memories to rank, if the estimate is too low or even the heaviest combination is frequent. In
# that case, the newest memories are ranked.
MAX_CANDIDATES = 1_000
# The maximum number in keyword mode, where only the terms determine the ranking.
MAX_RANKED = 20_000
# The columns for the fields of `Match`, except the score. Reading the details of a memory takes 0.6 µs.
_COLUMNS = "sfm_memories.seq, sfm_memories.id, sfm_memories.terms"
_DETAILS = ", sfm_memories.coordinate_key, sfm_memories.size, sfm_memories.context <> ''"


class Match(NamedTuple):
    """A memory that matches the query. The last three fields are set only if details were requested.

    seq: the memory's number in the database.
    terms: the memory's `terms` column.
    key: the key of its coordinate.
    size: the memory's size in bytes.
    """

    seq: int
    id: StoredId
    terms: str
    bm25: float
    key: str = ""
    size: int = 0
    has_context: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """The best of the ranked memories, best first.

    count: the number of memories that were ranked.
    pruned: whether there may be memories that were not ranked because they contain none of the chosen combinations.
    cut: whether there are memories that were not ranked although they contain one of the chosen combinations.
    """

    ranked: Sequence[Match]
    count: int = 0
    pruned: bool = False
    cut: bool = False

    @property
    def complete(self) -> bool:
        return not (self.pruned or self.cut)


def matches(
    selection: Selection,
    namespaces: Sequence[str],
    stats: Stats,
    tenant: Tenant,
    few: int = FEW,
    most: int = MAX_CANDIDATES,
    clauses: Sequence[Clause] | None = None,
    best: int | None = None,
    details: bool = False,
) -> Matches:
    """Rank the memories in the `selection` that contain query terms, which are the keys of `stats.frequency`.

    few: about how many memories to rank.
    most: the maximum number of memories to rank.
    clauses: rank memories that contain all terms of at least one clause; by default, the heaviest combinations.
    best: the maximum number of matches to return.
    details: whether to read the matches' keys and sizes, and whether they have a context.
    """
    weights = scoring.term_weights(list(stats.frequency), stats)
    chosen, all_matches = (clauses, True) if clauses is not None else choose(stats, weights, few)
    if not chosen:
        return Matches([])
    source, parameters = term_index.matching(selection.connection, tenant, namespaces, chosen, selection.fields)
    columns = _COLUMNS + _DETAILS if details else _COLUMNS
    newest = f"ORDER BY {term_index.newest_first(selection.connection)} LIMIT {most + 1}"
    rows = selection.rows(columns, source, parameters, newest)
    is_cut = len(rows) > most
    rows = rows[:most]
    scores = scoring.bm25_all([row[2] for row in rows], weights, stats.average_length)
    order = np.lexsort(([row[0] for row in rows], np.negative(scores)))[:best].tolist()
    ranked = [_match(rows[at], scores[at]) for at in order]
    return Matches(ranked, len(scores), pruned=not all_matches, cut=is_cut)


def _match(row: Row, bm25: float) -> Match:
    seq, id, terms, *details = row
    return Match(seq, id, terms, bm25, *details)
