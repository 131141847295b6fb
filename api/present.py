"""How things look on the way out."""

from __future__ import annotations

from typing import Any

from memories import coordinates, density_map
from memories.coordinates import Coordinate
from somamemory.times import rfc3339_or_none
from tenants.services import policies_of, quotas_of

_NO_ID = "00000000-0000-0000-0000-000000000000"


def memory(found: Any) -> dict[str, Any]:
    numbers = list(found.coordinate.numbers)
    shown = {
        "id": str(found.id),
        "coord": ",".join(map(repr, numbers)),
        "coordinate": numbers,
        "namespace": found.namespace,
        "payload": found.payload,
        "memory_type": found.memory_type,
        "metadata": found.metadata,
        "importance": found.importance,
        "context": found.context,
        "version": found.version,
        "index_state": found.index_state,
        "created_at": rfc3339_or_none(found.created_at),
        "updated_at": rfc3339_or_none(found.updated_at),
        "expires_at": rfc3339_or_none(found.expires_at),
        "access_count": found.access_count,  # as of the last write-back
        "last_accessed_at": rfc3339_or_none(found.last_accessed_at),
    }
    if found.deleted_at is not None:
        shown["deleted_at"] = rfc3339_or_none(found.deleted_at)
    if (distance := getattr(found, "distance", None)) is not None:
        shown["distance"] = distance
    return shown


def stored(result: Any) -> dict[str, Any]:
    found = result.memory
    numbers = list(found.coordinate.numbers)
    return {
        "ok": True,
        "id": str(found.id),
        "coord": ",".join(map(repr, numbers)),
        "coordinate": numbers,
        "namespace": found.namespace,
        "memory_type": found.memory_type,
        "version": found.version,
        "created": result.created,
        "index_state": "pending",
    }


def hit(found: Any) -> dict[str, Any]:
    row = found.memory
    numbers = list(row.coordinate.numbers)
    shown = {
        "id": str(row.id),
        "coord": ",".join(map(repr, numbers)),
        "coordinate": numbers,
        "namespace": row.namespace,
        "payload": row.payload,
        "memory_type": row.memory_type,
        "metadata": row.metadata,
        "importance": row.importance,
        "created_at": rfc3339_or_none(row.created_at),
        "version": row.version,
        "score": found.score,
    }
    if found.scores is not None:
        shown["scores"] = found.scores
    return shown


def linked(result: Any) -> dict[str, Any]:
    link = result.link
    return {
        "ok": True,
        "from_coord": link.start.text,
        "to_coord": link.end.text,
        "link_type": link.link_type,
        "strength": link.strength,
        "namespace": link.namespace,
        "valid_from": rfc3339_or_none(link.valid_from),
        "valid_to": rfc3339_or_none(link.valid_to),
        "created": result.created,
    }


def bulk_linked(at: int, result: Any) -> dict[str, Any]:
    link = result.link
    return {
        "index": at,
        "status": 201 if result.created else 200,
        "from_coord": link.start.text,
        "to_coord": link.end.text,
        "link_type": link.link_type,
    }


def neighbourhood(start: Coordinate, found: Any) -> dict[str, Any]:
    shown = [neighbour(each) for each in found.neighbours]
    if found.memories is not None:
        for each, row in zip(shown, found.memories, strict=True):
            each["memory"] = row and memory(row)
    return {"coord": start.text, "neighbors": shown, "truncated": found.truncated}


def neighbour(found: Any) -> dict[str, Any]:
    last = found.path[-1]
    numbers = list(coordinates.decode(found.key))
    return {
        "coord": ",".join(map(repr, numbers)),
        "coordinate": numbers,
        "link_type": last.link_type,
        "strength": last.strength,
        "hops": len(found.path),
        "direction": "in" if last.backwards else "out",
        "path": [text(found.path[0].before), *(text(step.after) for step in found.path)],
    }


def path(start: Coordinate, goal: Coordinate, found: Any) -> dict[str, Any]:
    steps = found.steps
    there = steps is not None
    return {
        "from_coord": start.text,
        "to_coord": goal.text,
        "found": there,
        "path": [start.text, *(text(step.after) for step in steps)] if there else [],
        "link_types": [step.link_type for step in steps or ()],
        "length": len(steps) if there else None,
        "cost": round(found.cost, 9) if there else None,
        "truncated": found.truncated,
    }


def text(key: str) -> str:
    return coordinates.from_key(key).text


def conversation(row: Any) -> dict[str, Any]:
    """One without a label or a folder has empty ones: Sekha's clients take them for text."""
    return {
        "id": str(row.id),
        "conversation_id": str(row.id),
        "number": row.number,
        "label": row.label,
        "labelled_by": row.labelled_by,
        "folder": row.folder,
        "status": row.status,
        "tier": row.tier,
        "importance_score": row.importance,
        "message_count": row.message_count,
        "word_count": row.word_count,
        "metadata": row.metadata,
        "created_at": rfc3339_or_none(row.created_at),
        "updated_at": rfc3339_or_none(row.updated_at),
    }


def listed_conversation(row: Any) -> dict[str, Any]:
    """Sekha's lists consist of search results, which name no message."""
    of_a_result = {
        "message_id": _NO_ID,
        "score": 1.0,
        "content": row.label,
        "timestamp": rfc3339_or_none(row.updated_at),
    }
    return {**conversation(row), **of_a_result}


def message(row: Any, conversation: Any) -> dict[str, Any]:
    numbers = row.coordinate.numbers
    return {
        "id": str(row.id),
        "conversation_id": str(conversation.id),
        "role": row.payload.get("role", "system"),  # a summary has none
        "content": row.payload.get("content", ""),
        "coord": ",".join(map(repr, numbers)),
        "turn": int(numbers[1]),
        "timestamp": rfc3339_or_none(row.created_at),
        "metadata": row.metadata,
        "importance": row.importance,
    }


def message_hit(hit: Any) -> dict[str, Any]:
    shown = message(hit.message, hit.conversation)
    kept = {name: shown[name] for name in ("conversation_id", "role", "content", "coord", "metadata", "timestamp")}
    return {
        "message_id": shown["id"],
        **kept,
        "score": hit.score,
        "similarity": hit.similarity,
        "label": hit.conversation.label,
        "folder": hit.conversation.folder,
    }


def full_text_hit(hit: Any) -> dict[str, Any]:
    shown = message(hit.message, hit.conversation)
    return {**shown, "rank": hit.score, "label": hit.conversation.label, "folder": hit.conversation.folder}


def context_message(item: Any) -> dict[str, Any]:
    of = item.conversation
    shown = message(item.message, of)
    citation = {"label": of.label, "folder": of.folder, "timestamp": shown["timestamp"]}
    return {
        **shown,
        "content": item.candidate.content,  # it may be cut
        "metadata": {**shown["metadata"], "citation": citation},
        "label": of.label,
        "folder": of.folder,
    }


def manifest(assembled: Any) -> dict[str, Any]:
    return {
        "items": [_context_item(item) for item in assembled.items],
        "used_tokens": assembled.used_tokens,
        "budget": assembled.budget,
        "target": assembled.target,
        "left_out": [_left_out(item, rejected) for item, rejected in assembled.left_out],
        "context_hash": assembled.hash,
        "as_of": rfc3339_or_none(assembled.as_of),
        "degraded": assembled.degraded,
    }


def _context_item(item: Any) -> dict[str, Any]:
    found = item.candidate
    scores = {
        "total": round(found.score, 6),
        "relevance": round(found.parts.relevance, 6),
        "importance": round(found.parts.importance, 6),
        "recency": round(found.parts.recency, 6),
        "label": found.parts.label,
    }
    more = {"scores": scores, "tokens": found.tokens, "source": found.source, "truncated": found.truncated}
    return {**context_message(item), **more}


def _left_out(item: Any, rejected: Any) -> dict[str, Any]:
    return {
        "id": str(item.message.id),
        "conversation_id": str(item.conversation.id),
        "coord": item.message.coordinate.text,
        "reason": rejected.reason,
        "score": round(rejected.candidate.score, 6),
        "tokens": rejected.candidate.tokens,
        "duplicate_of": None if rejected.duplicate_of is None else str(rejected.duplicate_of),
    }


def grid(namespace: str, found: Any) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "axes": list(found.axes),
        "low": list(found.low),
        "high": list(found.high),
        "resolution": found.resolution,
        "total": found.total,
        "elsewhere": found.elsewhere,
        "cells": [{"column": each.column, "row": each.row, **_sums(each)} for each in found.cells],
        "memories": None if found.memories is None else [_single(row) for row in found.memories],
    }


def places(namespace: str, depth: int, found: Any) -> dict[str, Any]:
    cells = [{"coord": each.place.text, "coordinate": list(each.place.numbers), **_sums(each)} for each in found.cells]
    return {"namespace": namespace, "depth": depth, "cells": cells, "next_cursor": found.next_cursor}


def _sums(cell: Any) -> dict[str, Any]:
    return {"count": cell.count, "importance": cell.importance, "max_importance": cell.max_importance}


def _single(row: Any) -> dict[str, Any]:
    numbers = list(row.coordinate.numbers)
    return {
        "id": str(row.id),
        "coord": ",".join(map(repr, numbers)),
        "coordinate": numbers,
        "memory_type": row.memory_type,
        "importance": row.importance,
        "text": density_map.excerpt(row),
    }


def tenant(row: Any) -> dict[str, Any]:
    return {
        "slug": row.slug,
        "name": row.name,
        "active": row.active,
        "tier": row.tier,
        "quotas": quotas_of(row),
        "policies": policies_of(row),
        "created_at": rfc3339_or_none(row.created_at),
    }


def usage(slug: str, found: dict[str, tuple[int, int | None]]) -> dict[str, Any]:
    return {"slug": slug, **{name: {"used": used, "quota": quota} for name, (used, quota) in found.items()}}


def audit_event(row: Any, sealed_to: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": rfc3339_or_none(row.at),
        "actor": row.actor,
        "action": row.action,
        "namespace": row.namespace,
        "target": row.target,
        "request_id": row.request_id,
        "address": row.address,
        "before_hash": row.before_hash and bytes(row.before_hash).hex(),
        "after_hash": row.after_hash and bytes(row.after_hash).hex(),
        "sealed": row.id <= sealed_to,
    }


def receipt(made: Any) -> dict[str, Any]:
    return {
        "slug": made.tenant,
        "id": str(made.id),
        "erased_at": rfc3339_or_none(made.erased_at),
        "rows": made.rows,
        "elsewhere": made.elsewhere,
        "total": made.total,
        "complete": made.complete,
        "missing": made.missing,
    }


def key(row: Any) -> dict[str, Any]:
    return {
        "prefix": row.prefix,
        "name": row.name,
        "scopes": row.scopes,
        "namespaces": row.namespaces,
        "created_at": rfc3339_or_none(row.created_at),
        "expires_at": rfc3339_or_none(row.expires_at),
        "revoked_at": rfc3339_or_none(row.revoked_at),
    }


def job(row: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "kind": row.kind,
        "state": row.state,
        "done": row.done,
        "total": row.total,
        "error": row.error or None,
        "started_at": rfc3339_or_none(row.started_at),
        "finished_at": rfc3339_or_none(row.finished_at),
        "phase": row.data.get("phase"),
        "comparison": row.data.get("comparison"),
    }


def summary(found: Any) -> dict[str, Any]:
    return {
        "conversation_id": str(found.conversation.id),
        "level": found.period.level,
        "period": found.period.name,
        "coord": found.coordinate.text,
        "summary": found.text,
        "model": found.model,
        "tokens_used": found.tokens_used,
        "generated_at": found.generated_at,
        "covers": found.covers,
    }


def suggestions(found: Any) -> dict[str, Any]:
    told = ("label", "confidence", "is_existing", "reason")
    return {
        "conversation_id": str(found.conversation.id),
        "suggestions": [{name: getattr(each, name) for name in told} for each in found.suggestions],
        "model": found.model,
    }


def rated(found: Any) -> dict[str, Any]:
    return {"score": found.score, "reasoning": found.reasoning, "model": found.model}


def extraction(found: Any) -> dict[str, Any]:
    """How far the facts of a conversation have come."""
    of, chore = found.conversation, found.chore
    return {
        "conversation_id": str(of.id),
        "state": found.state,
        "read_to_turn": chore.turn if chore else 0,
        "last_turn": of.last_turn,
        "facts": chore.found if chore else 0,
        "left_out": chore.left_out if chore else 0,
        "cut": chore.cut if chore else 0,
        "error": (chore.error or None) if chore else None,
        "due_at": rfc3339_or_none(chore.due_at) if chore else None,
    }


def fact(row: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "coord": row.coordinate.text,
        "fact": row.payload["text"],
        "turn": row.payload["turn"],
        "entities": row.payload["entities"],
        "model": row.payload["model"],
        "timestamp": rfc3339_or_none(row.created_at),
    }


def prune_suggestion(found: Any) -> dict[str, Any]:
    of = found.conversation
    return {
        "conversation_id": str(of.id),
        "conversation_label": of.label,
        "last_accessed": rfc3339_or_none(found.last_accessed),
        "message_count": of.message_count,
        "token_estimate": found.token_estimate,
        "importance_score": of.importance,
        "preview": found.preview,
        "recommendation": found.verdict.recommendation,
        "score": found.verdict.score,
        "reasons": list(found.verdict.reasons),
    }


def upkeep(rules: Any, row: Any) -> dict[str, Any]:
    return {
        "active_days": rules.active_days,
        "archived_days": rules.archived_days,
        "own": [name for name in ("active_days", "archived_days") if getattr(row, name) is not None],
        "pruning": {
            "mode": row.pruning,
            "threshold_days": row.pruning_days,
            "importance_threshold": row.pruning_importance,
        },
        "ran_at": rfc3339_or_none(row.ran_at),
        "report": row.report,
    }


def import_report(report: Any, dry_run: bool) -> dict[str, Any]:
    return {
        "conversations": dict(report.counts),
        "messages": report.messages,
        "left_out": dict(report.left_out),
        "failed": report.failed,
        "errors": [{"place": each.place, "reason": each.reason} for each in report.errors],
        "dry_run": dry_run,
    }
