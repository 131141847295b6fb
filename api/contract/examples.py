"""Example requests for the OpenAPI document. Each request succeeds if the ones before it have been sent.

A name in braces, such as `{conversation}`, is a placeholder for an id from an earlier response. Optional parameters
have no examples, because the interactive page would send them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The values that the document shows for placeholders.
SAMPLES = {
    "memory": "0b6f9d5e-3c1a-4f0e-9d59-5a2f6f1f8a11",
    "conversation": "6a1d0c2b-7f4e-4b8a-8f3d-2f9f0c6d1e22",
    "message": "9c3e5f70-1b2d-4c6a-a7e8-4d0b8a5c3f33",
    "proposal": "5b7c1e3a-9d2f-4a6b-8c0e-1f3d5a7b9c55",
    "job": "3f8a2b91-5d6c-4e7f-b0a1-7c9d2e4f6a44",
    "prefix": "Zk3vQ9xT",
}


@dataclass(frozen=True)
class Example:
    """An example request.

    path, query: parameter values.
    keeps: the placeholders that the response defines, each with the path to its value in the response.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    keeps: Mapping[str, str] = field(default_factory=dict)


_SEAT = {"key": "ada/seat"}
_AT = {"coord": "1,2,3"}
_MEMORY = {"id": "{memory}"}
_CONVERSATION = {"id": "{conversation}"}
_CHAT = {"external_id": "chat-4711"}
_IDS = {"conversation_ids": ["{conversation}"]}
_TENANT = {"slug": "acme"}
_KEY = {**_TENANT, "prefix": "{prefix}"}

EXAMPLES: dict[str, Example] = {
    "memories.store": Example(body={"payload": {"text": "Ada likes her coffee without sugar."}}),
    "memories.store_by_key": Example(
        _SEAT, body={"payload": {"text": "Ada prefers a window seat."}}, keeps={"memory": "id"}
    ),
    "memories.get_by_key": Example(_SEAT),
    "memories.patch_by_key": Example(_SEAT, body={"metadata": {"checked": True}}),
    "memories.store_many": Example(
        body={
            "items": [
                {"coord": "1,2,3", "payload": {"text": "The kettle is in the left cupboard."}},
                {"coord": "1,2,4", "payload": {"text": "The tea is next to the kettle."}},
            ]
        }
    ),
    "memories.get": Example(_AT),
    "memories.patch": Example(_AT, body={"importance": 5}),
    "memories.list": Example(),
    "memories.map": Example(query={"depth": "1"}),
    "memories.get_many": Example(body={"keys": ["ada/seat", "ada/home"]}),
    "memories.search": Example(body={"query": "How does Ada drink coffee?", "top_k": 3}),
    "memories.search_by_query": Example(query={"query": "How does Ada drink coffee?"}),
    "memories.get_by_id": Example(_MEMORY),
    "memories.patch_by_id": Example(_MEMORY, body={"importance": 3}),
    "graph.link": Example(body={"from_coord": "1,2,3", "to_coord": "1,2,4", "link_type": "next_to"}),
    "graph.link_many": Example(body={"links": [{"from_coord": "1,2,4", "to_coord": "1,2,5", "link_type": "next_to"}]}),
    "graph.neighbors": Example(query=_AT),
    "memories.links_by_id": Example(_MEMORY),
    "graph.path": Example(query={"from_coord": "1,2,3", "to_coord": "1,2,5"}),
    "graph.export": Example(),
    "graph.unlink": Example(query={"from_coord": "1,2,4", "to_coord": "1,2,5"}),
    "memories.delete_by_key": Example(_SEAT),
    "memories.restore_by_name": Example(body={"key": "ada/seat"}),
    "memories.delete_by_id": Example(_MEMORY),
    "memories.restore_by_id": Example(_MEMORY),
    "memories.delete": Example(_AT),
    "memories.restore": Example(_AT),
    "memories.history": Example(_AT),
    "memories.history_by_key": Example(query={"key": "ada/seat"}),
    "memories.history_by_id": Example(_MEMORY),
    "memories.delete_many": Example(body={"coords": ["1,2,3", "1,2,4"]}),
    "memories.delete_matching": Example(body={"namespace": "default", "filters": {"checked": True}, "dry_run": True}),
    "namespaces.list": Example(),
    "namespaces.rename": Example(body={"namespace": "default", "to": "archive/2026"}),
    "namespaces.delete": Example(body={"namespace": "archive/2026"}),
    "stats.get": Example(),
    "conversations.create": Example(
        body={"label": "Breakfast", "folder": "/home", "messages": [{"role": "user", "content": "No eggs for Ada."}]},
        keeps={"conversation": "id"},
    ),
    "conversations.append": Example(
        _CONVERSATION,
        body={"messages": [{"role": "assistant", "content": "I will plan a breakfast without eggs."}]},
    ),
    "conversations.create_once": Example(_CHAT, body={"label": "Support", "user_id": "ada"}),
    "conversations.append_by_external_id": Example(
        _CHAT, body={"messages": [{"role": "user", "content": "My kettle leaks."}]}
    ),
    "conversations.get_by_external_id": Example(_CHAT),
    "conversations.list_messages_by_external_id": Example(_CHAT),
    "conversations.list": Example(),
    "conversations.count": Example(query={"label": "Breakfast"}),
    "conversations.get": Example(_CONVERSATION),
    "conversations.list_deleted": Example(),
    "conversations.update": Example(_CONVERSATION, body={"importance_score": 7}),
    "conversations.list_messages": Example(_CONVERSATION, keeps={"message": "items.0.id"}),
    "conversations.set_label": Example(_CONVERSATION, body={"label": "Sunday breakfast"}),
    "conversations.set_folder": Example(_CONVERSATION, body={"folder": "/home/kitchen"}),
    "conversations.set_status": Example(_CONVERSATION, body={"status": "active"}),
    "conversations.pin": Example(_CONVERSATION),
    "conversations.archive": Example(_CONVERSATION),
    "messages.search": Example(body={"query": "breakfast"}),
    "messages.search_smart": Example(body={"query": "breakfast"}),
    "messages.search_full_text": Example(body={"query": "eggs"}),
    "context.assemble": Example(body={"query": "What should I cook for Ada?", "context_budget": 500}),
    "summaries.create": Example(body={"conversation_id": "{conversation}", "level": "daily"}),
    "summaries.create_for_conversation": Example(_CONVERSATION),
    "labels.suggest": Example(body={"conversation_id": "{conversation}"}),
    "labels.suggest_for_conversation": Example(_CONVERSATION),
    "messages.rate": Example({"id": "{message}"}),
    "facts.extract": Example(_CONVERSATION),
    "facts.list": Example(_CONVERSATION),
    "proposals.list": Example(),
    "proposals.accept": Example({"id": "{proposal}"}),
    "proposals.reject": Example({"id": "{proposal}"}),
    "proposals.undo": Example({"id": "{proposal}"}),
    "pruning.preview": Example(body={"threshold_days": 30}),
    "pruning.suggestions": Example(),
    "pruning.execute": Example(body=_IDS),
    "pruning.undo": Example(body=_IDS),
    "upkeep.get": Example(),
    "upkeep.update": Example(body={"active_days": 90}),
    "conversations.import": Example(
        body=[{"label": "Tea", "messages": [{"role": "user", "content": "Green, please."}]}]
    ),
    "conversations.export": Example(),
    "conversations.delete": Example(_CONVERSATION),
    "conversations.restore": Example(_CONVERSATION),
    "tenants.create": Example(body={"slug": "acme", "name": "Acme Ltd"}),
    "tenants.list": Example(),
    "tenants.get": Example(_TENANT),
    "tenants.update": Example(_TENANT, body={"quotas": {"memories": 100000}}),
    "tenants.usage": Example(_TENANT),
    "tenants.list_audit": Example(_TENANT),
    "tenants.export": Example(_TENANT),
    "keys.create": Example(_TENANT, body={"name": "my-agent", "scopes": ["read", "write"]}, keeps={"prefix": "prefix"}),
    "keys.list": Example(_TENANT),
    "keys.rotate": Example(_KEY, body={"overlap_hours": 24}),
    "keys.revoke": Example(_KEY),
    "tenants.erase": Example(_TENANT),
    "embeddings.rebuild": Example(body={"from_stored_vectors": True}, keeps={"job": "job_id"}),
    "jobs.get": Example({"id": "{job}"}),
    "health.ping": Example(),
    "health.live": Example(),
    "health.ready": Example(),
    "health.get": Example(),
    "health.metrics": Example(),
}
# These need a language model, so the test of the examples cannot send them.
NEED_LANGUAGE_MODEL = {"facts.extract", "proposals.accept", "proposals.reject", "proposals.undo"}


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """Return an example with its placeholders replaced by their values."""
    if isinstance(value, str):
        return names.get(value[1:-1], value) if value.startswith("{") else value
    if isinstance(value, list):
        return [filled(item, names) for item in value]
    if isinstance(value, Mapping):
        return {name: filled(item, names) for name, item in value.items()}
    return value
