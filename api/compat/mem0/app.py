"""The API that mem0's clients expect, under `/mem0`."""

from __future__ import annotations

from api.compat.layer import CompatApi
from api.compat.mem0 import (
    batch_routes,
    entity_routes,
    event_routes,
    older_routes,
    routes,
    server_routes,
    unsupported,
)
from api.compat.mem0.errors import rendered

mem0 = CompatApi("mem0", rendered)
# The first router with a matching path handles a request.
for router in (
    unsupported.router,
    older_routes.router,
    routes.router,
    batch_routes.router,
    entity_routes.router,
    event_routes.router,
    server_routes.router,
    unsupported.rest,
):
    mem0.add_router("", router.ninja)
