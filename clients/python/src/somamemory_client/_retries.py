"""Retry policy: the errors to retry, and the delays between attempts (pure)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ._messages import Request, Response
from .errors import ApiError, ConnectionFailed, InvalidResponse, SomaError, TransportError

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
# Codes of errors that the server returns before it processes the request. Other errors may follow a paid model call.
WITHOUT_EFFECT = frozenset({"rate_limited", "request_timeout"})
STILL_RUNNING = "still_running"
# Another attempt would get the same response.
PERMANENT = frozenset(
    {
        "deadline_exceeded",
        "embedder_refused",
        "llm_refused",
        "cold_file_damaged",
        "quota_exceeded",
        "llm_budget_exceeded",
    }
)


@dataclass(frozen=True, slots=True)
class Retries:
    """Wait about `first_s` before the first retry, and twice as long before each subsequent retry.

    limit: the maximum number of retries.
    longest_s: the longest delay. If the server requests a longer one, the server's error is raised immediately.
    """

    limit: int = 3
    first_s: float = 0.25
    longest_s: float = 60.0

    def pause_s(self, request: Request, error: SomaError, attempts: int, left_s: float = 0.0) -> float | None:
        """Return how long to wait before the next attempt, or None if the error is final.

        left_s: how much longer to wait while an earlier attempt is still running, regardless of the limit.
        """
        running = isinstance(error, ApiError) and error.code == STILL_RUNNING and self.limit > 0 and left_s > 0
        if (attempts > self.limit and not running) or not _is_transient(request, error):
            return None
        # Randomise the upper half of the delay, so that clients that failed together do not retry together.
        pause = min(self.first_s * 2.0 ** (attempts - 1), self.longest_s) * random.uniform(0.5, 1)
        requested = error.retry_after_s if isinstance(error, ApiError) else None
        if requested is None:
            return pause
        return None if requested > self.longest_s else requested + pause


def _is_transient(request: Request, error: SomaError) -> bool:
    if isinstance(error, ConnectionFailed):
        return True
    if isinstance(error, TransportError):
        return request.repeatable
    if isinstance(error, ApiError):
        return may_pass(error) and (request.repeatable or error.code in WITHOUT_EFFECT)
    return isinstance(error, GatewayError) and request.repeatable


def may_pass(error: ApiError) -> bool:
    """Return whether another attempt could get another response."""
    if error.code in PERMANENT:
        return False
    return error.status in TRANSIENT or error.code == STILL_RUNNING


class GatewayError(InvalidResponse):
    """A proxy in front of the server responded with a status such as 502."""


def error_of(response: Response) -> SomaError:
    """Return the error for a response with status 400 or more."""
    try:
        return response.error()
    except InvalidResponse as error:
        return GatewayError(str(error)) if response.status in TRANSIENT else error
