"""The last use of a key is recorded to the hour, without a write per request."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tenants import key_usage, keys
from tenants.models import ApiKey
from tests.conftest import Api, problem_of

pytestmark = pytest.mark.django_db


def key_of(api: Api) -> ApiKey:
    return ApiKey.objects.get(tenant=api.tenant)


def used(api: Api) -> Any:
    assert api.get("/stats").status_code == 200
    key_usage.flush()
    return key_of(api).last_used_at


def test_an_unused_key_has_no_last_use(api: Api, operator: Api) -> None:
    [listed] = operator.get(f"/api/v1/tenants/{api.tenant.slug}/keys").json()["items"]

    assert listed["last_used_at"] is None


def test_a_use_is_written_outside_of_the_request(api: Api, operator: Api) -> None:
    with CaptureQueriesContext(connection) as captured:
        api.get("/stats")
    assert not [query for query in captured if "UPDATE" in query["sql"]]
    assert key_of(api).last_used_at is None

    assert key_usage.flush() == 1

    written = key_of(api).last_used_at
    assert written is not None
    assert written > timezone.now() - timedelta(minutes=1)
    [listed] = operator.get(f"/api/v1/tenants/{api.tenant.slug}/keys").json()["items"]
    assert listed["last_used_at"] is not None


def test_a_key_is_written_once_an_hour(api: Api) -> None:
    first = used(api)
    with CaptureQueriesContext(connection) as captured:
        assert used(api) == first

    assert not [query for query in captured if "UPDATE" in query["sql"]]


def test_another_process_within_the_hour_does_not_write_it_again(api: Api) -> None:
    first = used(api)
    key_usage.forget()  # as in another process that cached the key before its first use

    assert used(api) == first


def test_a_use_after_an_hour_is_written(api: Api) -> None:
    used(api)
    long_ago = timezone.now() - key_usage.PRECISION
    ApiKey.objects.update(last_used_at=long_ago)
    key_usage.forget()
    keys.forget_cached()

    assert used(api) > long_ago + key_usage.PRECISION / 2


def test_a_rejected_request_does_not_count_as_a_use(api: Api) -> None:
    ApiKey.objects.filter(tenant=api.tenant).update(expires_at=timezone.now())

    problem_of(api.get("/stats"), 401)

    assert key_usage.flush() == 0


def test_a_failed_write_is_retried(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.get("/stats")

    def fail(*args: Any, **columns: Any) -> int:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(QuerySet, "update", fail)
        with pytest.raises(DatabaseError):
            key_usage.flush()

    assert key_usage.flush() == 1


def test_the_buffer_holds_a_bounded_number_of_keys(api: Api, stranger: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_usage, "MAX_KEYS", 1)
    for client in (api, stranger):
        client.get("/stats")

    assert key_usage.flush() == 1
