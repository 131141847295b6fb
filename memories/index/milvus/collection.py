"""The collection of one embedding generation: its fields, its partitions and its vector index."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from somamemory.errors import ConfigurationError

FIELDS = frozenset({"id", "tenant", "namespace", "memory_type", "version", "vector"})
NAMESPACE_BYTES = 1020  # Milvus counts bytes: 255 characters of four
OPENING_TIMEOUT_S = 60.0  # creating, loading and dropping take time in proportion to the rows
# More partitions mean fewer rows of other tenants in a tenant's partition.
PARTITIONS = 64
# Before 2.4 an upsert files a row under the hash of its id, not of its tenant (milvus-io/milvus#30772), where no
# search finds it: 197 of 200 rows were lost. A single partition avoids that.
SOUND_PARTITION_KEY_SINCE = (2, 4)


@dataclass(frozen=True)
class Hnsw:
    """The graph of a server's index (Malkov and Yashunin, arXiv 1603.09320).

    Links of a node, breadth while building, and minimum breadth of a search, which is at least twice the limit.
    """

    m: int = 16
    ef_construction: int = 200
    ef: int = 128

    def breadth(self, limit: int) -> int:
        return min(
            max(self.ef, 2 * limit), 32_768
        )  # less than the limit is refused; more exceeds the maximum of a server


@dataclass(frozen=True)
class Collection:
    name: str
    dimension: int
    hnsw: Hnsw
    timeout_s: float

    def prepare(self, client: Any, *, lite: bool) -> None:
        """Create the collection and its index where they are missing, check them, and load them."""
        if not client.has_collection(self.name, timeout=self.timeout_s):
            self.create(client, lite=lite)
        self.check(client.describe_collection(self.name, timeout=self.timeout_s))
        # Do not wait until it is built: loading does, and pymilvus would poll every half second.
        if not client.list_indexes(self.name, field_name="vector", timeout=self.timeout_s):
            client.create_index(self.name, self.vector_index(client, lite=lite), sync=False, timeout=OPENING_TIMEOUT_S)
        client.load_collection(self.name, timeout=OPENING_TIMEOUT_S)

    def create(self, client: Any, *, lite: bool) -> None:
        from pymilvus import DataType, MilvusException

        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=32, is_primary=True)
        schema.add_field("tenant", DataType.VARCHAR, max_length=32, is_partition_key=True)
        schema.add_field("namespace", DataType.VARCHAR, max_length=NAMESPACE_BYTES)
        schema.add_field("memory_type", DataType.VARCHAR, max_length=16)
        schema.add_field("version", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dimension)
        options = {} if lite else {"num_partitions": _partition_count(client.get_server_version())}
        try:
            client.create_collection(self.name, schema=schema, timeout=OPENING_TIMEOUT_S, **options)
        except MilvusException:
            # Several workers may start at once, and another one may be first.
            if not client.has_collection(self.name, timeout=self.timeout_s):
                raise

    def vector_index(self, client: Any, *, lite: bool) -> Any:
        """Return the index parameters.

        Exact on Lite, where HNSW found .70 of the true neighbours at 10,000 rows and saved 3 of 8 ms.
        """
        options = client.prepare_index_params()
        if lite:
            options.add_index("vector", index_type="FLAT", metric_type="COSINE")
        else:
            build = {"M": self.hnsw.m, "efConstruction": self.hnsw.ef_construction}
            options.add_index("vector", index_type="HNSW", metric_type="COSINE", params=build)
        return options

    def check(self, collection: dict[str, Any]) -> None:
        fields = {field["name"]: field for field in collection["fields"]}
        if set(fields) != FIELDS:
            raise ConfigurationError(
                f"the Milvus collection {self.name} was not created by this service: it has the fields "
                f"{', '.join(sorted(fields))}; choose another collection name"
            )
        held = int(fields["vector"]["params"]["dim"])
        if held != self.dimension:
            raise ConfigurationError(
                f"the Milvus collection {self.name} holds vectors of {held} numbers, but the embedder produces "
                f"{self.dimension}: restore the previous embedder settings, or run manage.py reembed"
            )


def _partition_count(server_version: str) -> int:
    """Return the number of partitions for a server version such as v2.3.5-lite or 2.6.1.

    A build without a number counts as new.
    """
    number = re.search(r"(\d+)\.(\d+)", server_version)
    old = number and (int(number[1]), int(number[2])) < SOUND_PARTITION_KEY_SINCE
    return 1 if old else PARTITIONS
