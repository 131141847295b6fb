"""The API object for the Sekha compatibility layer."""

from __future__ import annotations

from api.compat.layer import CompatApi
from api.compat.sekha.conversation_routes import router as conversations
from api.compat.sekha.errors import rendered
from api.compat.sekha.operation_routes import router as operations
from api.compat.sekha.operation_routes import without_key
from api.compat.sekha.search_routes import router as search
from api.compat.sekha.tool_routes import router as tools

sekha = CompatApi("sekha", rendered)
for router in (conversations, search, tools, operations, without_key):
    sekha.add_router("", router.ninja)
