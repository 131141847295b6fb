"""Client for SomaMemory, a memory service for AI agents.

    from somamemory_client import Client

    client = Client("http://127.0.0.1:9595", api_key="…")
    client.memories.store("Ada drinks coffee", user_id="ada")
    for hit in client.memories.search("What does Ada drink?", user_id="ada"):
        print(hit["score"], hit["payload"]["text"])

`AsyncClient` has the same methods. `Client.embedded(path)` runs the service in this process.
"""

from somamemory_client import _api_errors, errors, hooks, types
from somamemory_client._api_errors import *  # noqa: F403 - one class for each code
from somamemory_client._async.client import AsyncClient
from somamemory_client._async.pages import AsyncPages
from somamemory_client._contract import OPERATIONS, VERSION
from somamemory_client._messages import AsyncTransport, Request, Response, Transport
from somamemory_client._results import BulkReport, BulkStopped, Results
from somamemory_client._sync.client import Client
from somamemory_client._sync.pages import Pages
from somamemory_client.errors import (
    ApiError,
    ConnectionFailed,
    ConnectionLost,
    IncompatibleServer,
    InvalidArgument,
    InvalidResponse,
    ResponseTimeout,
    SomaError,
    TransportError,
)

__version__ = VERSION
__all__ = [
    "OPERATIONS",
    "ApiError",
    "AsyncClient",
    "AsyncPages",
    "AsyncTransport",
    "BulkReport",
    "BulkStopped",
    "Client",
    "ConnectionFailed",
    "ConnectionLost",
    "IncompatibleServer",
    "InvalidArgument",
    "InvalidResponse",
    "Pages",
    "Request",
    "Response",
    "ResponseTimeout",
    "Results",
    "SomaError",
    "Transport",
    "TransportError",
    "errors",
    "hooks",
    "types",
]
__all__ += _api_errors.__all__
