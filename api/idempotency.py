"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): makes it safe to retry a write."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import orjson
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from api.auth import token_of
from api.request import Request
from conversations.lifecycle import tiers
from somamemory.db.collisions import retrying
from somamemory.db.late_transaction import begun_with
from somamemory.errors import MalformedRequest, SomaError
from tenants.idempotency import Attempt

View = Callable[..., HttpResponse]

HEADER = "Idempotency-Key"
_FORM = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")

PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Remembered for 48 hours: a retried request returns the first response and changes nothing.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def once(view: View) -> View:
    """Wrap a view so that it takes effect only once per Idempotency-Key.

    Only successful responses are recorded. A failed request has no effect and can be retried.
    """

    @wraps(view)
    def run_once(request: Request, *args: Any, **values: Any) -> HttpResponse:
        attempt = _attempt(request)
        if attempt is None:
            return view(request, *args, **values)

        def run() -> HttpResponse:
            request.admission.charged = 0
            return view(request, *args, **values)

        if request.admission.policy.resumable:
            return _resumable(attempt, request, run)
        # Restoring a cold conversation uses the network, so it happens after a rollback.
        return tiers.warmed(request.caller, lambda: _in_one_transaction(attempt, run))

    return run_once


def _in_one_transaction(attempt: Attempt, view: Callable[[], HttpResponse]) -> HttpResponse:
    """Run a view and record its response. An exception rolls back everything the view has written.

    After a deadlock, the view runs again from the start. Its own retries cannot succeed, because the database has
    aborted the whole transaction.
    """
    if (recorded := attempt.early_answer()) is not None:
        return _replay(recorded)

    def check() -> None:
        if (recorded := attempt.first_answer()) is not None:
            raise _Answered(recorded)

    def work() -> HttpResponse:
        response = view()
        if response.status_code >= 400:
            transaction.set_rollback(True)
        else:
            attempt.record(_serialize(response))
        return response

    try:
        return retrying(work, within=lambda: begun_with(check))
    except _Answered as answered:
        return _replay(answered.recorded)
    except SomaError:  # may be a conflict with what another attempt has written
        if (recorded := attempt.early_answer()) is None:
            raise
        return _replay(recorded)


class _Answered(BaseException):
    """Raised if another attempt has already succeeded. Not an Exception subclass, so that no other layer handles it."""

    def __init__(self, recorded: bytes) -> None:
        super().__init__()
        self.recorded = recorded


def _resumable(attempt: Attempt, request: Request, view: Callable[[], HttpResponse]) -> HttpResponse:
    """Run a view that uses several transactions and is safe to retry.

    While it runs, the view calls `renew` to keep the Idempotency-Key reserved.
    """
    if (recorded := attempt.reserve()) is not None:
        return _replay(recorded)
    request.admission.attempt = attempt
    try:
        response = view()
    except BaseException:  # even if the worker is stopped, so that the client can retry immediately
        attempt.release()
        raise
    if response.status_code >= 400:
        attempt.release()
    else:
        attempt.complete(_serialize(response))
    return response


def renew(request: Request) -> None:
    """Reserve a long request's Idempotency-Key, if it has one, for another minute."""
    if (attempt := request.admission.attempt) is not None:
        attempt.renew()


def _attempt(request: Request) -> Attempt | None:
    """Return the attempt for a request's Idempotency-Key, or None if it has none.

    Raises MalformedRequest if the key is invalid.
    """
    key, caller = request.META.get("HTTP_IDEMPOTENCY_KEY"), request.caller
    if key is None or caller.key_id is None:
        return None
    if not _FORM.fullmatch(key):
        raise MalformedRequest(f"{HEADER} must be 1 to 255 printable ASCII characters")
    return Attempt(caller.tenant, caller.key_id, key, _secret(request), _fingerprint(request))


def _secret(request: Request) -> bytes:
    """Return the secret that protects the stored response: the API key, unless it belongs to a connected app.

    A connected app's key gets a new secret every few minutes. The app must be able to retry a request with the new
    secret.
    """
    if request.caller.delegated:
        return salted_hmac("api.idempotency", str(request.caller.key_id), algorithm="sha256").digest()
    return token_of(request).encode()


def _fingerprint(request: HttpRequest) -> bytes:
    """Return everything that must match for two requests to count as the same request.

    The fingerprint includes `path_info`, which begins with /api/v1 even if the client used an alias at the root.
    """
    head = f"{request.method} {request.path_info}?{request.META.get('QUERY_STRING', '')}\n"
    return head.encode("utf-8", "surrogateescape") + request.body


def _serialize(response: HttpResponse) -> bytes:
    return orjson.dumps([response.status_code, dict(response.items()), response.content.decode()])


def _replay(recorded: bytes) -> HttpResponse:
    status, headers, content = orjson.loads(recorded)
    return HttpResponse(content, status=status, headers={**headers, "Idempotent-Replayed": "true"})
