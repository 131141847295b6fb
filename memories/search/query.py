"""The query and the results of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Q
from django.utils import timezone

from memories import validity
from memories.embeddings.base import Vectors
from memories.models import Memory
from memories.search.expansion import Expansion
from memories.search.relevance import Signals
from memories.search.scoring import Stats, Weights
from memories.search.wording import Wording
from memories.selectors import Narrowing
from somamemory.errors import InvalidInput

if TYPE_CHECKING:
    from memories.search.ranking import Ranked

HYBRID, SEMANTIC, KEYWORD = "hybrid", "semantic", "keyword"
GRAPH = "graph"

# The possible numbers of candidates from each leg. On the development sets, 40, 60 and 100 give the same recall@10. All
# pages for which the same number is used come from the same ranking, because scores do not depend on the number.
POOLS = (40, 200, 800, 3_000, 11_000)


@dataclass(frozen=True)
class Search:
    query: str
    namespaces: tuple[str, ...] = ("default",)
    namespace_prefix: str | None = None  # search the namespaces that this prefix covers, instead of `namespaces`
    narrowing: Narrowing = field(default_factory=Narrowing)
    mode: str = HYBRID
    top_k: int = 5
    offset: int = 0
    min_score: float = 0.0
    min_relevance: float = 0.0
    strong: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)  # override the defaults in scoring.Weights
    explain: bool = False
    expansion: Expansion | None = None
    include_archived: bool = False
    valid_at: datetime | None = None  # the time at which the memories must be valid; None means now
    include_superseded: bool = False  # whether to include memories that are not valid at that time
    as_of: datetime | None = None  # search the memories as they were at this time (see `search.as_of`)
    neighbours: bool = True  # whether a hybrid search uses neighbour evidence; see `search.neighbours`
    shown: bool = True  # False if the results are only candidates, so that they do not count as read
    stats: Stats | None = None  # the statistics of an earlier search for the same terms in the same namespaces
    vector: Vectors | None = field(default=None, repr=False, compare=False)  # used instead of embedding the query

    @property
    def validity(self) -> Q:
        """Return the condition for memories that are valid at `valid_at`; empty if superseded ones are included."""
        return Q() if self.include_superseded else validity.valid_at(self.valid_at or timezone.now())

    def wording(self, terms: Sequence[str]) -> Wording | None:
        """Return the wording of the query, or None if it does not affect scores.

        terms: the terms of the query.
        """
        return Wording.of(self.query, terms) if self.mode == HYBRID else None

    @property
    def pool(self) -> int:
        """Return the maximum number of candidates from each leg."""
        return next((size for size in POOLS if self.offset + self.top_k <= size // 2), POOLS[-1])

    def effective_weights(self) -> Weights:
        """Return the weights for the mode, with the overrides applied. Raises InvalidInput if they are not valid."""
        weights = dict(self.weights)
        for part, mode in (("keyword", SEMANTIC), ("semantic", KEYWORD)):
            if self.mode == mode and weights.get(part):
                raise InvalidInput(f"weights.{part}", f"has no effect in {mode} mode; omit it")
        if self.mode == SEMANTIC:
            weights = {"semantic": 1.0, **weights, "keyword": 0.0}
        elif self.mode == KEYWORD:
            weights = {"keyword": 1.0, **weights, "semantic": 0.0}
        try:
            return Weights(**weights)
        except ValueError:
            raise InvalidInput(
                "weights", f"at least one weight used in {self.mode} mode must be greater than 0"
            ) from None


@dataclass(frozen=True)
class SearchHit:
    memory: Memory
    score: float
    scores: dict[str, float | None] | None
    relevance: float = 0.0  # see the module `relevance`


@dataclass(frozen=True)
class Results:
    hits: Sequence[SearchHit]
    degraded: list[str]
    took_ms: float
    total: int = (
        0  # the number of memories that were ranked by their terms or in the final ranking, whichever is larger
    )
    every_match: bool = True  # False if memories that were not ranked might have ranked high
    stats: Stats | None = None
    signals: Signals = Signals()  # noqa: RUF009 - immutable
    next_offset: int | None = None  # set if the page is incomplete because its memories are too large for one response
    ranked: Sequence[Ranked] = ()  # every hit, including those on other pages
