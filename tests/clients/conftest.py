"""Clients that call the application in the test process, with its database and without a port."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from somamemory.wsgi import application
from somamemory_client import AsyncClient, Client, Request, Response
from somamemory_client._embedded import EmbeddedTransport
from tests.conftest import Api

T = TypeVar("T")


class InlineTransport:
    """An asynchronous embedded transport without threads: another thread would not see the test's transaction."""

    def __init__(self, inner: EmbeddedTransport) -> None:
        self.inner = inner

    async def send(self, request: Request, timeout_s: float) -> Response:
        return self.inner.send(request, timeout_s)

    async def close(self) -> None:
        pass


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, and return its result. Django rejects queries while an event loop runs."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    raise AssertionError("the coroutine waits for something")


@pytest.fixture
def _open_connection() -> Iterator[None]:
    """Keep the test's connection open. A server would close it after a request."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def client(api: Api, _open_connection: None) -> Client:
    return Client(api_key=api.key, transport=EmbeddedTransport(application))


@pytest.fixture
def async_client(api: Api, _open_connection: None) -> AsyncClient:
    return AsyncClient(api_key=api.key, transport=InlineTransport(EmbeddedTransport(application)))


@pytest.fixture
def operators_client(operator: Api, _open_connection: None) -> Client:
    return Client(api_key=operator.key, transport=EmbeddedTransport(application))
