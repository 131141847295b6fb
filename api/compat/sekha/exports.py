"""Return an export as a single string, for clients that expect it in the `content` field."""

from __future__ import annotations

from typing import Annotated, Literal

from django.http import HttpResponse
from pydantic import Field

from api.compat.sekha.requests import parameters
from api.conversations.schemas import Folder, Label
from api.json import reply
from api.request import Request
from api.schemas import Id, Params
from conversations import selectors
from conversations.query import ConversationQuery
from conversations.transfer import exporting
from somamemory.errors import InvalidInput

MAX_BYTES = 32 * 1024 * 1024


class ExportParams(Params):
    label: Label | None = None
    folder: Folder | None = None
    conversation_id: Annotated[Id | None, Field()] = None
    format: Literal["json", "markdown"] = "markdown"


def exported(request: Request) -> HttpResponse:
    """Return an export as a single string. Raises InvalidInput if it is too large for one response."""
    query = parameters(request, ExportParams)
    if query.conversation_id is not None:
        selectors.get(request.caller, query.conversation_id)  # raises NotFound
    selected = ConversationQuery(label=query.label, folder=query.folder, id=query.conversation_id)
    return reply(
        {
            "content": text_of(request, selected, query.format),
            "format": query.format,
            "conversation_count": selectors.count(request.caller, selected),
        }
    )


def text_of(request: Request, selected: ConversationQuery, format: str) -> str:
    content = bytearray()
    for piece in exporting.export(request.caller, selected, format):
        content += piece
        if len(content) > MAX_BYTES:
            raise InvalidInput(
                "folder", f"selects more than {MAX_BYTES >> 20} MiB; export fewer conversations, or use /api/v1/export"
            )
    return content.decode()
