"""The state of an MCP message, shared by the endpoint and the tools."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from django.http import HttpRequest

# Headers to copy from a route's response to the response to the MCP message.
PASSED_ON = ("RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@dataclass
class Message:
    """An MCP message that is being processed.

    namespace: the namespace in the URL, which all tools use.
    requests: how often the tools have sent each request to a route, keyed by the request's hash.
    headers: the headers for the response.
    """

    namespace: str
    requests: Counter[str] = field(default_factory=Counter)
    headers: dict[str, str] = field(default_factory=dict)


def attach(request: HttpRequest, message: Message) -> None:
    vars(request)["mcp"] = message


def message_of(request: HttpRequest) -> Message:
    message: Message = vars(request)["mcp"]
    return message
