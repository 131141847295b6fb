"""Repeated requests have one effect, and all get the first response."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from api.app import api as ninja_api
from conversations.transfer import importing
from memories import retention, services
from memories.index import immediate
from memories.models import Memory, VectorEmbedding
from somamemory.errors import Conflict
from tenants import idempotency, usage
from tenants.models import ApiKey, AuditEvent, IdempotencyKey, Tenant
from tests.conftest import Api, issue_key, problem_of

BODY = {"coord": "1", "payload": {"text": "once"}}
# POST requests that change nothing, and are safe to repeat without a key.
READING = {
    "/api/v1/memories/search",
    "/api/v1/memories/bulk/get",
    "/api/v1/query",
    "/api/v1/query/smart",
    "/api/v1/search/fts",
    "/api/v1/context/assemble",
    "/api/v1/labels/suggest",
    "/api/v1/conversations/{id}/suggest-labels",
    "/api/v1/prune/dry-run",
}
# They may call a language model, which must not happen in a transaction, and repeating them writes the same data.
REPEATABLE = {
    "/api/v1/summarize",
    "/api/v1/conversations/{id}/summary",
    "/api/v1/conversations/{id}/facts",
    "/api/v1/messages/{id}/importance",
}


def recorded(tenant: Tenant) -> int:
    return IdempotencyKey.objects.for_tenant(tenant).count()


def version(api: Api, coord: str = "1") -> int:
    return int(api.get(f"/memories/{coord}").json()["memory"]["version"])


def same(first: Any, again: Any) -> bool:
    """Return whether `again` is a replay of `first`."""
    ours = {"X-Request-ID", "Idempotent-Replayed"}
    headers = [{name: value for name, value in answer.items() if name not in ours} for answer in (first, again)]
    return bool(
        "Idempotent-Replayed" not in first
        and again["Idempotent-Replayed"] == "true"
        and (first.status_code, first.content) == (again.status_code, again.content)
        and headers[0] == headers[1]
    )


# --- Valid keys --------------------------------------------------------------------------------------------------


def test_every_post_takes_the_header_or_is_known_not_to_need_it() -> None:
    posts = {path: item["post"] for path, item in ninja_api.get_openapi_schema()["paths"].items() if "post" in item}
    taking = {
        path
        for path, operation in posts.items()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
    }

    assert {"/api/v1/memories", "/api/v1/tenants/{slug}/keys"} <= taking
    assert set(posts) - taking == READING | REPEATABLE


@pytest.mark.parametrize("method", ["put", "patch"])
def test_every_put_and_patch_accepts_the_header(method: str) -> None:
    operations = [item[method] for item in ninja_api.get_openapi_schema()["paths"].values() if method in item]

    assert operations
    for operation in operations:
        assert "Idempotency-Key" in [parameter["name"] for parameter in operation["parameters"]], operation


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ä", "a\x7fb", "\x01"])
def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    problem_of(api.post("/memories", BODY, idempotency_key=key), 400, "malformed_request")
    assert api.get("/memories/1").status_code == 404


@pytest.mark.parametrize("key", ["x", "x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "a b", "!~"])
def test_any_printable_ascii_is_a_key(api: Api, key: str) -> None:
    first, again = (api.post("/memories", BODY, idempotency_key=key) for _ in range(2))

    assert first.status_code == 201
    assert same(first, again)


def test_without_the_header_nothing_is_recorded(api: Api) -> None:
    api.store("1")
    api.store("1")

    assert version(api) == 2
    assert recorded(api.tenant) == 0


# --- One effect, one response ------------------------------------------------------------------------------------


def test_a_store_sent_again_is_answered_and_not_done_again(api: Api) -> None:
    first = api.post("/memories", BODY, idempotency_key="k")
    again = api.post("/memories", BODY, idempotency_key="k")

    assert (first.status_code, first["ETag"]) == (201, '"1"')
    assert same(first, again)
    assert version(api) == 1
    assert AuditEvent.objects.filter(tenant=api.tenant, action="memory.store").count() == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/memories/by-key/k", {"importance": 3}),
        ("PUT", "/memories/by-key/k", {"payload": {"text": "twice"}}),
    ],
)
def test_a_repeated_change_gets_the_first_response_and_takes_effect_once(
    api: Api, method: str, path: str, body: Any
) -> None:
    api.post("/memories", {**BODY, "key": "k"})
    first, again = (api.request(method, path, body, idempotency_key="k") for _ in range(2))

    assert same(first, again)
    assert first["ETag"] == '"2"'
    assert version(api) == 2


def test_the_first_answer_stays_when_the_world_moves_on(api: Api) -> None:
    first = api.post("/memories", BODY, idempotency_key="k")
    api.store("1", "later")

    assert same(first, api.post("/memories", BODY, idempotency_key="k"))
    assert version(api) == 2


def test_bulk_bulk_delete_and_restore_are_replayed(api: Api) -> None:
    items = {"items": [{"coord": str(n), "payload": {}} for n in range(3)] + [{"coord": "x", "payload": {}}]}
    coords = {"coords": ["0", "1", "9"]}
    for path, body, status in (
        ("/memories/bulk", items, 207),
        ("/memories/bulk/delete", coords, 200),
        ("/memories/0/restore", None, 200),
    ):
        first = api.post(path, body, idempotency_key=path)
        assert first.status_code == status
        assert same(first, api.post(path, body, idempotency_key=path))
    assert (version(api, "0"), version(api, "2")) == (3, 1)
    assert api.get("/memories/1").status_code == 404


def test_a_repeated_creation_of_a_tenant_is_not_a_conflict(operator: Api) -> None:
    first, again = (operator.post("/api/v1/tenants", {"slug": "new"}, idempotency_key="k") for _ in range(2))

    assert first.status_code == 201
    assert same(first, again)
    problem_of(operator.post("/api/v1/tenants", {"slug": "new"}, idempotency_key="other"), 409, "conflict")


def test_an_alias_is_the_same_path(api: Api) -> None:
    first = api.post("/memories", BODY, idempotency_key="k")

    assert same(first, api.post("/api/v1/memories", BODY, idempotency_key="k"))


def test_the_index_hears_of_it_after_the_commit(api: Api, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks() as of_a_plain_store:
        api.store("2")
    with django_capture_on_commit_callbacks() as callbacks:
        api.post("/memories", BODY, idempotency_key="k")

    # Other headers depend on caches and are not always present.
    nudges = [callback for callback in callbacks if not isinstance(callback, partial)]
    assert len(nudges) == len([callback for callback in of_a_plain_store if not isinstance(callback, partial)]) > 0
    assert VectorEmbedding.objects.for_tenant(api.tenant).filter(due_at__isnull=False).count() == 2


# --- Different requests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/memories", {**BODY, "importance": 1}),
        ("/memories/bulk", {"items": [BODY]}),
        ("/memories/1/restore", None),
        ("/memories/1/restore?namespace=other", None),
    ],
)
def test_a_key_cannot_serve_another_request(api: Api, path: str, body: Any) -> None:
    api.post("/memories", BODY, idempotency_key="k")

    problem_of(api.post(path, body, idempotency_key="k"), 422, "idempotency_key_reused")
    assert version(api) == 1


def test_the_query_belongs_to_the_request(api: Api) -> None:
    api.store("1", namespace="a")
    api.delete("/memories/1?namespace=a")
    assert api.post("/memories/1/restore?namespace=a", idempotency_key="k").status_code == 200

    problem_of(api.post("/memories/1/restore?namespace=b", idempotency_key="k"), 422, "idempotency_key_reused")


def test_each_api_key_and_each_tenant_has_its_own(api: Api, stranger: Api, operator: Api) -> None:
    colleague = Api(issue_key(api.tenant), api.tenant)
    for client in (api, stranger, colleague, operator):
        assert "Idempotent-Replayed" not in client.post("/memories", BODY, idempotency_key="k")
    assert "Idempotent-Replayed" not in operator.post("/memories", BODY, idempotency_key="k", x_tenant="acme")

    assert version(api) == 3
    assert version(stranger) == 1


# --- Failures ----------------------------------------------------------------------------------------------------


def test_a_failed_request_is_not_remembered(api: Api) -> None:
    refused = api.post("/memories", BODY, idempotency_key="k", if_match='"7"')
    problem_of(refused, 412)
    assert recorded(api.tenant) == 0

    assert api.post("/memories", BODY, idempotency_key="k").status_code == 201


def test_a_crash_in_the_middle_leaves_neither_effect_nor_answer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: Any, answer: bytes) -> None:
        raise RuntimeError("lost")

    with monkeypatch.context() as broken:
        broken.setattr(idempotency.Attempt, "record", crash)
        problem_of(api.post("/memories", BODY, idempotency_key="k"), 500)

    assert api.get("/memories/1").status_code == 404
    assert not AuditEvent.objects.filter(tenant=api.tenant, action="memory.store").exists()
    assert api.post("/memories", BODY, idempotency_key="k").status_code == 201


def test_a_recorded_answer_needs_a_transaction(api: Api, transactional_db: None) -> None:
    attempt = idempotency.Attempt(api.tenant, ApiKey.objects.get().id, "k", b"token", b"content")

    with pytest.raises(RuntimeError):
        attempt.record(b"answer")


# --- Secrets -----------------------------------------------------------------------------------------------------


def test_an_issued_key_is_replayed_and_never_stored_in_plain_text(operator: Api, tenant: Tenant) -> None:
    body = {"name": "agent", "scopes": ["read"]}
    first, again = (operator.post("/api/v1/tenants/acme/keys", body, idempotency_key="k") for _ in range(2))

    assert first.status_code == 201
    assert same(first, again)
    assert ApiKey.objects.filter(tenant=tenant).count() == 1
    assert Api(again.json()["key"], tenant).get("/stats").status_code == 200
    row = IdempotencyKey.objects.for_tenant(operator.tenant).get()
    secret = first.json()["key"].encode()
    assert secret not in bytes(row.answer) + bytes(row.fingerprint)
    for token in (b"", b"soma", bytes(ApiKey.objects.get(id=row.key_id).digest)):  # all that the database contains
        with pytest.raises(Exception):  # noqa: B017 - whatever the cipher says
            idempotency.Attempt(operator.tenant, row.key_id, "k", token, b"")._open(bytes(row.answer))


def test_an_attempt_does_not_show_its_token(api: Api) -> None:
    assert "secret" not in repr(idempotency.Attempt(api.tenant, ApiKey.objects.get().id, "k", b"secret", b""))


# --- Time --------------------------------------------------------------------------------------------------------


def age(tenant: Tenant, hours: float) -> None:
    created = timezone.now() - timedelta(hours=hours)
    IdempotencyKey.objects.for_tenant(tenant).update(created_at=created)


def test_an_answer_is_kept_for_48_hours(api: Api) -> None:
    first = api.post("/memories", BODY, idempotency_key="k")
    age(api.tenant, 47.9)
    assert same(first, api.post("/memories", BODY, idempotency_key="k"))

    age(api.tenant, 48.1)
    again = api.post("/memories", BODY, idempotency_key="k")

    assert "Idempotent-Replayed" not in again
    assert version(api) == 2
    assert recorded(api.tenant) == 1


def test_the_sweep_removes_old_responses_only(api: Api, stranger: Api) -> None:
    for number in range(5):
        api.post("/memories", BODY, idempotency_key=str(number))
    age(api.tenant, 49)
    stranger.post("/memories", BODY, idempotency_key="k")

    assert idempotency.sweep() == 5
    assert (recorded(api.tenant), recorded(stranger.tenant)) == (0, 1)


def test_a_response_swept_while_its_key_is_used_again_is_subtracted_from_the_usage_once(api: Api) -> None:
    Tenant.objects.filter(id=api.tenant.id).update(quota_bytes=1_000_000)
    api.post("/memories", BODY, idempotency_key="k")
    age(api.tenant, 49)
    swept: list[int] = []

    def sweep_first(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if sql.startswith("DELETE FROM") and "sfm_idempotency_keys" in sql and not swept:
            swept.append(0)  # so that the statements of the sweep do not start another one
            swept.append(idempotency.sweep())
        return execute(sql, *arguments)

    with connection.execute_wrapper(sweep_first):
        api.post("/memories", BODY, idempotency_key="k")

    assert swept == [0, 1]
    api.tenant.refresh_from_db()
    assert usage.stored(api.tenant) == usage.counted(api.tenant)


def test_housekeeping_sweeps(api: Api) -> None:
    api.post("/memories", BODY, idempotency_key="k")
    age(api.tenant, 49)

    retention.tidy()

    assert recorded(api.tenant) == 0


# --- At once -----------------------------------------------------------------------------------------------------


@pytest.fixture
def at_once(api: Api, transactional_db: None) -> Iterator[Api]:
    yield api
    connection.close()


def closing(work: Any) -> Any:
    """For threads: close the thread's connection afterwards."""

    def done(*given: Any) -> Any:
        try:
            return work(*given)
        finally:
            connection.close()

    return done


def sent_by_another_thread(api: Api) -> Any:
    with ThreadPoolExecutor(1) as other:
        return other.submit(closing(lambda: api.post("/memories", BODY, idempotency_key="k"))).result(60)


@pytest.mark.django_db(transaction=True)
def test_each_of_200_requests_sent_5_times_at_once_has_one_effect(at_once: Api) -> None:
    sent = [number for number in range(200) for _ in range(5)]
    random.Random(1).shuffle(sent)
    outcomes: Counter[str] = Counter()

    def send(number: int) -> None:
        body = {"coord": str(number), "payload": {"n": number}}
        while True:
            response = at_once.post("/memories", body, idempotency_key=f"key-{number}")
            if response.status_code == 201:
                break
            assert response.status_code in (409, 503), response.content  # still running; a busy SQLite
            assert response["Retry-After"] == "1"
            outcomes["waited"] += 1
        outcomes[response.get("Idempotent-Replayed", "done")] += 1

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(closing(send), sent))

    assert (outcomes["done"], outcomes["true"]) == (200, 800)
    versions = Memory.objects.for_tenant(at_once.tenant).values_list("version", flat=True)
    assert list(versions) == [1] * 200
    assert AuditEvent.objects.filter(tenant=at_once.tenant, action="memory.store").count() == 200
    assert recorded(at_once.tenant) == 200


@pytest.mark.django_db(transaction=True)
def test_five_at_once_where_the_effect_would_conflict(operator: Api, transactional_db: None) -> None:
    start = threading.Barrier(5)

    def send(_: int) -> Any:
        start.wait()
        while True:
            response = operator.post("/api/v1/tenants", {"slug": "new"}, idempotency_key="k")
            if response.status_code == 201:
                return response
            problem_of(response, 409, "still_running")

    with ThreadPoolExecutor(5) as threads:
        answers = list(threads.map(closing(send), range(5)))

    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.get("Idempotent-Replayed", "") for answer in answers) == ["", *["true"] * 4]
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_repeated_request_during_the_first_one_has_no_effect(at_once: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL immediately reports that the first one is still running. SQLite has only one writer, so it waits."""
    entered, go_on = threading.Event(), threading.Event()
    store = services.store

    def slow(*given: Any) -> Any:
        result = store(*given)
        entered.set()
        go_on.wait(60)
        return result

    monkeypatch.setattr(services, "store", slow)
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(closing(lambda: at_once.post("/memories", BODY, idempotency_key="k")))
        assert entered.wait(60)
        second = threads.submit(closing(lambda: at_once.post("/memories", BODY, idempotency_key="k")))
        if connection.vendor == "postgresql":
            refused = second.result(10)
            problem_of(refused, 409, "still_running")
            assert refused["Retry-After"] == "1"
        go_on.set()
        answered = running.result(10)
        if connection.vendor != "postgresql":
            assert same(answered, second.result(10))

    assert same(answered, at_once.post("/memories", BODY, idempotency_key="k"))


@pytest.mark.django_db(transaction=True)
def test_others_can_write_while_a_request_with_a_key_is_prepared(at_once: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded, others = immediate.embedded, []

    def slowly(*given: Any) -> Any:
        monkeypatch.undo()
        thread = threading.Thread(
            target=closing(lambda: others.append(at_once.post("/memories", {**BODY, "coord": "2"})))
        )
        thread.start()
        thread.join(10)
        return embedded(*given)

    monkeypatch.setattr(immediate, "embedded", slowly)
    first = at_once.post("/memories/bulk", {"items": [BODY]}, idempotency_key="k")

    assert [other.status_code for other in others] == [201]
    assert same(first, at_once.post("/memories/bulk", {"items": [BODY]}, idempotency_key="k"))


@pytest.mark.once  # on PostgreSQL, the other attempt would be told that this one is still running
@pytest.mark.django_db(transaction=True)
def test_a_conflict_with_the_effect_of_another_attempt_is_answered_like_that_attempt(
    at_once: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, answers = services.store, []

    def conflicting(*given: Any) -> Any:
        monkeypatch.setattr(services, "store", store)
        answers.append(sent_by_another_thread(at_once))
        raise Conflict("the memory exists")

    monkeypatch.setattr(services, "store", conflicting)
    again = at_once.post("/memories", BODY, idempotency_key="k")

    assert same(answers[0], again)


@pytest.mark.once  # on PostgreSQL, the other attempt would be told that this one is still running
@pytest.mark.django_db(transaction=True)
def test_an_attempt_that_was_prepared_during_another_one_has_no_effect(
    at_once: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded, answers = immediate.embedded, []

    def late(*given: Any) -> Any:
        monkeypatch.setattr(immediate, "embedded", embedded)
        answers.append(sent_by_another_thread(at_once))
        return embedded(*given)

    monkeypatch.setattr(immediate, "embedded", late)
    again = at_once.post("/memories", BODY, idempotency_key="k")

    assert same(answers[0], again)
    assert version(at_once) == 1


@pytest.mark.django_db(transaction=True)
def test_a_replay_does_not_prevent_another_replay(at_once: Api) -> None:
    first = at_once.post("/memories", BODY, idempotency_key="k")
    with ThreadPoolExecutor(8) as threads:
        send = closing(lambda _: at_once.post("/memories", BODY, idempotency_key="k"))
        assert all(same(first, again) for again in threads.map(send, range(100)))


# --- Long requests -----------------------------------------------------------------------------------------------

FILE = [{"id": name, "messages": [{"role": "user", "content": name}]} for name in ("a", "b")]
IMPORT = "/api/v1/import"


@pytest.mark.django_db(transaction=True)
def test_an_import_with_a_key_is_one_transaction_per_conversation(
    at_once: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_transaction = []
    store = importing._store

    def watched(*given: Any) -> Any:
        in_transaction.append(connection.in_atomic_block)
        return store(*given)

    monkeypatch.setattr(importing, "_store", watched)
    first = at_once.post(IMPORT, FILE, idempotency_key="k")

    assert first.json()["conversations"] == {"created": 2}
    assert in_transaction == [False, False]
    assert same(first, at_once.post(IMPORT, FILE, idempotency_key="k"))


def test_a_killed_import_continues_with_the_same_key_after_its_lease(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    store, stored = importing._store, []

    def killed(*given: Any) -> Any:
        stored.append(given)
        if len(stored) == 2:
            raise SystemExit
        return store(*given)

    with monkeypatch.context() as dying:
        dying.setattr(importing, "_store", killed)
        dying.setattr(idempotency.Attempt, "release", lambda self: None)  # a killed process does nothing more
        with pytest.raises(SystemExit):
            api.post(IMPORT, FILE, idempotency_key="k")

    refused = api.post(IMPORT, FILE, idempotency_key="k")
    problem_of(refused, 409, "still_running")
    assert refused["Retry-After"] == "1"
    problem_of(api.post(IMPORT, FILE[:1], idempotency_key="k"), 422, "idempotency_key_reused")

    IdempotencyKey.objects.for_tenant(api.tenant).update(lease_until=timezone.now() - timedelta(seconds=1))
    again = api.post(IMPORT, FILE, idempotency_key="k")

    assert again.json()["conversations"] == {"unchanged": 1, "created": 1}
    assert same(again, api.post(IMPORT, FILE, idempotency_key="k"))
    assert recorded(api.tenant) == 1


def test_a_failed_import_releases_its_key_immediately(api: Api) -> None:
    problem_of(api.request("POST", IMPORT, raw=b"", idempotency_key="k"), 422, field="body")

    assert recorded(api.tenant) == 0
    assert api.post(IMPORT, FILE, idempotency_key="k").status_code == 200


def test_a_long_import_keeps_its_key_reserved(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "_RENEWAL_S", 0.0)
    monkeypatch.setattr(idempotency, "LEASE", timedelta(days=1))
    store = importing._store
    leases = []

    def watched(*given: Any) -> Any:
        row = IdempotencyKey.objects.for_tenant(api.tenant).get()
        leases.append(row.lease_until)
        return store(*given)

    monkeypatch.setattr(importing, "_store", watched)
    api.post(IMPORT, FILE, idempotency_key="k")

    assert leases[0] < leases[1]


def test_an_attempt_whose_lease_was_taken_over_records_nothing(api: Api) -> None:
    key = ApiKey.objects.get().id
    first, second = (idempotency.Attempt(api.tenant, key, "k", b"token", b"content") for _ in range(2))
    first.reserve()
    IdempotencyKey.objects.for_tenant(api.tenant).update(lease_until=timezone.now() - timedelta(seconds=1))
    second.reserve()

    first.complete(b"first")
    first.release()
    second.complete(b"second")

    assert second.first_answer() == b"second"
