"""Routes that import and export conversations."""

from __future__ import annotations

import io
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from ninja import Query

from api import idempotency
from api.enrichment.schemas import ExportParams, ImportOut, ImportParams
from api.json import PRIVATE, reply
from api.request import Request
from api.routing import PolicyRouter
from api.transfer import presenters
from conversations.query import ConversationQuery
from conversations.transfer import exporting, formats, importing
from somamemory.errors import InvalidInput, UnsupportedMediaType

router = PolicyRouter("transfer")

MEDIA_TYPES = ("application/json", "application/x-ndjson", "application/zip", "text/markdown", "text/plain")
# Protects against decompression bombs: a small archive may unpack to any size.
MAX_UNPACKED_BYTES = 200 * 1024 * 1024
_ANY_FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"requestBody": {"required": True, "content": dict.fromkeys(MEDIA_TYPES, _ANY_FILE)}}
_FILE: dict[str, Any] = {"content": {name.split(";")[0]: {"schema": {}} for name in exporting.CONTENT_TYPES.values()}}


@router.post("/import", out={200: ImportOut, 207: ImportOut}, long=True, resumable=True, openapi_extra=_BODY)
def import_file(request: Request, query: Query[ImportParams]) -> HttpResponse:
    """Import conversations from a file sent as the request body.

    Importing a file again adds only new conversations and new messages. The status is 207 if parts of the file cannot
    be read; `errors` describes these parts. After 1,000 errors, the import stops.
    """
    if not request.body:
        raise InvalidInput("body", "must contain the file to import, but is empty")
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise UnsupportedMediaType("the Content-Type of the file must be one of " + ", ".join(MEDIA_TYPES))
    conversations = formats.read(
        io.BytesIO(request.body),
        query.source,
        query.name,
        MAX_UNPACKED_BYTES,
        may_be_text=media_type.startswith("text/"),
    )
    report = importing.import_conversations(
        request.caller,
        conversations,
        dry_run=query.dry_run,
        max_unreadable=importing.MAX_UNREADABLE,
        progress=lambda _: idempotency.renew(request),
    )
    return reply(presenters.import_report(report, dry_run=query.dry_run), 207 if report.failed else 200)


@router.get("/export", out=Any, long=True, limited=True, openapi_extra={"responses": {200: _FILE}})
def export(request: Request, query: Query[ExportParams]) -> HttpResponseBase:
    """Export conversations with all their messages, as a stream that `/import` accepts."""
    selected = ConversationQuery(label=query.label, folder=query.folder, **query.ids)
    pieces = exporting.export(request.caller, selected, query.format)
    return StreamingHttpResponse(pieces, content_type=exporting.CONTENT_TYPES[query.format], headers=PRIVATE)
