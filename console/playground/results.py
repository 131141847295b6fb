"""Search results and contexts, prepared for the playground."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from api.context.routes import context_of
from api.context.schemas import ContextBody
from api.search.routes import search_of
from api.search.schemas import SearchBody
from console.admin.memories import link
from console.playground.parts import Contribution, contributions, marked, matching_terms
from conversations.context import render, rules
from conversations.context.assemble import assemble_context
from conversations.context.candidates import configured_weights
from conversations.context.types import Context, ContextItem
from memories import payloads
from memories.search import as_of
from memories.search.query import Search, SearchHit
from memories.search.relevance import FLOOR
from memories.search.scoring import Weights
from tenants.caller import Caller

MAX_LEFT_OUT = 50
_REASONS = {
    rules.BUDGET: "does not fit: other items are worth more per token",
    rules.DUPLICATE: "has the same content as another item",
    rules.EXCLUDED: "is excluded by the options",
}


def of_search(caller: Caller, body: SearchBody) -> dict[str, Any]:
    search = replace(search_of(body), explain=True, shown=False)
    found = as_of.search(caller, search)
    terms, weights = matching_terms(search.query), _weights(search, found.degraded)
    hits = [_hit(caller, rank, hit, terms, weights) for rank, hit in enumerate(found.hits, start=search.offset + 1)]
    return {
        "hits": hits,
        "took_ms": found.took_ms,
        "degraded": found.degraded,
        "floor": FLOOR,
        "next_offset": found.next_offset,
    }


def of_context(caller: Caller, body: ContextBody) -> dict[str, Any]:
    context = assemble_context(caller, replace(context_of(body, manifest=True), shown=False))
    terms = matching_terms(body.query)
    prompt = render.prompt(context)
    positions = {item.message.id: number for number, item in enumerate(context.items, start=1)}
    rejected = context.rejected[:MAX_LEFT_OUT]
    return {
        "items": [_item(caller, number, item, terms) for number, item in enumerate(context.items, start=1)],
        "left_out": [
            {**_item(caller, None, item, terms), "reason": _REASONS[why.reason],
             "duplicate_of": positions.get(why.duplicate_of) if why.duplicate_of else None}
            for item, why in rejected
        ],
        "more_left_out": len(context.rejected) - len(rejected),
        "text": prompt.text,
        "text_tokens": prompt.used_tokens,
        **_filled(context),
    }  # fmt: skip


def compare(first: dict[str, Any], second: dict[str, Any]) -> None:
    """For each hit or item found with the second settings, add its rank under the first settings, if any."""
    for name in ("hits", "items"):
        ranks = {row["id"]: row["rank"] for row in first.get(name, ())}
        for row in second.get(name, ()):
            before = ranks.get(row["id"])
            row["moved"] = "new" if before is None else "" if before == row["rank"] else f"was {before}"


def _weights(search: Search, degraded: Collection[str]) -> Weights:
    """Return the weights that the search used. If semantic search was not available, its weight is left out."""
    weights = search.effective_weights()
    if "semantic" in degraded:
        weights = replace(weights, semantic=0.0, keyword=weights.keyword or 1.0)
    return replace(weights, graph=getattr(search.expansion, "weight", 0.0))


def _hit(caller: Caller, rank: int, hit: SearchHit, terms: Collection[str], weights: Weights) -> dict[str, Any]:
    memory = hit.memory
    return {
        "id": memory.id,
        "rank": rank,
        "score": hit.score,
        "relevance": hit.relevance,
        "below_floor": hit.relevance < FLOOR,
        "coord": memory.key or memory.coordinate.text,
        "namespace": memory.namespace,
        "link": link(caller.tenant.slug, memory.id),
        "pieces": marked(payloads.text_of(memory.payload), terms),
        "parts": contributions(hit.scores or {}, weights),
        "not_indexed": (hit.scores or {}).get("semantic") is None and weights.semantic > 0,
        "created_at": memory.created_at,
        "type": memory.memory_type,
    }


def _item(caller: Caller, rank: int | None, item: ContextItem, terms: Collection[str]) -> dict[str, Any]:
    candidate = item.candidate
    return {
        "id": item.message.id,
        "rank": rank,
        "score": candidate.score,
        "relevance": candidate.relevance,
        "tokens": candidate.tokens,
        "source": candidate.source,
        "truncated": candidate.truncated,
        "role": render.role(item.message) or "memory",
        "label": item.conversation.label if item.conversation else item.message.namespace,
        "coord": item.message.coordinate.text,
        "link": link(caller.tenant.slug, item.message.id),
        "pieces": marked(candidate.content, terms),
        "parts": _parts(candidate),
        "created_at": item.message.created_at,
    }


def _parts(candidate: rules.Candidate) -> list[Contribution]:
    weights = configured_weights()
    named = {name: getattr(weights, name) for name in ("relevance", "importance", "recency", "label")}
    total = sum(named.values())
    return [
        Contribution(name, weight / total, score, weight * score / total)
        for name, weight in named.items()
        if weight and (score := getattr(candidate.parts, name))
    ]


def _filled(context: Context) -> dict[str, Any]:
    return {
        "used": context.used_tokens,
        "budget": context.budget,
        "target": context.target,
        "percent": min(100, round(100 * context.used_tokens / context.budget)),
        "as_of": context.as_of,
        "degraded": context.degraded,
        "hash": context.hash,
    }
