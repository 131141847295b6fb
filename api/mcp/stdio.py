"""Serve MCP on standard input and output: one JSON-RPC message per line.

Messages go to the server at a URL, to the server for this data folder, or to this process.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from django_mcpz.headers import encode_header_value

from api.mcp.remote_server import RemoteServer, Unreachable

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
_TOO_LONG, _NOT_SERVED = -32600, -32000
_VERSION = "io.modelcontextprotocol/protocolVersion"


# Takes the body and headers; returns the status, media type and content.
Send = Callable[[bytes, dict[str, str]], tuple[int, str, bytes]]


def main(
    url: str | None,
    api_key: str | None,
    tenant: str | None = None,
    namespace: str | None = None,
    profile: str | None = None,
) -> None:
    """Serve until the end of standard input. For the parameters and errors, see `connected`."""
    source, out = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # only messages may appear on standard output
    with connected(url, api_key, tenant, namespace, profile) as send:
        serve(send, source, out)


@contextmanager
def connected(
    url: str | None, api_key: str | None, tenant: str | None, namespace: str | None, profile: str | None
) -> Iterator[Send]:
    """Yield a function that sends a message to the endpoint.

    Raises ConfigurationError if the URL, the key or the tenant cannot be used.

    url: the server's URL. Without one, messages go to the server for this data folder or, if none is running, to this
    process. Django must then be set up.
    """
    path = f"/mcp/{quote(namespace)}" if namespace else "/mcp"
    if profile:
        path += "?" + urlencode({"profile": profile})
    if url:
        yield RemoteServer(url, path, api_key or "", tenant).send
        return
    from api.mcp import local_server  # needs Django

    with local_server.opened(path, api_key, tenant) as send:
        yield send


def serve(send: Send, source: BinaryIO, out: BinaryIO) -> None:
    """Answer each line of `source` with a line on `out`."""
    while line := source.readline(MAX_MESSAGE_BYTES + 1):
        if len(line) > MAX_MESSAGE_BYTES:
            _skip_line(source)
            answer: bytes | None = _error(None, _TOO_LONG, f"a message must be at most {MAX_MESSAGE_BYTES} bytes long")
        elif not line.strip():
            continue
        else:
            answer = _answer(send, line.strip())
        if answer:
            out.write(answer + b"\n")
            out.flush()


def _answer(send: Send, line: bytes) -> bytes | None:
    message = _parsed(line)
    try:
        status, media_type, content = send(line, _headers(message))
    except Unreachable as error:
        return _failed(message, str(error))
    answer = _parsed(content)
    if media_type == "application/problem+json" and "detail" in answer:
        return _failed(message, answer["detail"])
    if content and "jsonrpc" not in answer:
        return _failed(message, f"another server, such as a proxy, responded with status {status}; check SOMA_URL")
    if content and answer.get("id") is None and isinstance(id := message.get("id"), str | int):
        # The server does not read the id of a message that it rejects. If the response had no id, the client would wait
        # forever.
        return _encoded(answer | {"id": id})
    return content or None


def _headers(message: dict[str, Any]) -> dict[str, str]:
    """Return the headers that protocol version 2026-07-28 requires over HTTP, and an Idempotency-Key."""
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    params = message.get("params")
    if not isinstance(params, dict) or not isinstance(meta := params.get("_meta"), dict):
        return headers
    if isinstance(version := meta.get(_VERSION), str):
        headers |= {"MCP-Protocol-Version": version, "Mcp-Method": str(message.get("method", ""))}
        if isinstance(name := params.get("name"), str):
            headers["Mcp-Name"] = encode_header_value(name)
    # HTTP headers cannot contain other characters. The server rejects a message that lacks a required header.
    return {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}


def _parsed(line: bytes) -> dict[str, Any]:
    """Return the message, or an empty one if it is malformed."""
    try:
        message = json.loads(line)  # unlike orjson, reads values such as lone surrogates, which the server rejects
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _failed(message: dict[str, Any], reason: str) -> bytes | None:
    """Return the response to a message that no server has processed, or None for a notification."""
    print(f"somamemory: {reason}", file=sys.stderr, flush=True)
    return _error(message["id"], _NOT_SERVED, reason) if "id" in message else None


def _error(id: object, code: int, reason: str) -> bytes:
    return _encoded({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": reason}})


def _encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _skip_line(source: BinaryIO) -> None:
    while (rest := source.readline(MAX_MESSAGE_BYTES)) and not rest.endswith(b"\n"):
        pass
