"""Run Google ADK's own tests for session services, unmodified, with our service.

    pytest -p google_adk_suite --import-mode=importlib var/adapter-suites/google-adk

ADK's contract tests use the `session_service` fixture, which calls `get_session_service` for each of ADK's services.
Here, that function returns our service, and each test runs once. Tests of a single ADK service are deselected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import conftest
import pytest

from somamemory_client import AsyncClient
from somamemory_client.adapters.google_adk import SomaSessionService
from testing.server import Server

CONTRACT = "session_service"
ONCE = "IN_MEMORY"  # the first of ADK's services
running = conftest.running  # pytest finds the fixture under this name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    ours = [item for item in items if _is_contract(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in ours])
    items[:] = ours


def _is_contract(item: pytest.Function) -> bool:
    if CONTRACT not in item.fixturenames:
        return False
    service: Any = item.callspec.params[CONTRACT]
    return bool(service.name == ONCE)


@pytest.fixture(autouse=True)
async def _our_service(request: pytest.FixtureRequest, running: Server) -> AsyncIterator[None]:
    async with AsyncClient(f"http://127.0.0.1:{running.port}", running.key) as client:
        service = SomaSessionService(client, f"test/{uuid4().hex}")
        request.module.get_session_service = lambda *given: service
        yield
