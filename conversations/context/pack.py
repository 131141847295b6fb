"""Fill a context's budget with candidates, and reserve part of it for summaries of days that no message covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.conf import settings

from conversations.context import rules, tokens
from conversations.context.rules import Candidate, Day, Rejected
from conversations.context.types import ContextRequest

# A summary is included only if its score is at least this fraction of the best message's score. If a message matches
# the query much better than the summary does, the message is preferred.
_SUMMARY_WORTH = 0.4
Days = Mapping[UUID, frozenset[Day]]  # days that each candidate covers, by candidate id


@dataclass(frozen=True)
class Packed:
    chosen: Sequence[Candidate]  # in the requested order
    rejected: Sequence[Rejected]  # best first


def pack(candidates: Sequence[Candidate], days: Days, request: ContextRequest) -> Packed:
    chosen, left = _fill(candidates, days, request)
    rejected = [Rejected(candidate, rules.BUDGET) for candidate in rules.best_first(left)]
    return Packed(rules.in_order(chosen, request.order), rejected)


def _fill(
    candidates: Sequence[Candidate], days: Days, request: ContextRequest
) -> tuple[list[Candidate], list[Candidate]]:
    """Fill the budget. Return (candidates that fit, candidates that do not)."""
    target, cut = request.target, _cut if request.truncate else None
    summaries = _worthwhile_summaries(candidates)
    if not summaries:
        return rules.pack(candidates, target, cut)
    chosen, left = rules.pack(candidates, target - int(target * settings.CONTEXT_SUMMARIES))
    covered = [day for candidate in chosen for day in days[candidate.id]]
    chosen += rules.covering(_without(summaries, chosen), days, covered, _room(target, chosen))
    more, left = rules.pack(_without(left, chosen), _room(target, chosen), cut)
    return chosen + more, left


def _worthwhile_summaries(candidates: Sequence[Candidate]) -> list[Candidate]:
    best = max((candidate.score for candidate in candidates if candidate.source != "summary"), default=0.0)
    return [
        candidate
        for candidate in candidates
        if candidate.source == "summary" and candidate.score >= _SUMMARY_WORTH * best
    ]


def _without(candidates: Sequence[Candidate], chosen: Sequence[Candidate]) -> list[Candidate]:
    ids = {candidate.id for candidate in chosen}
    return [candidate for candidate in candidates if candidate.id not in ids]


def _room(target: int, chosen: Sequence[Candidate]) -> int:
    return target - sum(candidate.tokens for candidate in chosen)


def _cut(candidate: Candidate, max_tokens: int) -> Candidate:
    beginning = tokens.cut(candidate.content, max_tokens)
    return replace(candidate, content=beginning, tokens=tokens.count([beginning])[0], truncated=True)
