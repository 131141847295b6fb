"""The contract of mem0's clients, under `/mem0`."""

from __future__ import annotations

from api.compat.layer import CompatApi
from api.compat.mem0 import batch_routes, entity_routes, event_routes, routes, server_routes, unsupported
from api.compat.mem0.errors import rendered

mem0 = CompatApi("mem0", rendered)
for module in (routes, batch_routes, entity_routes, event_routes, server_routes, unsupported):
    mem0.add_router("", module.router.ninja)
