"""Sekha's routes for summaries, labels, importance, pruning, embeddings and health."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
from django.http import HttpRequest, HttpResponse

from api.compat.changes import changes_of
from api.compat.lenient import Json, LenientRouter, known, valid
from api.compat.sekha.presenters import labels, pruning
from api.compat.sekha.requests import PREFIX, adapted, body_of, parameters
from api.conversations import routes as conversations
from api.enrichment import routes
from api.enrichment.schemas import (
    ConversationIdBody,
    ConversationIdsBody,
    PruneBody,
    PruneParams,
    SummarizeBody,
    SummaryParams,
)
from api.json import JsonObject, reply
from api.operations import health, jobs
from api.request import Request
from api.schemas import Body, Id
from operations import jobs as running
from somamemory.errors import Conflict
from somamemory.times import rfc3339

router = LenientRouter("sekha", prefix=PREFIX)
without_key = LenientRouter("sekha", prefix=PREFIX, has_key=False)


class MessageIdBody(Body):
    message_id: Id


@router.post("/api/v1/summarize", out=None, kind="llm", limited=True)
def summarize(request: Request, body: Json) -> HttpResponse:
    return routes.summarize(request, body_of(request, body, SummarizeBody))


@router.post("/api/v1/conversations/{id}/summary", out=None, kind="llm", limited=True)
def summary(request: Request, id: Id) -> HttpResponse:
    return routes.summary(request, id, parameters(request, SummaryParams))


@router.post("/api/v1/labels/suggest", out=None, kind="llm", writes=False, limited=True)
def suggest(request: Request, body: Json) -> HttpResponse:
    wanted = body_of(request, body, ConversationIdBody)
    return reply(labels(_json(routes.suggest(request, wanted)), _folder(request, wanted.conversation_id)))


@router.post("/api/v1/conversations/{id}/suggest-labels", out=None, kind="llm", writes=False, limited=True)
def suggest_labels(request: Request, id: Id) -> HttpResponse:
    suggested = _json(routes.suggest(request, ConversationIdBody(conversation_id=id)))
    return reply(labels(suggested, _folder(request, id))["suggestions"])


@router.post("/api/v1/messages/{id}/importance", out=None, kind="llm", limited=True)
def importance(request: Request, id: Id) -> HttpResponse:
    return routes.importance(request, id)


@router.post("/api/v1/messages/score", out=None, kind="llm", limited=True)
def score(request: Request, body: Json) -> HttpResponse:
    message_id = body_of(request, body, MessageIdBody).message_id
    rating = _json(routes.importance(request, message_id))
    return reply({**rating, "message_id": str(message_id), "importance_score": rating["score"], "factors": {}})


@router.post("/api/v1/prune/dry-run", out=None, kind="read")
def dry_run(request: Request, body: Json) -> HttpResponse:
    return reply(pruning(_json(routes.dry_run(request, body_of(request, body, PruneBody)))))


@router.get("/api/v1/prune/suggestions", out=None)
def prune_suggestions(request: Request) -> HttpResponse:
    changes = changes_of(request)
    query = known(dict(request.GET.items()), PruneParams, changes)
    numbers = {name: _number(value) for name, value in query.items()}
    options = valid(PruneBody, adapted(numbers, changes))
    return reply(pruning(_json(routes.dry_run(request, options)))["suggestions"])


@router.post("/api/v1/prune/execute", out=None)
def execute(request: Request, body: Json) -> HttpResponse:
    return routes.execute(request, body_of(request, body, ConversationIdsBody))


@router.post("/api/v1/rebuild-embeddings", out=None)
def rebuild_embeddings(request: Request) -> HttpResponse:
    """Start a rebuild, or return the rebuild that is already running."""
    try:
        started = _json(jobs.rebuild_embeddings(request, None))
    except Conflict:
        job = running.latest(request.caller, running.Kind.REBUILD)
        started = {"job_id": str(job.id), "state": job.state, "estimated_completion_seconds": running.estimated_s()}
    return reply({"success": True, "message": "The embeddings are being rebuilt.", "status": "started", **started}, 202)


@without_key.get("/health", out=None)
def full_health(request: HttpRequest) -> HttpResponse:
    response = health.full_health(request)
    return reply({**_json(response), "timestamp": rfc3339(datetime.now(UTC))}, response.status_code)


@without_key.get("/metrics", out=None)
def metrics(request: HttpRequest) -> HttpResponse:
    return health.show_metrics(request)


def _folder(request: Request, id: Id) -> str:
    return str(_json(conversations.fetch(request, id))["folder"]) or "/"


def _number(value: object) -> object:
    try:
        return float(str(value))
    except ValueError:
        return value


def _json(response: HttpResponse) -> JsonObject:
    body: JsonObject = orjson.loads(response.content)
    return body
