"""The memory page: a memory's content, validity, provenance, history, links and index state."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice, zip_longest
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

import graph.selectors
from console import memory_edit
from console.memory_edit import Draft
from memories import lookup, payloads, reserved_namespaces
from memories.models import Memory, MemoryColumns, VectorEmbedding
from memories.versions import Version
from somamemory.json_pieces import indented
from tenants.caller import Caller

SHOWN = 200_000  # characters; longer payloads are truncated
MAX_FIELDS = 500
VERSIONS = 20
LINKS = 50
_VALUE = 300  # characters; longer values in the history are truncated


def described(
    request: HttpRequest, caller: Caller, memory: Memory, state: str, draft: Draft | None = None
) -> dict[str, Any]:
    user: Any = request.user
    is_gone, writable = state in ("deleted", "expired"), may_write(request, memory)
    may_delete = user.has_perm("memories.delete_memory") and not reserved_namespaces.is_reserved(memory.namespace)
    text = indented(memory.payload, SHOWN + 1, sort_keys=True)
    row = memory.embeddings.order_by("-id").defer("vector").first()
    return {
        "title": memory.coordinate.text,
        "memory": memory,
        "caller": caller,
        "state": state,
        "coord": memory.coordinate.text,
        "fields": [(name, _shown(value)) for name, value in islice(memory.payload.items(), MAX_FIELDS)],
        "more_fields": max(0, len(memory.payload) - MAX_FIELDS),
        "payload": text[:SHOWN],
        "cut": len(text) > SHOWN,
        "metadata": indented(memory.metadata, SHOWN, sort_keys=True),
        "validity": _validity(memory),
        "source": None if memory.source is None else _shown(memory.source),
        "row": row,
        "index_reason": _index_reason(memory, row, state),
        "versions": _history(caller, memory),
        "links": _links(caller, memory),
        "may_delete": may_delete and not is_gone,
        "may_restore": state == "deleted" and writable,
        "may_restore_version": writable,
        "may_edit": writable and not is_gone and memory_edit.may_edit(memory),
        "edit": draft if writable and not is_gone else None,
        **_addresses(caller, memory),
    }


def may_write(request: HttpRequest, memory: Memory) -> bool:
    """Return whether the user has permission to change and restore the memory."""
    user: Any = request.user
    return user.has_perm("memories.change_memory") and not reserved_namespaces.is_reserved(memory.namespace)


def _addresses(caller: Caller, memory: Memory) -> dict[str, str]:
    place = {"tenant": caller.tenant.slug, "namespace": memory.namespace}
    similar = {**place, "mode": "semantic", "query": payloads.text_of(memory.payload)[:1000]}
    itself = {"tenant": caller.tenant.slug, "id": str(memory.id)}
    return {
        "list_link": reverse("admin:memories_memory_changelist", query=place),
        "explorer_link": reverse("admin:explorer", query={**place, "at": memory.coordinate.text}),
        "similar_link": reverse("admin:playground", query=similar),
        "network": reverse("admin:explorer_memory", query=itself),
        "neighbours": reverse("admin:similar_memories", query=itself),
        "audit_link": reverse("admin:tenants_auditevent_changelist", query={"of": caller.tenant.slug}),
    }


def _validity(memory: Memory) -> str:
    now = timezone.now()
    if memory.valid_to is not None and memory.valid_to <= now:
        return "no longer valid"
    if memory.valid_from is not None and memory.valid_from > now:
        return "not valid yet"
    return "valid"


def _index_reason(memory: Memory, row: VectorEmbedding | None, state: str) -> str:
    """Return a sentence that explains why searches by meaning find the memory, or why they do not."""
    if state in ("deleted", "expired"):
        return f"Searches do not find it, because it is {state}."
    if memory.archived_at is not None:
        return (
            "It is archived, so it is not in the index. Searches that include archived memories find it by its words."
        )
    if memory.index_state == "ready":
        return "Searches find it by meaning and by its words."
    if row is not None and row.attempts:
        return "Searches find it only by its words, because the index could not be updated."
    return "It is waiting to be indexed, usually for less than a second. Until then, searches find it by its words."


def _history(caller: Caller, memory: Memory) -> list[dict[str, Any]]:
    items = lookup.history(caller, memory.namespace, memory.coordinate, VERSIONS).items
    return [version_shown(version, before) for version, before in zip_longest(items, items[1:])][: len(items)]


def version_shown(version: Version, before: Version | None) -> dict[str, Any]:
    row = version.row
    return {
        "number": row.version,
        "action": version.action,
        "at": row.updated_at,
        "by": row.written_by,
        "is_current": version.until is None,
        "restorable": version.until is not None and row.deleted_at is None,
        "changed": version.changed,
        "differences": _differences(version.changed or [], before.row if before else None, row),
    }


def _differences(names: Sequence[str], before: MemoryColumns | None, after: MemoryColumns) -> list[dict[str, str]]:
    return [
        {"name": name, "old": _value(before, name) if before else "…", "new": _value(after, name)} for name in names
    ]


def _value(row: MemoryColumns, name: str) -> str:
    column, _, key = name.partition(".")
    value = getattr(row, column)
    if key:
        value = value.get(key)
    text = _shown(value)
    return text if len(text) <= _VALUE else text[: _VALUE - 1] + "…"


def _links(caller: Caller, memory: Memory) -> list[dict[str, Any]]:
    key = memory.coordinate_key
    rows = graph.selectors.links_in(caller, memory.namespace).filter(Q(from_key=key) | Q(to_key=key))
    found = rows.order_by("from_key", "to_key", "link_type")[:LINKS]
    return [
        {
            "row": row,
            "outgoing": row.from_key == key,
            "other": (row.end if row.from_key == key else row.start).text,
            "page": reverse("admin:graph_link_change", args=[row.pk], query={"tenant": caller.tenant.slug}),
        }
        for row in found
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "—"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
