"""Which conversations could be put away: the rule. Pure.

The longer nobody has read it, the less important it is, the more room it takes, and the more of it is kept elsewhere
(in summaries), the more there is to gain by archiving it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

ARCHIVE_FROM = 0.5
# The age at which half of the weight of age is reached.
_HALF_AGE_DAYS = 90.0
_LARGE_TOKENS = 20_000


@dataclass(frozen=True)
class Facts:
    """`importance` 1 to 10; `covered`: the share of its messages that summaries cover, 0 to 1."""

    idle_days: float
    importance: float
    tokens: int
    covered: float
    pinned: bool = False


@dataclass(frozen=True)
class Verdict:
    """`score` in [0, 1]: what there is to gain."""

    score: float
    recommendation: Literal["keep", "archive"]
    reasons: tuple[str, ...]


def judge(facts: Facts, threshold_days: float, importance_threshold: float) -> Verdict:
    """Never `archive` for what is pinned, read lately, or more important than the threshold."""
    score = (
        0.4 * (1 - 2 ** (-max(facts.idle_days, 0.0) / _HALF_AGE_DAYS))
        + 0.3 * (10 - facts.importance) / 9
        + 0.1 * min(math.log1p(facts.tokens) / math.log1p(_LARGE_TOKENS), 1.0)
        + 0.2 * facts.covered
    )
    against = tuple(
        reason
        for holds, reason in (
            (facts.pinned, "it is pinned"),
            (facts.idle_days < threshold_days, f"it was used within {threshold_days:g} days"),
            (facts.importance > importance_threshold, f"its importance is above {importance_threshold:g}"),
        )
        if holds
    )
    if against or score < ARCHIVE_FROM:
        return Verdict(round(score, 4), "keep", against or ("there is little to gain",))
    reasons = [f"nobody has used it for {facts.idle_days:.0f} days", f"its importance is {facts.importance:g}"]
    if facts.covered >= 0.5:
        reasons.append(f"summaries cover {facts.covered:.0%} of it")
    return Verdict(round(score, 4), "archive", tuple(reasons))
