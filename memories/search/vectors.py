"""Compute cosine similarities for vectors stored in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import numpy as np

from memories.embeddings.base import Vectors
from memories.index import generations
from memories.index.base import unit_vector, usable
from memories.search.selection import as_uuid
from somamemory import deadline
from somamemory.db import replicas
from somamemory.db.rows import id_parameter, one_of
from somamemory.errors import VectorBudgetExceeded
from tenants.models import Tenant

BATCH = 2_000
# The maximum number of vectors that a search compares one by one. Comparing that many takes a second and, with 256
# dimensions, reads 1 GB.
MAX_COMPARED = 1_000_000


def stored(tenant: Tenant, ids: Sequence[UUID]) -> dict[UUID, Vectors]:
    """Return the vectors of these memories in the active generation, by id. Leaves out memories without a vector."""
    if not ids:
        return {}
    is_one, wanted = one_of("memory_id", [id_parameter(id) for id in ids])
    sql = f"""
    SELECT memory_id, vector FROM sfm_vector_embeddings
    WHERE tenant_id = %s AND generation_id = %s AND vector IS NOT NULL AND {is_one}"""  # noqa: S608 - contains no values
    generation = generations.active()
    with replicas.connection().cursor() as cursor:
        cursor.execute(sql, [id_parameter(tenant.id), id_parameter(generation.id), wanted])
        return {as_uuid(id): np.frombuffer(vector, dtype="<f4") for id, vector in cursor.fetchall()}


def similarities(rows: Sequence[tuple[UUID, bytes]], vector: Vectors) -> dict[UUID, float]:
    """Return the cosine similarity of each stored vector to `vector`, by id. Leaves out rows without a vector."""
    filled = [(id, raw) for id, raw in rows if raw]
    found = cosines([raw for _, raw in filled], vector)
    return {id: cosine for (id, _), cosine in zip(filled, found, strict=True)}


def cosines(stored: Sequence[bytes], vector: Vectors) -> list[float]:
    """Return the cosine similarity of each stored vector to `vector`."""
    if not stored:
        return []
    wide = np.frombuffer(b"".join(stored), dtype="<f4").reshape(len(stored), -1).astype(np.float64)
    norms = np.maximum(np.sqrt((wide * wide).sum(axis=1)), 1e-300)
    similarities = wide @ unit_vector(vector, len(vector)).astype(np.float64) / norms
    found: list[float] = np.clip(similarities, -1.0, 1.0).tolist()
    return found


def cosine(one: Vectors, other: Vectors) -> float:
    if not usable(one):
        return 0.0
    return float(unit_vector(one, len(one)) @ unit_vector(other, len(other)))


def nearest(rows: Iterable[tuple[UUID, bytes]], vector: Vectors, count: int) -> dict[UUID, float]:
    """Return the exact cosine similarities of the `count` nearest rows, by id, reading one batch at a time.

    Raises VectorBudgetExceeded if there are more than MAX_COMPARED rows.
    """
    compared = 0
    best: dict[UUID, float] = {}
    batch: list[tuple[UUID, bytes]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            deadline.check()
            compared += BATCH
            if compared > MAX_COMPARED:
                raise VectorBudgetExceeded(
                    f"the search would compare more than {MAX_COMPARED} vectors; use narrower filters or a prefix"
                )
            best = _top(best | similarities(batch, vector), count)
            batch = []
    return _top(best | similarities(batch, vector), count)


def _top(similarities: Mapping[UUID, float], count: int) -> dict[UUID, float]:
    return dict(sorted(similarities.items(), key=lambda item: (-item[1], item[0]))[:count])
