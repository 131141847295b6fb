"""Present message search results and contexts as JSON."""

from __future__ import annotations

from api.conversations.presenters import RECALLED, message
from api.json import JsonObject
from conversations.context import render
from conversations.context.rules import Candidate, Rejected
from conversations.context.types import Context, ContextItem
from conversations.messages import turn_of
from conversations.models import Conversation
from conversations.search.results import Hit
from memories.reserved_namespaces import CONVERSATIONS
from somamemory.times import rfc3339

_QUERY_FIELDS = ("conversation_id", "role", "content", "coord", "metadata", "timestamp")


def query_hit(hit: Hit) -> JsonObject:
    fields = message(hit.message, hit.conversation)
    return {
        "message_id": fields["id"],
        **{name: fields[name] for name in _QUERY_FIELDS},
        "score": hit.score,
        "relevance": hit.relevance,
        "similarity": hit.similarity,
        **_source(hit.conversation),
    }


def full_text_hit(hit: Hit) -> JsonObject:
    return {**message(hit.message, hit.conversation), "rank": hit.score, **_source(hit.conversation)}


def context_message(item: ContextItem) -> JsonObject:
    memory = item.message
    citation = {**_source(item.conversation), "timestamp": rfc3339(memory.created_at)}
    return {
        **_recalled(item),
        "content": item.candidate.content,  # may be truncated
        "metadata": {**memory.metadata, "citation": citation},
        **_source(item.conversation),
        "namespace": memory.namespace,
        "relevance": item.candidate.relevance,
        "provenance": {"source": memory.source, "trust": memory.trust},
    }


def _recalled(item: ContextItem) -> JsonObject:
    """Return the fields of an item's message or memory. A memory has no turn and no conversation."""
    memory = item.message
    if item.conversation is not None and memory.namespace == CONVERSATIONS:
        return message(memory, item.conversation)
    return {
        "id": str(memory.id),
        "conversation_id": None if item.conversation is None else str(item.conversation.id),
        "role": RECALLED,
        "coord": memory.coordinate.text,
        "turn": None if item.conversation is None else turn_of(memory.coordinate_key),
        "timestamp": rfc3339(memory.created_at),
        "importance": memory.importance,
    }


def manifest(context: Context) -> JsonObject:
    return {
        "items": [_manifest_item(item) for item in context.items],
        "used_tokens": context.used_tokens,
        "budget": context.budget,
        "target": context.target,
        "left_out": [_left_out(item, rejected) for item, rejected in context.rejected],
        "context_hash": context.hash,
        "as_of": rfc3339(context.as_of),
        "degraded": context.degraded,
    }


def prompt_text(context: Context) -> JsonObject:
    rendered = render.prompt(context)
    return {"text": rendered.text, **_about(context, rendered)}


def prompt_messages(context: Context) -> JsonObject:
    rendered = render.messages(context)
    return {"messages": rendered.messages, **_about(context, rendered)}


def _about(context: Context, rendered: render.Prompt | render.Messages) -> JsonObject:
    return {
        "citations": [_citation(number, item) for number, item in enumerate(rendered.items, start=1)],
        "used_tokens": rendered.used_tokens,
        "budget": context.budget,
        "context_hash": context.hash,
        "as_of": rfc3339(context.as_of),
        "degraded": context.degraded,
    }


def _citation(number: int, item: ContextItem) -> JsonObject:
    fields = context_message(item)
    names = ("id", "conversation_id", "coord", "role", "timestamp", "namespace", "relevance", "provenance")
    return {"number": number, **{name: fields[name] for name in names}, **_source(item.conversation)}


def _manifest_item(item: ContextItem) -> JsonObject:
    candidate = item.candidate
    return {
        **context_message(item),
        "scores": _scores(candidate),
        "tokens": candidate.tokens,
        "source": candidate.source,
        "truncated": candidate.truncated,
    }


def _scores(candidate: Candidate) -> JsonObject:
    return {
        "total": round(candidate.score, 6),
        "relevance": round(candidate.parts.relevance, 6),
        "importance": round(candidate.parts.importance, 6),
        "recency": round(candidate.parts.recency, 6),
        "label": candidate.parts.label,
    }


def _left_out(item: ContextItem, rejected: Rejected) -> JsonObject:
    return {
        "id": str(item.message.id),
        "conversation_id": None if item.conversation is None else str(item.conversation.id),
        "coord": item.message.coordinate.text,
        "reason": rejected.reason,
        "score": round(rejected.candidate.score, 6),
        "tokens": rejected.candidate.tokens,
        "duplicate_of": None if rejected.duplicate_of is None else str(rejected.duplicate_of),
    }


def _source(conversation: Conversation | None) -> JsonObject:
    if conversation is None:
        return {"label": "", "folder": ""}
    return {"label": conversation.label, "folder": conversation.folder}
