"""The collection of one embedding generation: its fields, its partitions and its vector index."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from somamemory.errors import ConfigurationError
from somamemory.installation import COMMAND

FIELDS = frozenset({"id", "tenant", "namespace", "memory_type", "version", "vector"})
NAMESPACE_BYTES = 1020  # Milvus counts bytes, and a namespace has up to 255 characters of up to four bytes each
OPENING_TIMEOUT_S = 60.0  # for creating, loading and dropping, which take longer if there are more rows
# The more partitions there are, the fewer rows of other tenants a tenant's partition contains.
PARTITIONS = 64
# Milvus versions before 2.4 assign an upserted row to a partition by the hash of its id, not of its tenant
# (milvus-io/milvus#30772), so searches do not find it: in a test, they missed 197 of 200 rows. A single partition
# avoids this.
SOUND_PARTITION_KEY_SINCE = (2, 4)


@dataclass(frozen=True)
class Hnsw:
    """Parameters for the HNSW graph of a Milvus server's index (Malkov and Yashunin, arXiv 1603.09320).

    m: the number of links per node.
    ef_construction: the search width during the build.
    ef: the minimum search width of a query. The search width is also at least twice the limit.
    """

    m: int = 16
    ef_construction: int = 200
    ef: int = 400

    def breadth(self, limit: int) -> int:
        return min(
            max(self.ef, 2 * limit), 32_768
        )  # a server rejects a value that is less than the limit or greater than the server's maximum


@dataclass(frozen=True)
class Collection:
    name: str
    dimension: int
    hnsw: Hnsw
    timeout_s: float

    def prepare(self, client: Any) -> None:
        """Create the collection and its vector index if they are missing, check the fields, and load the collection."""
        if not client.has_collection(self.name, timeout=self.timeout_s):
            self.create(client)
        self.check(client.describe_collection(self.name, timeout=self.timeout_s))
        # Do not wait until the index is built: loading waits anyway, and pymilvus would poll only every half second.
        if not client.list_indexes(self.name, field_name="vector", timeout=self.timeout_s):
            client.create_index(self.name, self.vector_index(client), sync=False, timeout=OPENING_TIMEOUT_S)
        client.load_collection(self.name, timeout=OPENING_TIMEOUT_S)

    def create(self, client: Any) -> None:
        from pymilvus import DataType, MilvusException

        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=32, is_primary=True)
        schema.add_field("tenant", DataType.VARCHAR, max_length=32, is_partition_key=True)
        schema.add_field("namespace", DataType.VARCHAR, max_length=NAMESPACE_BYTES)
        schema.add_field("memory_type", DataType.VARCHAR, max_length=16)
        schema.add_field("version", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dimension)
        partitions = _partition_count(client.get_server_version())
        try:
            client.create_collection(self.name, schema=schema, timeout=OPENING_TIMEOUT_S, num_partitions=partitions)
        except MilvusException:
            # Several workers can start at the same time, so another one may have created the collection first.
            if not client.has_collection(self.name, timeout=self.timeout_s):
                raise

    def vector_index(self, client: Any) -> Any:
        options = client.prepare_index_params()
        build = {"M": self.hnsw.m, "efConstruction": self.hnsw.ef_construction}
        options.add_index("vector", index_type="HNSW", metric_type="COSINE", params=build)
        return options

    def check(self, collection: dict[str, Any]) -> None:
        fields = {field["name"]: field for field in collection["fields"]}
        if set(fields) != FIELDS:
            raise ConfigurationError(
                f"the Milvus collection {self.name} was not created by SomaMemory: its fields are "
                f"{', '.join(sorted(fields))}. Choose another collection name"
            )
        held = int(fields["vector"]["params"]["dim"])
        if held != self.dimension:
            raise ConfigurationError(
                f"the Milvus collection {self.name} contains {held}-dimensional vectors, but the embedder creates "
                f"{self.dimension}. Restore the previous embedder settings, or run {COMMAND} reembed"
            )


def _partition_count(server_version: str) -> int:
    """Return the number of partitions for a server version such as v2.3.5-lite or 2.6.1.

    A version that contains no number is treated as new.
    """
    number = re.search(r"(\d+)\.(\d+)", server_version)
    old = number and (int(number[1]), int(number[2])) < SOUND_PARTITION_KEY_SINCE
    return 1 if old else PARTITIONS
