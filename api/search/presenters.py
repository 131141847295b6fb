"""Present search results as JSON."""

from __future__ import annotations

from api.json import JsonObject
from api.memories.presenters import address, claims
from memories.search.query import Results, SearchHit
from somamemory.times import rfc3339


def hit(hit: SearchHit) -> JsonObject:
    memory = hit.memory
    result: JsonObject = {
        "id": str(memory.id),
        **address(memory.coordinate),
        "key": memory.key,
        "namespace": memory.namespace,
        "payload": memory.payload,
        "memory_type": memory.memory_type,
        "metadata": memory.metadata,
        **memory.ids,
        "importance": memory.importance,
        **claims(memory),
        "created_at": rfc3339(memory.created_at),
        "version": memory.version,
        "score": hit.score,
        "relevance": hit.relevance,
    }
    if hit.scores is not None:
        result["scores"] = hit.scores
    return result


def results(results: Results, mode: str) -> JsonObject:
    response: JsonObject = {
        "memories": [hit(found) for found in results.hits],
        "degraded": results.degraded,
        "mode": mode,
        "took_ms": results.took_ms,
    }
    if results.next_offset is not None:
        response["next_offset"] = results.next_offset
    return response
