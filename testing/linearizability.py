"""Check recorded histories for linearizability.

A history is linearizable if its operations can be put in an order with two properties: if one operation ended before
another began, it comes first; and a sequential model that executes the operations in this order returns every recorded
response. This module uses the search of Wing and Gong (1993), and remembers the visited configurations, as proposed by
Lowe (2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")
State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True)
class Operation(Generic[Request, Answer]):
    """A client's request and its response, with the times at which the client sent and received them, in seconds.

    ended: infinite if there was no response. The request may then have taken effect at any time after `began`, or
      never.
    """

    request: Request
    answer: Answer | None
    began: float
    ended: float = math.inf

    @property
    def is_answered(self) -> bool:
        return self.ended != math.inf


def linearization(
    history: Sequence[Operation[Request, Answer]],
    initial: State,
    apply: Callable[[State, Request], tuple[State, Answer]],
) -> list[Operation[Request, Answer]] | None:
    """Return the operations in an order that explains the recorded responses, or None if there is no such order.

    initial: the state before the first operation.
    apply: the sequential model, which returns the new state and the response to a request.
    """
    operations = sorted(history, key=lambda operation: operation.began)
    needed = sum(1 << at for at, operation in enumerate(operations) if operation.is_answered)
    seen: set[tuple[int, State]] = set()
    order: list[int] = []
    levels = [
        (_possible(operations, 0), 0, initial)
    ]  # for each level of the search: the possible next operations, the operations so far (as bits), and the state
    while levels:
        choices, done, state = levels[-1]
        if done & needed == needed:
            return [operations[at] for at in order]
        if not choices:
            levels.pop()
            if order:
                order.pop()
            continue
        at = choices.pop()
        operation = operations[at]
        after, answer = apply(state, operation.request)
        configuration = (done | 1 << at, after)
        if configuration in seen or (operation.is_answered and answer != operation.answer):
            continue
        seen.add(configuration)
        order.append(at)
        levels.append((_possible(operations, configuration[0]), *configuration))
    return None


def _possible(operations: Sequence[Operation[Request, Answer]], done: int) -> list[int]:
    """Return the remaining operations that may come next. The one that ended first is the last in the list."""
    first_end = math.inf
    possible = []
    for at in range((~done & (done + 1)).bit_length() - 1, len(operations)):  # starts at the first one not done
        operation = operations[at]
        if operation.began > first_end:
            break
        if not done >> at & 1:
            possible.append(at)
            first_end = min(first_end, operation.ended)
    return sorted(possible, key=lambda at: -operations[at].ended)
