"""The API: authentication, error handlers, routers."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import REF_TEMPLATE, OpenAPISchema
from ninja.schema import NinjaGenerateJsonSchema

import somamemory
from api import routing
from api.auth import KeyAuth
from api.context.routes import router as context
from api.contract import document
from api.conversations.routes import router as conversations
from api.enrichment.proposal_routes import router as proposals
from api.enrichment.routes import router as enrichment
from api.field_errors import field_errors
from api.graph.routes import router as graph
from api.json import StrictParser
from api.map.routes import router as map
from api.memories.routes import router as memories
from api.memories.routes_by_name import router as memories_by_name
from api.memories.time_routes import router as time
from api.namespaces.routes import router as namespaces
from api.operations.health import router as health
from api.operations.jobs import router as jobs
from api.schemas import Problem
from api.search.routes import router as search
from api.tenants.routes import router as tenants
from api.transfer.routes import router as transfer
from somamemory.errors import (
    InvalidInput,
    MalformedRequest,
    PayloadTooLarge,
    SomaError,
)
from somamemory.web.problems import database_problem, problem
from somamemory.web.request_state import state_of

log = logging.getLogger("soma.errors")


class Api(NinjaAPI):
    # Ninja creates a response per request, so that views can set headers and cookies on it. Our views create their
    # own responses, so all requests share a single one, which is never used.
    _unused_response = HttpResponse()

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        return self._unused_response

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._documents: dict[str, OpenAPISchema] = {}

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the OpenAPI document, which is built on first use (about 0.3 s)."""
        name = str({option: value for option, value in options.items() if value})
        if name not in self._documents:
            self._documents[name] = self._built(**options)
        return self._documents[name]

    def _built(self, **options: Any) -> OpenAPISchema:
        """Build the document. Add the texts from `api.contract`, and the problem schema to which all routes refer."""
        schema = super().get_openapi_schema(**options)
        problem_schema = Problem.model_json_schema(
            ref_template=REF_TEMPLATE, schema_generator=NinjaGenerateJsonSchema, mode="serialization"
        )
        schema["components"]["schemas"].update({**problem_schema.pop("$defs"), Problem.__name__: problem_schema})
        document.complete(schema, routing.policies, routing.without_key)
        return schema


api = Api(
    title="SomaMemory",
    version=somamemory.__version__,
    description="A memory service for AI agents. Every memory is a JSON object at a coordinate.",
    parser=StrictParser(),
    auth=KeyAuth(),
    urls_namespace="api",
)
# The order matters: `search`, `map` and `memories_by_name` come before `memories`. Otherwise, /memories/search would be
# parsed as a coordinate, and a key that ends in /restore would be mistaken for a route.
for router in (
    search,
    map,
    memories_by_name,
    time,
    memories,
    namespaces,
    graph,
    conversations,
    context,
    enrichment,
    proposals,
    transfer,
    tenants,
    jobs,
    health,
):
    api.add_router("", router.ninja)


@api.exception_handler(SomaError)
def on_soma_error(request: HttpRequest, error: SomaError) -> HttpResponse:
    return problem(request, error)


@api.exception_handler(ValidationError)
def on_invalid_input(request: HttpRequest, error: ValidationError) -> HttpResponse:
    # A location begins with the source of the value and, for a body, the name of the view's argument.
    fields = field_errors({**item, "loc": item["loc"][2 if item["loc"][0] == "body" else 1 :]} for item in error.errors)
    return problem(request, InvalidInput(*fields[0], **dict(fields[1:])))


@api.exception_handler(HttpError)
def on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, SomaError):  # Ninja wraps errors raised by the parser
        return problem(request, error.__cause__)
    if isinstance(error.__cause__, RequestDataTooBig):
        return problem(request, PayloadTooLarge())
    return problem(request, MalformedRequest(str(error)), status=error.status_code)


@api.exception_handler(RequestDataTooBig)
def on_too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return problem(request, PayloadTooLarge())


@api.exception_handler(UnreadablePostError)
def on_unreadable(request: HttpRequest, error: UnreadablePostError) -> HttpResponse:
    return problem(request, MalformedRequest("the body is shorter than its Content-Length; send it again"))


@api.exception_handler(DatabaseError)
@api.exception_handler(InterfaceError)
def on_database_down(request: HttpRequest, error: DatabaseError | InterfaceError) -> HttpResponse:
    return database_problem(request, error) or on_bug(request, error)


@api.exception_handler(Exception)
def on_bug(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("unhandled error", extra={"request_id": state_of(request).request_id}, exc_info=error)
    return problem(request, SomaError("unexpected error; look for this request_id in the server log"))
