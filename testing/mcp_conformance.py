"""Serve the tools that the MCP conformance suite calls: `python -m testing.mcp_conformance PORT`.

The server uses the service's own MCP endpoint. The suite sends no API key, so the server adds one to each request.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.core.management import call_command

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)
SILENCE = b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00@\x1f\x00\x00\x01\x00\x08\x00data"
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


def register() -> None:
    """Register the tools that the suite calls, and make them the endpoint's default profile."""
    from django_mcpz.server import Audio, EmbeddedResource, Image, MCPServer, Text, ToolError, public

    from api.mcp import endpoint

    server = MCPServer(name="conformance", version="1", auth=public)
    outputs: dict[str, Any] = {
        "test_simple_text": "This is a simple text response for testing.",
        "test_image_content": Image(PIXEL, "image/png"),
        "test_audio_content": Audio(SILENCE, "audio/wav"),
        "test_embedded_resource": EmbeddedResource("test://embedded-resource", text="A text.", mime_type="text/plain"),
        "test_multiple_content_types": [
            Text("Multiple content types test:"),
            Image(PIXEL, "image/png"),
            EmbeddedResource("test://mixed", text='{"test":"data"}', mime_type="application/json"),
        ],
    }
    for name, output in outputs.items():
        server.tool(name=name, description="Returns content.", input_schema=NOTHING)(_returning(output))

    @server.tool(name="test_error_handling", description="Reports an error.")
    def fail(request: Any) -> None:
        raise ToolError("This tool intentionally returns an error for testing")

    server.tool(name="json_schema_2020_12_tool", description="Has a schema with all keywords.", input_schema=SCHEMA)(
        _returning("ok")
    )
    endpoint.PROFILES["default"] = server


def _returning(output: Any) -> Callable[..., Any]:
    def tool(request: Any, arguments: dict[str, Any]) -> Any:
        return output

    return tool


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def serve(port: int) -> None:
    from django.core.handlers.wsgi import WSGIHandler

    from tenants import bootstrap

    application, key = WSGIHandler(), bootstrap.path().read_text().strip()

    def with_key(environ: dict[str, Any], start_response: Any) -> Any:
        return application({**environ, "HTTP_AUTHORIZATION": f"Bearer {key}"}, start_response)

    with make_server("127.0.0.1", port, with_key, Server, Quiet) as server:
        print("ready", flush=True)
        server.serve_forever()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "somamemory.settings",
            "SOMA_DATA_DIR": folder,
            "SOMA_KEY_RATE": "0",
            "SOMA_TENANT_RATE": "0",
            "SOMA_LOG_LEVEL": "WARNING",
        }
        django.setup()
        call_command("bootstrap", stdout=sys.stderr)
        register()
        serve(int(sys.argv[1]))


if __name__ == "__main__":
    main()
