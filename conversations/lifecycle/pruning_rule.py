"""The pruning rule: decides which conversations are worth archiving. Pure functions.

The score increases with the time since a conversation was last used, with its size, and with the proportion of its
messages that summaries cover. It decreases with importance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

ARCHIVE_FROM = 0.5
# The idle time at which idleness contributes half of its maximum to the score.
_HALF_AGE_DAYS = 90.0
_LARGE_TOKENS = 20_000


@dataclass(frozen=True)
class Facts:
    """The properties of a conversation that the rule uses.

    `importance` is from 1 to 10; `covered` is the fraction of messages that summaries cover, from 0 to 1.
    """

    idle_days: float
    importance: float
    tokens: int
    covered: float
    pinned: bool = False


@dataclass(frozen=True)
class Verdict:
    """The rule's decision. `score` is the benefit of archiving, in [0, 1]."""

    score: float
    recommendation: Literal["keep", "archive"]
    reasons: tuple[str, ...]


def judge(facts: Facts, threshold_days: float, importance_threshold: float) -> Verdict:
    """Decide whether to archive a conversation.

    Conversations that are pinned, recently used or too important are never recommended.
    """
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
            (facts.idle_days < threshold_days, f"it was used in the last {threshold_days:g} days"),
            (facts.importance > importance_threshold, f"its importance is above {importance_threshold:g}"),
        )
        if holds
    )
    if against or score < ARCHIVE_FROM:
        return Verdict(round(score, 4), "keep", against or ("archiving it would save little",))
    reasons = [f"it has not been used for {facts.idle_days:.0f} days", f"its importance is {facts.importance:g}"]
    if facts.covered >= 0.5:
        reasons.append(f"summaries cover {facts.covered:.0%} of it")
    return Verdict(round(score, 4), "archive", tuple(reasons))
