"""Run LangGraph's own tests for PostgresStore, unmodified, with our stores in place of LangGraph's.

    pytest -p langgraph_suite --import-mode=importlib var/adapter-suites/langgraph

The tests create their stores with `PostgresStore.from_conn_string`, which returns one of our stores here. NOT_OURS
lists the tests that do not apply to other stores, each with the reason.
"""

from __future__ import annotations

import string
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from conftest import server

from somamemory_client import AsyncClient, Client
from somamemory_client.adapters.langgraph import AsyncSomaStore, SomaStore
from testing.server import ROOT, Server

SUITE = ROOT / "var" / "adapter-suites" / "langgraph"
SQL = "reads or changes the table with SQL; our stores never return expired memories"
VECTORS = "needs a vector per field; a memory has only one"
NOT_OURS = {
    "test_escape_like_literal": "tests a function of PostgresStore",
    "test_namespace_match_pattern": "tests a function of PostgresStore",
    "test_nonnull_migrations": "tests PostgresStore's migrations",
    "test_abatch_uses_single_pool_checkout": "counts PostgresStore's connections",
    "test_omit_expired_filters_read_paths": SQL,
    "test_omit_expired_disabled_preserves_expired_rows": SQL,
    "test_omit_expired_refresh_ttl_only_refreshes_live_rows": SQL,
    "test_omit_expired_search_pagination": SQL,
    "test_embed_with_path": VECTORS,
    "test_embed_with_path_sync": VECTORS,
    "test_embed_with_path_operation_config": VECTORS,
    "test_scores[l2": "expects a negative distance; our scores are cosine similarities",
}
# Ways to connect to PostgreSQL and to store vectors in it. They make no difference to our stores.
SAME = ("pipe", "pool", "halfvec", "inner_product")

_module = ModuleType("tests.embed_test_utils")
_code = compile((SUITE / "embed_test_utils.py").read_text(), "embed_test_utils.py", "exec")
exec(_code, _module.__dict__)  # the suite's own embeddings
EMBEDDINGS = _module.CharacterEmbeddings(dims=500)
for (
    letter
) in string.ascii_lowercase:  # each letter gets a random vector when it is first seen, here always in this order
    EMBEDDINGS.embed_query(letter)


class _Postgres:
    """The members of PostgresStore that the tests use, besides the store interface."""

    MIGRATIONS = ()

    def setup(self) -> None: ...

    def start_ttl_sweeper(self) -> None: ...

    def stop_ttl_sweeper(self) -> None: ...

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        yield _Nothing()


class _AsyncPostgres:
    MIGRATIONS = ()

    async def setup(self) -> None: ...

    async def start_ttl_sweeper(self) -> None: ...

    async def stop_ttl_sweeper(self) -> None: ...

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[Any]:
        yield _AsyncNothing()


class Store(SomaStore, _Postgres):  # type: ignore[misc]
    index_config: Mapping[str, Any] | None

    @classmethod
    @contextmanager
    def from_conn_string(cls, address: str, **options: Any) -> Iterator[Store]:
        running = _running()
        with Client(f"http://127.0.0.1:{running.port}", running.key) as client:
            store = cls(client, **_options(address, options))
            store.index_config = options.get("index")
            yield store


class AsyncStore(AsyncSomaStore, _AsyncPostgres):  # type: ignore[misc]
    index_config: Mapping[str, Any] | None

    @classmethod
    @asynccontextmanager
    async def from_conn_string(cls, address: str, **options: Any) -> AsyncIterator[AsyncStore]:
        running = _running()
        async with AsyncClient(f"http://127.0.0.1:{running.port}", running.key) as client:
            store = cls(client, **_options(address, options))
            store.index_config = options.get("index")
            yield store


def _options(address: str, options: Mapping[str, Any]) -> dict[str, Any]:
    database = address.rpartition("/")[2].partition("?")[0]
    index = options.get("index") or {}
    search = {"mode": "semantic", "consistency": "strong", "fields": index.get("fields")}
    return {"namespace": database, "ttl": options.get("ttl"), **search}


class _Nothing:
    @classmethod
    @contextmanager
    def connect(cls, *args: object, **options: object) -> Iterator[Any]:
        yield cls()

    def execute(self, *args: object) -> None: ...


class _AsyncNothing:
    def __init__(self, found: object = None) -> None: ...

    @classmethod
    async def connect(cls, *args: object, **options: object) -> _AsyncNothing:
        return cls()

    async def __aenter__(self) -> _AsyncNothing:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    async def execute(self, *args: object) -> None: ...


_stack: list[Any] = []


@cache
def _running() -> Server:
    _stack.append(server(EMBEDDINGS.embed_documents, EMBEDDINGS.dims))
    found: Server = _stack[-1].__enter__()
    return found


def _module_of(name: str, **members: object) -> None:
    module = ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module


_module_of("tests")
_module_of(
    "tests.conftest",
    DEFAULT_URI="postgres://nowhere/none",
    VECTOR_TYPES=["vector"],
    CharacterEmbeddings=_module.CharacterEmbeddings,
)
_module_of("psycopg", Connection=_Nothing, AsyncConnection=_AsyncNothing)
_module_of("langgraph.store.postgres", PostgresStore=Store, AsyncPostgresStore=AsyncStore)
_module_of("langgraph.store.postgres.base", _escape_like_literal=None, _namespace_match_pattern=None)
_module_of("langgraph.checkpoint.postgres", _ainternal=None)


@pytest.fixture
def fake_embeddings() -> object:
    return EMBEDDINGS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kept = [item for item in items if not any(word in item.name for word in SAME)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    for item in items:
        name = getattr(item, "originalname", item.name)
        reason = NOT_OURS.get(name) or ("l2" in item.name and name == "test_scores" and NOT_OURS["test_scores[l2"])
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"not applicable: {reason}"))


def pytest_unconfigure() -> None:
    for context in _stack:
        context.__exit__(None, None, None)
