"""What language models have cost each tenant: one row a call, and a budget for each month.

A call's most possible tokens are written down before it is made, and what it really took afterwards. So calls at the
same time cannot together exceed the budget, and one whose process died has cost as much as it could have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from conversations.models import LlmCall
from somamemory.errors import LlmBudgetExceeded
from tenants.caller import Caller
from tenants.models import Tenant

_SUMS = ("prompt_tokens", "completion_tokens", "micro_usd")


@dataclass(frozen=True)
class Reserved:
    call: LlmCall

    def settle(self, prompt_tokens: int, completion_tokens: int) -> None:
        """What the call really took."""
        self.call.prompt_tokens, self.call.completion_tokens = prompt_tokens, completion_tokens
        self.call.micro_usd = micro_usd(prompt_tokens, completion_tokens)
        self.call.save(update_fields=_SUMS)


def reserve(caller: Caller, purpose: str, model: str, prompt_tokens: int, max_tokens: int) -> Reserved:
    """Set aside what a call may take at most. Raises LlmBudgetExceeded when the month has not so much left."""
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
    limit = settings.LLM_MONTHLY_TOKENS
    # Its own row is in it. Of two calls that need the rest of the budget, both or one is refused, never none.
    if limit and (spent := tokens(used(caller.tenant, now))) > limit:
        call.delete()
        asked = prompt_tokens + max_tokens
        raise LlmBudgetExceeded(
            f"this tenant has {max(0, limit - spent + asked)} of {limit} tokens left for language models this month; "
            f"this call may need {asked}",
            retry_after_s=(_next_month(now) - now).total_seconds(),
        )
    return Reserved(call)


def used(tenant: Tenant, now: datetime) -> Mapping[str, int]:
    """Prompt tokens, completion tokens and millionths of a dollar in the month (UTC) of `now`."""
    sums = (
        LlmCall.objects.for_tenant(tenant).filter(month=month_of(now)).aggregate(**{name: Sum(name) for name in _SUMS})
    )
    return {name: int(value or 0) for name, value in sums.items()}


def told(tenant: Tenant) -> dict[str, int | float | None]:
    """What a tenant has used this month, for people. `limit` is in tokens; None is none."""
    now = timezone.now()
    sums = used(tenant, now)
    return {
        "month": month_of(now),
        "prompt_tokens": sums["prompt_tokens"],
        "completion_tokens": sums["completion_tokens"],
        "cost_usd": sums["micro_usd"] / 1_000_000,
        "limit": settings.LLM_MONTHLY_TOKENS or None,
    }


def tokens(sums: Mapping[str, int]) -> int:
    return sums["prompt_tokens"] + sums["completion_tokens"]


def micro_usd(prompt_tokens: int, completion_tokens: int) -> int:
    """The settings' prices are dollars for a million tokens, so a token costs as many millionths."""
    return round(prompt_tokens * settings.LLM_PRICE_INPUT + completion_tokens * settings.LLM_PRICE_OUTPUT)


def month_of(moment: datetime) -> int:
    """202611: November 2026."""
    return moment.year * 100 + moment.month


def _next_month(now: datetime) -> datetime:
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=now.year + now.month // 12, month=now.month % 12 + 1)
