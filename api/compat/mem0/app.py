"""The contract of mem0's clients, under `/mem0`."""

from __future__ import annotations

from api.compat.layer import CompatApi
from api.compat.mem0.errors import rendered
from api.compat.mem0.routes import router

mem0 = CompatApi("mem0", rendered)
mem0.add_router("", router.ninja)
