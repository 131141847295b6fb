"""Convert rows, hits and filter expressions to and from Milvus's format."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from memories.index.base import Hit, Point, Where, unit_vector
from somamemory.errors import IndexUnavailable

# Milvus's escape sequences. Milvus takes all other characters literally, including control characters.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def quoted(value: str) -> str:
    return f'"{value.translate(_ESCAPES)}"'


def listed(values: Iterable[str]) -> str:
    return f"[{', '.join(map(quoted, values))}]"


def expression(tenant: UUID, where: Where | None = None) -> str:
    """Return the filter expression for a call. It always includes the tenant."""
    parts = [f"tenant == {quoted(tenant.hex)}"]
    if where:
        parts.append(f"namespace in {listed(where.namespaces)}")
        if where.memory_type is not None:
            parts.append(f"memory_type == {quoted(where.memory_type)}")
    return " and ".join(parts)


def row_of(tenant: UUID, point: Point, dimension: int) -> dict[str, Any]:
    return {
        "id": point.id.hex,
        "tenant": tenant.hex,
        "namespace": point.namespace,
        "memory_type": point.memory_type,
        "version": point.version,
        "vector": unit_vector(point.vector, dimension),
    }


def hit_of(row: Any) -> Hit:
    similarity = float(row["distance"])
    if math.isnan(similarity):
        raise IndexUnavailable("the vector index returned a similarity that is not a number")
    # Round to six digits, the precision of float32.
    return Hit(row["id"], round(min(1.0, max(-1.0, similarity)), 6))
