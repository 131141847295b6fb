"""Responses that contain one memory, with its version as the ETag."""

from __future__ import annotations

from django.http import HttpResponse

from api import preconditions
from api.json import PRIVATE, reply
from api.memories import presenters
from api.request import Request
from memories.models import Memory
from memories.services import Stored


def stored(stored: Stored) -> HttpResponse:
    return reply(presenters.stored(stored), 201 if stored.created else 200, preconditions.etag(stored.memory.version))


def fetched(request: Request, memory: Memory) -> HttpResponse:
    headers = preconditions.etag(memory.version)
    if preconditions.is_not_modified(request, memory.version):
        return HttpResponse(status=304, headers={**PRIVATE, **headers})
    return reply({"memory": presenters.memory(memory)}, headers=headers)


def changed(memory: Memory) -> HttpResponse:
    return reply({"memory": presenters.memory(memory)}, headers=preconditions.etag(memory.version))
