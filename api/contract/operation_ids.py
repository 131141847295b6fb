"""Operation names in the OpenAPI document, such as `memories.store`. Client generators derive method names from them.

By default, an operation is named after its tag and its view.
"""

from __future__ import annotations

_NAMES = {
    "search.search": "memories.search",
    "search.search_by_query": "memories.search_by_query",
    "memories.fetch": "memories.get",
    "memories.list_memories": "memories.list",
    "memories.map_memories": "memories.map",
    "memories.store_bulk": "memories.store_many",
    "memories.get_bulk": "memories.get_many",
    "memories.delete_bulk": "memories.delete_many",
    "memories.stats": "stats.get",
    "graph.neighbors_by_id": "memories.links_by_id",
    "graph.link_bulk": "graph.link_many",
    "conversations.fetch": "conversations.get",
    "conversations.list_conversations": "conversations.list",
    "conversations.patch": "conversations.update",
    "conversations.fetch_by_external_id": "conversations.get_by_external_id",
    "conversations.messages_by_external_id": "conversations.list_messages_by_external_id",
    "namespaces.list_all": "namespaces.list",
    "conversations.messages": "conversations.list_messages",
    "conversations.query": "messages.search",
    "conversations.smart_query": "messages.search_smart",
    "conversations.full_text": "messages.search_full_text",
    "conversations.assemble": "context.assemble",
    "curation.summarize": "summaries.create",
    "curation.summary": "summaries.create_for_conversation",
    "curation.suggest": "labels.suggest",
    "curation.suggest_labels": "labels.suggest_for_conversation",
    "curation.extract_facts": "facts.extract",
    "curation.list_facts": "facts.list",
    "curation.list_proposals": "proposals.list",
    "curation.accept_proposal": "proposals.accept",
    "curation.reject_proposal": "proposals.reject",
    "curation.undo_proposal": "proposals.undo",
    "curation.importance": "messages.rate",
    "curation.dry_run": "pruning.preview",
    "curation.prune_suggestions": "pruning.suggestions",
    "curation.execute": "pruning.execute",
    "curation.undo": "pruning.undo",
    "curation.fetch_upkeep": "upkeep.get",
    "curation.patch_upkeep": "upkeep.update",
    "transfer.import_file": "conversations.import",
    "transfer.export": "conversations.export",
    "operators.create_tenant": "tenants.create",
    "operators.list_tenants": "tenants.list",
    "operators.get_tenant": "tenants.get",
    "operators.update_tenant": "tenants.update",
    "operators.erase_tenant": "tenants.erase",
    "operators.export_tenant": "tenants.export",
    "operators.usage": "tenants.usage",
    "operators.list_audit": "tenants.list_audit",
    "operators.issue_key": "keys.create",
    "operators.list_keys": "keys.list",
    "operators.rotate_key": "keys.rotate",
    "operators.revoke_key": "keys.revoke",
    "operators.rebuild_embeddings": "embeddings.rebuild",
    "operators.get_job": "jobs.get",
    "health.full_health": "health.get",
    "health.healthz": "health.live",
    "health.readyz": "health.ready",
    "health.show_metrics": "health.metrics",
}


def operation_id(tag: str, view: str) -> str:
    name = f"{tag}.{view}"
    return _NAMES.get(name, name)
