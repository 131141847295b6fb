"""Detect whether the client is still waiting for its response."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from django.http import HttpRequest


def goodbye(request: HttpRequest) -> Callable[[], bool] | None:
    """Return a function that checks whether the client has closed the connection, or None if no check is possible.

    Gunicorn passes the socket. If gunicorn itself terminates TLS, the socket cannot be inspected. Behind a proxy, the
    connection belongs to the proxy, which closes it when its own client disconnects.
    """
    connection = request.META.get("gunicorn.socket")
    if not isinstance(connection, socket.socket) or isinstance(connection, ssl.SSLSocket):
        return None

    def has_closed() -> bool:
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    return has_closed
