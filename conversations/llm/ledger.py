"""Ledger of language model calls: one row per call, and token and cost budgets per day and month.

Quotas, usage and statistics are computed from these rows alone.

The maximum number of tokens is recorded before a call, and the actual number afterwards. Even concurrent calls
therefore cannot exceed the budget. If a process dies during a call, the maximum stays recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, Sum
from django.utils import timezone

from conversations.models import LlmCall
from somamemory.errors import LlmBudgetExceeded
from tenants import usage
from tenants.caller import Caller
from tenants.models import Tenant
from tenants.usage import LlmUsage

_SUMS = ("prompt_tokens", "completion_tokens", "micro_usd")


@dataclass(frozen=True)
class Reservation:
    call: LlmCall

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Record the actual number of tokens.

        Does nothing if the tenant, including its calls, has been erased in the meantime.
        """
        LlmCall.objects.for_tenant(self.call.tenant).filter(id=self.call.id).update(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            micro_usd=micro_usd(prompt_tokens, completion_tokens),
        )


def reserve(caller: Caller, purpose: str, model: str, prompt_tokens: int, max_tokens: int) -> Reservation:
    """Reserve the maximum number of tokens for a call.

    Raises LlmBudgetExceeded if the remaining budget is too small.
    """
    now = timezone.now()
    call = LlmCall.objects.for_tenant(caller.tenant).create(
        tenant=caller.tenant,
        month=month_of(now),
        at=now,
        purpose=purpose,
        model=model[:255],
        prompt_tokens=prompt_tokens,
        completion_tokens=max_tokens,
        micro_usd=micro_usd(prompt_tokens, max_tokens),
    )
    try:
        # The sums include this call's row. If two calls compete for the rest of a budget, at least one is rejected.
        _check(caller.tenant, now, prompt_tokens + max_tokens)
    except LlmBudgetExceeded:
        call.delete()
        raise
    return Reservation(call)


def _check(tenant: Tenant, now: datetime, requested: int) -> None:
    """Raise LlmBudgetExceeded, with the time until the next period, if a limit is exceeded."""
    limits = usage.llm_limits(tenant)
    if all(limit is None for limit in limits.values()):
        return
    sums = used(tenant, now)
    of_day, of_month = limits["llm_tokens_per_day"], limits["llm_tokens_per_month"]
    cents = limits["llm_cents_per_month"]
    for limit, spent, period, next_period in (
        (of_day, sums.tokens_today, "today", _tomorrow(now)),
        (of_month, sums.tokens_this_month, "this month", _next_month(now)),
    ):
        if limit is not None and spent > limit:
            left = max(0, limit - spent + requested)
            raise LlmBudgetExceeded(
                f"this tenant has {left} of {limit} language model tokens left {period}, but this call may need "
                f"{requested}; retry in the next period or raise the limit",
                retry_after_s=(next_period - now).total_seconds(),
            )
    if cents is not None and sums.micro_usd_this_month > cents * usage.MICRO_USD_PER_CENT:
        raise LlmBudgetExceeded(
            f"this call could exceed this tenant's language model budget of ${cents / 100:.2f} for this month; retry "
            "next month or raise the limit",
            retry_after_s=(_next_month(now) - now).total_seconds(),
        )


def used(tenant: Tenant, now: datetime | None = None) -> LlmUsage:
    """Return the tenant's usage for the day and the month (UTC) that contain `now`."""
    now = now or timezone.now()
    tokens = F("prompt_tokens") + F("completion_tokens")
    today = Q(at__gte=now.replace(hour=0, minute=0, second=0, microsecond=0))
    rows = LlmCall.objects.for_tenant(tenant).filter(month=month_of(now))
    sums = rows.aggregate(day=Sum(tokens, filter=today), month=Sum(tokens), cost=Sum("micro_usd"))
    return LlmUsage(int(sums["day"] or 0), int(sums["month"] or 0), int(sums["cost"] or 0))


def report(tenant: Tenant) -> dict[str, int | float | None]:
    """Return this month's usage for the API. `limit` is in tokens and `limit_usd` in dollars; None means no limit."""
    now = timezone.now()
    rows = LlmCall.objects.for_tenant(tenant).filter(month=month_of(now))
    sums = {name: int(value or 0) for name, value in rows.aggregate(**{name: Sum(name) for name in _SUMS}).items()}
    limits = usage.llm_limits(tenant)
    cents = limits["llm_cents_per_month"]
    return {
        "month": month_of(now),
        "prompt_tokens": sums["prompt_tokens"],
        "completion_tokens": sums["completion_tokens"],
        "cost_usd": sums["micro_usd"] / 1_000_000,
        "limit": limits["llm_tokens_per_month"],
        "limit_usd": None if cents is None else cents / 100,
    }


def micro_usd(prompt_tokens: int, completion_tokens: int) -> int:
    """Return the cost in millionths of a dollar. The settings give prices in dollars per million tokens."""
    return round(prompt_tokens * settings.LLM_PRICE_INPUT + completion_tokens * settings.LLM_PRICE_OUTPUT)


def month_of(moment: datetime) -> int:
    """Return the month as a number: 202611 is November 2026."""
    return moment.year * 100 + moment.month


def _tomorrow(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _next_month(now: datetime) -> datetime:
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=now.year + now.month // 12, month=now.month % 12 + 1)
