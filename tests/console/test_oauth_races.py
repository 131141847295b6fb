"""A code or a refresh token works at most once, even in concurrent requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from console.models import OAuthGrant
from tenants import keys
from tests.support.oauth import URL, App, answer

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 4


@pytest.fixture
def app(transactional_db: None, staff: Client, settings: Any) -> App:
    settings.OAUTH_URL = URL
    return App.create(staff)


def at_once(request: Callable[[], Any]) -> list[Any]:
    """Send the same request from several threads. Return the responses."""
    start = threading.Barrier(AT_ONCE)

    def send(_: int) -> Any:
        try:
            start.wait()
            return request()
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(send, range(AT_ONCE)))


def test_a_code_is_exchanged_once_and_its_reuse_revokes_the_access(app: App) -> None:
    code = app.code()

    responses = at_once(lambda: app.exchange(code))

    (tokens,) = [response.json() for response in responses if response.status_code == 200]
    assert {response.status_code for response in responses} <= {200, 400, 503}  # 503: SQLite is busy
    if any(response.status_code == 400 for response in responses):
        keys.forget_cached()
        assert answer(tokens["access_token"]).status_code == 401
        assert OAuthGrant.objects.get().revoked_at is not None


def test_a_refresh_token_is_used_once_and_its_reuse_revokes_the_access(app: App) -> None:
    first = app.connect()

    responses = at_once(lambda: app.refresh(first["refresh_token"]))

    (tokens,) = [response.json() for response in responses if response.status_code == 200]
    assert {response.status_code for response in responses} <= {200, 400, 503}
    if any(response.status_code == 400 for response in responses):
        keys.forget_cached()
        assert answer(tokens["access_token"]).status_code == 401
