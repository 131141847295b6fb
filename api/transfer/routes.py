"""Conversations from other services and to them."""

from __future__ import annotations

import io
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from ninja import Query

from api.enrichment.schemas import ExportParams, ImportOut, ImportParams
from api.json import PRIVATE, reply
from api.request import Request
from api.routing import PolicyRouter
from api.transfer import presenters
from conversations.selectors import Wanted
from conversations.transfer import exporting, formats, importing
from somamemory.errors import InvalidInput, UnsupportedMediaType

router = PolicyRouter("transfer")

MEDIA_TYPES = ("application/json", "application/x-ndjson", "application/zip", "text/markdown", "text/plain")
# A small archive may unpack to very much.
MAX_UNPACKED_BYTES = 200 * 1024 * 1024
_ANYTHING: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"requestBody": {"required": True, "content": dict.fromkeys(MEDIA_TYPES, _ANYTHING)}}
_FILE: dict[str, Any] = {"content": {name.split(";")[0]: {"schema": {}} for name in exporting.CONTENT_TYPES.values()}}


@router.post("/import", out={200: ImportOut, 207: ImportOut}, openapi_extra=_BODY)
def import_file(request: Request, query: Query[ImportParams]) -> HttpResponse:
    """Take over the conversations of a file, which is the body of the request.

    What is there already is not stored twice, and a conversation that has grown gets its new messages. 207 when
    something in the file could not be read; the answer says where.
    """
    if not request.body:
        raise InvalidInput("body", "is empty; it must be the file")
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMediaType("send the file with one of these as its Content-Type: " + ", ".join(MEDIA_TYPES))
    found = formats.read(io.BytesIO(request.body), query.source, query.name, MAX_UNPACKED_BYTES)
    report = importing.take_in(request.caller, found, dry_run=query.dry_run)
    return reply(presenters.import_report(report, dry_run=query.dry_run), 207 if report.failed else 200)


@router.get("/export", out=Any, openapi_extra={"responses": {200: _FILE}})
def export(request: Request, query: Query[ExportParams]) -> HttpResponseBase:
    """Conversations with all their messages, as a stream; `import` takes it back."""
    pieces = exporting.export(request.caller, Wanted(label=query.label, folder=query.folder), query.format)
    return StreamingHttpResponse(pieces, content_type=exporting.CONTENT_TYPES[query.format], headers=PRIVATE)
