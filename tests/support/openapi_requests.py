"""Record the requests that schemathesis generates for an operation.

Generating them takes twice the CPU time of answering them, and they depend on the OpenAPI document alone. Therefore
scripts/test.sh names a folder in SOMA_TEST_OPENAPI_REQUESTS: the tests on SQLite record the requests there, and those
on PostgreSQL read them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import settings
from requests import PreparedRequest
from schemathesis.core.transport import Response
from schemathesis.generation.hypothesis.builder import HypothesisTestConfig, HypothesisTestMode, create_test
from schemathesis.transport.prepare import get_exclude_headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

FOLDER = os.environ.get("SOMA_TEST_OPENAPI_REQUESTS", "")
KEY = "Bearer of a recorded request"  # replaced by the key of the test
SENT = PreparedRequest()
SENT.prepare("GET", "http://localhost/")


@dataclass(frozen=True)
class Request:
    """`environ` contains the strings of a WSGI environment, and `body` one character per byte."""

    environ: dict[str, str]
    body: str
    method_is_documented: bool

    def send(self, application: Any, key: str) -> Response:
        """Call the application, and return its response. Without a key, no key is sent."""
        environ: dict[str, Any] = {**self.environ, "wsgi.input": BytesIO(self.body.encode("latin-1"))}
        environ |= {"wsgi.version": (1, 0), "wsgi.errors": BytesIO(), "wsgi.multithread": False}
        environ |= {"wsgi.multiprocess": False, "wsgi.run_once": False}
        if not key:
            environ.pop("HTTP_AUTHORIZATION", None)
        elif environ.get("HTTP_AUTHORIZATION") == KEY:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {key}"
        chunks, status, headers = run_wsgi_app(application, environ, buffered=True)
        received: dict[str, list[str]] = {}
        for name, value in headers:
            received.setdefault(name.lower(), []).append(value)
        content = b"".join(chunks)
        return Response(int(status[:3]), received, content, request=SENT, elapsed=0, verify=False)


_known: dict[str, list[Request]] = {}


def requests_for(operation: Any, bounds: settings) -> list[Request]:
    """Return the distinct requests for an operation: its examples, the limits of its schema, and random ones."""
    if operation.label not in _known:  # generating again in the same process would yield fewer
        _known[operation.label] = _read(operation, bounds) if FOLDER else record(operation, bounds)
    return _known[operation.label]


def _read(operation: Any, bounds: settings) -> list[Request]:
    path = Path(FOLDER) / hashlib.sha256(operation.label.encode()).hexdigest()
    if not path.exists():
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps([asdict(request) for request in record(operation, bounds)]))
        unfinished.replace(path)
    return [Request(**fields) for fields in json.loads(path.read_text())]


def without_header(name: str, requests: list[Request]) -> list[Request]:
    """Return the distinct requests that remain without a header."""
    shorter = [replace(request, environ=omit(request.environ, name)) for request in requests]
    return list({repr(request): request for request in shorter}.values())


def omit(values: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in values.items() if key != name}


def record(operation: Any, bounds: settings) -> list[Request]:
    found: dict[str, Request] = {}

    def record_case(case: Any) -> None:
        request = _serialized(case)
        found.setdefault(repr(request), request)

    _run(operation, record_case, bounds)
    return list(found.values())


def _serialized(case: Any) -> Request:
    assert not case.cookies
    serialized = case.as_transport_kwargs(headers={"Accept-Encoding": "identity", "Authorization": KEY})
    for header in get_exclude_headers(case):  # a required header that this case omits
        serialized["headers"].pop(header, None)
    environ = EnvironBuilder(**serialized).get_environ()
    texts = {name: value for name, value in environ.items() if isinstance(value, str)}
    return Request(
        omit(texts, "HTTP_X_SCHEMATHESIS_TESTCASEID"),  # different in each request
        environ["wsgi.input"].read().decode("latin-1"),
        method_is_documented=case.method.upper() == case.operation.method.upper(),
    )


def _run(operation: Any, check: Callable[[Any], None], bounds: settings) -> None:
    configuration = operation.schema.config
    create_test(
        operation=operation,
        test_func=check,
        config=HypothesisTestConfig(
            modes=list(HypothesisTestMode),
            project=configuration,
            settings=configuration.get_hypothesis_settings(operation=operation, phase="fuzzing"),
            explicit_settings=bounds,
        ),
    )()


@schemathesis.serializer("application/zip", "application/x-ndjson")
def _file(context: Any, value: Any) -> bytes:
    """Send any content: even a file without conversations gets a documented response."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
