"""The client's connection: whether the client still waits for its response."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from django.http import HttpRequest


def goodbye(request: HttpRequest) -> Callable[[], bool] | None:
    """Return a function that says whether the client has closed the connection; None where that is unknown.

    gunicorn passes the socket. Behind TLS of its own it cannot be read ahead; behind a proxy it is the proxy's
    connection, which a proxy closes when its own client has gone.
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
