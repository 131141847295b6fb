"""The query and the results of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from memories.models import Memory
from memories.search.expansion import Expansion
from memories.search.scoring import Stats, Weights
from memories.selectors import Narrowing
from somamemory.errors import InvalidInput

HYBRID, SEMANTIC, KEYWORD = "hybrid", "semantic", "keyword"
GRAPH = "graph"

# Candidates of each leg: 60 and 200 give the same recall@10 on LoCoMo, and 200 cost 4 ms more than 100. The scores do
# not depend on it, so pages within one step are cut from one order.
POOLS = (100, 400, 2_000, 11_000)


@dataclass(frozen=True)
class Search:
    query: str
    namespaces: tuple[str, ...] = ("default",)
    narrowing: Narrowing = field(default_factory=Narrowing)
    mode: str = HYBRID
    top_k: int = 5
    offset: int = 0
    min_score: float = 0.0
    strong: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)  # overrides of scoring.Weights
    explain: bool = False
    expansion: Expansion | None = None
    include_archived: bool = False
    shown: bool = True  # False: the results are candidates, so they do not count as reads
    stats: Stats | None = None  # of an earlier search for the same terms in the same namespaces

    @property
    def pool(self) -> int:
        """The maximum number of candidates of each leg."""
        return next((size for size in POOLS if self.offset + self.top_k <= size // 2), POOLS[-1])

    def effective_weights(self) -> Weights:
        """Return the weights of the mode, with the overrides. Raises InvalidInput."""
        weights = dict(self.weights)
        for part, mode in (("keyword", SEMANTIC), ("semantic", KEYWORD)):
            if self.mode == mode and weights.get(part):
                raise InvalidInput(f"weights.{part}", f"has no effect in the mode {mode}; leave it out")
        if self.mode == SEMANTIC:
            weights = {"semantic": 1.0, **weights, "keyword": 0.0}
        elif self.mode == KEYWORD:
            weights = {"keyword": 1.0, **weights, "semantic": 0.0}
        try:
            return Weights(**weights)
        except ValueError:
            raise InvalidInput(
                "weights", f"at least one weight that counts in the mode {self.mode} must be above 0"
            ) from None


@dataclass(frozen=True)
class SearchHit:
    memory: Memory
    score: float
    scores: dict[str, float | None] | None


@dataclass(frozen=True)
class Results:
    hits: Sequence[SearchHit]
    degraded: list[str]
    took_ms: float
    total: int = 0  # memories ranked, or memories that contain a word of the query, whichever is more
    every_match: bool = True  # False: more memories contain the words than were read
    stats: Stats | None = None
