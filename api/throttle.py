"""Limits over HTTP: admits a request once its caller is known, and tells every caller how much is left.

In the authentication step and not as one of Ninja's throttles: an error raised in those escapes the error handlers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from somamemory.errors import RateLimited, RequestQuotaExceeded
from somamemory.telemetry import metrics
from tenants import usage
from tenants.caller import Caller
from tenants.limits import policy

KINDS = ("read", "write", "search", "llm")


def admit(request: HttpRequest, caller: Caller) -> None:
    """Let the request in, or raise RateLimited. `released` must follow in either case."""
    most = settings.TENANT_CONCURRENCY
    if most:
        if not policy.running.enter(caller.tenant.id, most):
            metrics.rate_limited.labels("concurrency").inc()
            raise RateLimited(f"this tenant has {most} requests running; that is its limit", 1)
        request.running_for = caller.tenant.id  # type: ignore[attr-defined]
    if caller.key_id is None:
        return
    try:
        usage.count_request(caller.tenant)
    except RequestQuotaExceeded:
        metrics.rate_limited.labels("quota").inc()
        raise
    cost = settings.COSTS[getattr(request, "kind", "read")]
    decision = policy.take(caller.tenant.id, caller.key_id, cost)
    request.quotas = decision.quotas  # type: ignore[attr-defined]
    if not decision.allowed:
        metrics.rate_limited.labels(min(decision.quotas, key=lambda quota: quota.remaining).limit.name).inc()
        raise RateLimited(_refusal(cost, decision), decision.retry_after_s)


def note_refused_key(request: HttpRequest) -> None:
    """Count a failed authentication. Raises RateLimited for an address with too many; a good key never comes here."""
    decision = policy.refuse(getattr(request, "client_address", ""))
    if not decision.allowed:
        metrics.rate_limited.labels("address").inc()
        raise RateLimited("too many refused keys from this address", decision.retry_after_s)


def released(request: HttpRequest, answer: Callable[[], HttpResponse]) -> HttpResponse:
    """The answer with its limits in the headers, the request's place given back."""
    try:
        response = answer()
    finally:
        if tenant_id := getattr(request, "running_for", None):
            policy.running.leave(tenant_id)
    if quotas := getattr(request, "quotas", ()):
        _show(response, quotas)
    return response


def _refusal(cost: int, decision: policy.Decision) -> str:
    tightest = min(decision.quotas, key=lambda quota: quota.remaining)
    return (
        f"this request takes {cost} tokens and the {tightest.limit.name} has {tightest.remaining}; "
        f"it gets {tightest.limit.rate:g} a second"
    )


def _show(response: HttpResponse, quotas: tuple[policy.Quota, ...]) -> None:
    """As draft-ietf-httpapi-ratelimit-headers-10 wants it, and as everybody did before (of the tightest limit)."""
    response["RateLimit-Policy"] = ", ".join(
        f'"{quota.limit.name}";q={quota.limit.burst};w={math.ceil(quota.limit.burst / quota.limit.rate)}'
        for quota in quotas
    )
    response["RateLimit"] = ", ".join(
        f'"{quota.limit.name}";r={quota.remaining};t={math.ceil(quota.reset_s)}' for quota in quotas
    )
    tightest = min(quotas, key=lambda quota: quota.remaining)
    response["X-RateLimit-Limit"] = str(tightest.limit.burst)
    response["X-RateLimit-Remaining"] = str(tightest.remaining)
    response["X-RateLimit-Reset"] = str(math.ceil(time.time() + tightest.reset_s))
