"""What language models have cost each tenant: one row a call, and budgets for each day and month.

These rows are what quotas, usage and statistics are told from; nothing else counts.

A call's most possible tokens are written down before it is made, and what it really took afterwards. So calls at the
same time cannot together exceed the budget, and one whose process died has cost as much as it could have.
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
class Reserved:
    call: LlmCall

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        """What the call really took. The tenant may have been erased meanwhile, and its calls with it."""
        LlmCall.objects.for_tenant(self.call.tenant).filter(id=self.call.id).update(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            micro_usd=micro_usd(prompt_tokens, completion_tokens),
        )


def reserve(caller: Caller, purpose: str, model: str, prompt_tokens: int, max_tokens: int) -> Reserved:
    """Set aside what a call may take at most. Raises LlmBudgetExceeded when there is not so much left."""
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
        # Its own row is in it. Of two calls that need the rest of a budget, both or one is refused, never none.
        _check(caller.tenant, now, prompt_tokens + max_tokens)
    except LlmBudgetExceeded:
        call.delete()
        raise
    return Reserved(call)


def _check(tenant: Tenant, now: datetime, asked: int) -> None:
    """Raises LlmBudgetExceeded, with the time when there is a new one."""
    limits = usage.llm_limits(tenant)
    if all(limit is None for limit in limits.values()):
        return
    sums = used(tenant, now)
    of_day, of_month = limits["llm_tokens_per_day"], limits["llm_tokens_per_month"]
    cents = limits["llm_cents_per_month"]
    for limit, spent, period, again in (
        (of_day, sums.tokens_today, "today", _tomorrow(now)),
        (of_month, sums.tokens_this_month, "this month", _next_month(now)),
    ):
        if limit is not None and spent > limit:
            left = max(0, limit - spent + asked)
            raise LlmBudgetExceeded(
                f"this tenant has {left} of {limit} tokens left for language models {period}; "
                f"this call may need {asked}",
                retry_after_s=(again - now).total_seconds(),
            )
    if cents is not None and sums.micro_usd_this_month > cents * usage.MICRO_USD_PER_CENT:
        raise LlmBudgetExceeded(
            f"this call could cost more than what this tenant has left of ${cents / 100:.2f} for language models "
            "this month",
            retry_after_s=(_next_month(now) - now).total_seconds(),
        )


def used(tenant: Tenant, now: datetime | None = None) -> LlmUsage:
    """What the tenant's calls have taken on the day and in the month (UTC) of `now`."""
    now = now or timezone.now()
    tokens = F("prompt_tokens") + F("completion_tokens")
    today = Q(at__gte=now.replace(hour=0, minute=0, second=0, microsecond=0))
    rows = LlmCall.objects.for_tenant(tenant).filter(month=month_of(now))
    sums = rows.aggregate(day=Sum(tokens, filter=today), month=Sum(tokens), cost=Sum("micro_usd"))
    return LlmUsage(int(sums["day"] or 0), int(sums["month"] or 0), int(sums["cost"] or 0))


def told(tenant: Tenant) -> dict[str, int | float | None]:
    """What a tenant has used this month, for people. `limit` is in tokens, `limit_usd` in dollars; None is none."""
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
    """The settings' prices are dollars for a million tokens, so a token costs as many millionths."""
    return round(prompt_tokens * settings.LLM_PRICE_INPUT + completion_tokens * settings.LLM_PRICE_OUTPUT)


def month_of(moment: datetime) -> int:
    """202611: November 2026."""
    return moment.year * 100 + moment.month


def _tomorrow(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _next_month(now: datetime) -> datetime:
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=now.year + now.month // 12, month=now.month % 12 + 1)
