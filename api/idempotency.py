"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a writing POST may be sent again without harm."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import orjson
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from api.auth import Request, token_of
from somamemory.errors import MalformedRequest
from tenants.idempotency import Attempt

View = Callable[..., HttpResponse]

HEADER = "Idempotency-Key"
_FORM = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")

PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Kept for 48 hours: the same request sent again gets the first answer, and has no second effect.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def once(view: View) -> View:
    """The view, having its effect once for each Idempotency-Key. Only what succeeds is kept: a failure has none."""

    @wraps(view)
    def answered_once(request: Request, *args: Any, **values: Any) -> HttpResponse:
        key, caller = request.headers.get(HEADER), request.caller
        if key is None or caller.key_id is None:
            return view(request, *args, **values)
        if not _FORM.fullmatch(key):
            raise MalformedRequest(f"{HEADER} must be 1 to 255 printable ASCII characters")
        attempt = Attempt(caller.tenant, caller.key_id, key, token_of(request).encode(), _content(request))
        # An error leaves the block by itself, and takes back whatever the view had begun.
        with transaction.atomic():
            known = attempt.first_answer()
            if known is not None:
                return _replayed(known)
            response = view(request, *args, **values)
            if response.status_code >= 400:
                transaction.set_rollback(True)
            else:
                attempt.record(_recorded(response))
        return response

    return answered_once


def _content(request: HttpRequest) -> bytes:
    """What must be the same for it to be the same request. The path is below /api/v1, also where an alias was used."""
    head = f"{request.method} {request.path_info}?{request.META.get('QUERY_STRING', '')}\n"
    return head.encode("utf-8", "surrogateescape") + request.body


def _recorded(response: HttpResponse) -> bytes:
    return orjson.dumps([response.status_code, dict(response.items()), response.content.decode()])


def _replayed(recorded: bytes) -> HttpResponse:
    status, headers, content = orjson.loads(recorded)
    return HttpResponse(content, status=status, headers={**headers, "Idempotent-Replayed": "true"})
