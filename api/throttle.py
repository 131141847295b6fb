"""Limits over HTTP: admit a request once its caller has been identified, and report how much of each limit remains.

Called during authentication. Ninja's own throttles are not used, because their errors bypass the error handlers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from api.request import Admission, Request
from somamemory.errors import RateLimited, RequestQuotaExceeded
from somamemory.telemetry import metrics
from somamemory.web.request_state import state_of
from tenants import usage
from tenants.caller import Caller
from tenants.limits import policy

# A body costs one more token for every 64 KiB, whatever the route does with it.
BODY_BYTES_PER_TOKEN = 65_536


def admit(admission: Admission, caller: Caller, body_bytes: int = 0) -> None:
    """Admit the request or raise RateLimited. Must run inside `released`, which releases the slot that the request
    occupies.
    """
    _take_place(admission, caller)
    if caller.key_id is None:
        return
    base = settings.COSTS[admission.policy.kind]
    _take(admission, caller, base + body_bytes // BODY_BYTES_PER_TOKEN if base else 0)
    try:
        usage.count_request(caller.tenant)  # last, so that a request over the rate limit does not count
    except RequestQuotaExceeded:
        metrics.rate_limited.labels("quota").inc()
        raise


def charge(request: Request, size: int, per: int) -> None:
    """Take one more token for every `per` units of work, once the size of the request is known. Raises RateLimited.

    If the view runs again, tokens that have already been taken are not taken again.
    """
    admission = request.admission
    if not settings.COSTS[admission.policy.kind]:
        return
    admission.charged += size // per
    if (tokens := admission.charged - admission.paid) > 0:
        _take(admission, request.caller, tokens)
        admission.paid = admission.charged


def _take(admission: Admission, caller: Caller, cost: int) -> None:
    if caller.key_id is None:
        return
    decision = policy.take(caller.tenant.id, caller.key_id, cost)
    admission.quotas = decision.quotas
    if not decision.allowed:
        tightest = _tightest(decision.quotas)
        metrics.rate_limited.labels(tightest.limit.name).inc()
        raise RateLimited(_explain(cost, tightest), decision.retry_after_s)


def note_rejected_key(request: HttpRequest) -> None:
    """Count a failed authentication. Raises RateLimited if the address has had too many.

    Never called for a valid key.
    """
    decision = policy.refuse(state_of(request).client_address)
    if not decision.allowed:
        metrics.rate_limited.labels("address").inc()
        raise RateLimited(
            "too many failed authentication attempts from this address; retry later", decision.retry_after_s
        )


def released(admission: Admission, respond: Callable[[], HttpResponse]) -> HttpResponse:
    """Return the response with its rate limit headers, and release the slot that the request occupies."""
    try:
        response = respond()
    finally:
        if admission.running_tenant:
            policy.running.leave(admission.running_tenant)
    if admission.quotas:
        _set_headers(response, admission.quotas)
    return response


def _take_place(admission: Admission, caller: Caller) -> None:
    limit = settings.TENANT_CONCURRENCY
    if not limit:
        return
    if not policy.running.enter(caller.tenant.id, limit):
        metrics.rate_limited.labels("concurrency").inc()
        raise RateLimited(f"the tenant already has {limit} requests in progress, which is its limit; retry later", 1)
    admission.running_tenant = caller.tenant.id


def _tightest(quotas: tuple[policy.Quota, ...]) -> policy.Quota:
    return min(quotas, key=lambda quota: quota.remaining)


def _explain(cost: int, tightest: policy.Quota) -> str:
    limit = tightest.limit
    return (
        f"the request costs {cost} tokens, but the {limit.name} has {tightest.remaining} left; it "
        f"refills at {limit.rate:g} tokens per second"
    )


def _set_headers(response: HttpResponse, quotas: tuple[policy.Quota, ...]) -> None:
    """Set the headers from draft-ietf-httpapi-ratelimit-headers-10, and the older X-RateLimit ones (tightest limit)."""
    response["RateLimit-Policy"] = _policy_header(tuple(quota.limit for quota in quotas))
    response["RateLimit"] = ", ".join(
        f'"{quota.limit.name}";r={quota.remaining};t={math.ceil(quota.reset_s)}' for quota in quotas
    )
    tightest = _tightest(quotas)
    response["X-RateLimit-Limit"] = str(tightest.limit.burst)
    response["X-RateLimit-Remaining"] = str(tightest.remaining)
    response["X-RateLimit-Reset"] = str(math.ceil(time.time() + tightest.reset_s))


@lru_cache(64)
def _policy_header(limits: tuple[policy.Limit, ...]) -> str:
    return ", ".join(f'"{limit.name}";q={limit.burst};w={math.ceil(limit.burst / limit.rate)}' for limit in limits)
