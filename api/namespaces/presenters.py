"""Present namespaces as JSON."""

from __future__ import annotations

from api.json import JsonObject
from graph.namespaces import Receipt
from memories.namespaces import Page
from somamemory.times import rfc3339


def page(page: Page) -> JsonObject:
    items = [{"namespace": item.name, "memories": item.memories, "exact": item.is_exact} for item in page.items]
    return {"items": items, "next_cursor": page.next_cursor}


def receipt(receipt: Receipt) -> JsonObject:
    return {
        "namespaces": receipt.namespaces,
        "memories": receipt.memories,
        "links": receipt.links,
        "at": rfc3339(receipt.at),
        "request_id": receipt.request_id,
    }
