"""Request and response schemas for namespaces."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from api.schemas import Body, Cursor, NamespaceName, Params, Whole


class NamespacesParams(Params):
    prefix: NamespaceName | None = None
    depth: Annotated[Whole, Field(ge=1, le=100)] | None = None
    limit: Annotated[Whole, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None


class RenameBody(Body):
    namespace: NamespaceName
    to: NamespaceName
    merge: bool = False


class DeleteNamespaceBody(Body):
    namespace: NamespaceName
    below: bool = False
    purge: bool = False


class NamespaceOut(BaseModel):
    namespace: str
    memories: int
    exact: bool


class NamespacesOut(BaseModel):
    items: list[NamespaceOut]
    next_cursor: str | None


class ReceiptOut(BaseModel):
    namespaces: list[str]
    memories: int
    links: int
    at: str
    request_id: str
