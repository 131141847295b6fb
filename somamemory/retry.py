"""The retry policy: a limited number of attempts with randomised exponential delays, within a deadline."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception

Result = TypeVar("Result")


def retry_after_s(header: str) -> float:
    """Return the seconds in a Retry-After header, or 0 if it contains no number, so that our own delays apply."""
    return float(header) if header.isascii() and header.isdigit() and len(header) < 6 else 0.0


def _no_minimum(error: BaseException) -> float:
    return 0.0


@dataclass(frozen=True)
class RetryPolicy:
    """A retry policy. The delay doubles after each attempt and is multiplied by a random factor from 0.5 to 1.5.

    The randomness keeps callers that have collided from colliding again.
    """

    attempts: int
    first_pause_s: float
    max_pause_s: float = math.inf

    def run(
        self,
        work: Callable[[], Result],
        retry_on: Callable[[BaseException], bool],
        *,
        deadline: Callable[[], float] | None = None,
        min_pause_s: Callable[[BaseException], float] = _no_minimum,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Result:
        """Return the result of `work`. Raise its last error if no further attempt is possible.

        deadline: returns the time, on the `time.monotonic` clock, after which no attempt begins.
        min_pause_s: returns the minimum delay that the other side has requested, as in a Retry-After header.
        """

        def pause_s(state: RetryCallState) -> float:
            doubled: float = min(self.max_pause_s, self.first_pause_s * 2 ** (state.attempt_number - 1))
            error = state.outcome.exception() if state.outcome else None
            return max(min_pause_s(error) if error else 0.0, doubled * random.uniform(0.5, 1.5))

        def past_deadline(state: RetryCallState) -> bool:
            return deadline is not None and time.monotonic() + state.upcoming_sleep >= deadline()

        def pause(seconds: float) -> None:
            sleep(seconds)

        retrying = Retrying(
            stop=lambda state: state.attempt_number >= self.attempts or past_deadline(state),
            wait=pause_s,
            retry=retry_if_exception(retry_on),
            sleep=pause,
            reraise=True,
        )
        return retrying(work)
