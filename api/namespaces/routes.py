"""Routes for namespaces: list, rename, delete."""

from __future__ import annotations

from functools import partial

from django.http import HttpResponse
from ninja import Query

from api import idempotency, throttle
from api.json import reply
from api.namespaces import presenters
from api.namespaces.schemas import DeleteNamespaceBody, NamespacesOut, NamespacesParams, ReceiptOut, RenameBody
from api.request import Request
from api.routing import PolicyRouter
from graph import namespaces
from memories.namespaces import list_namespaces

router = PolicyRouter("namespaces")


@router.get("/namespaces", out=NamespacesOut, limited=True)
def list_all(request: Request, query: Query[NamespacesParams]) -> HttpResponse:
    """List the namespaces that contain memories, with the number of memories in each."""
    throttle.charge(request, query.limit, per=10)
    page = list_namespaces(request.caller, query.prefix, depth=query.depth, limit=query.limit, cursor=query.cursor)
    return reply(presenters.page(page))


@router.post("/namespaces/rename", out=ReceiptOut, long=True, resumable=True)
def rename(request: Request, body: RenameBody) -> HttpResponse:
    """Move the memories and links in a namespace to another namespace.

    If the request is interrupted, send it again with `merge: true`.
    """
    receipt = namespaces.rename(
        request.caller, body.namespace, body.to, merge=body.merge, progress=partial(idempotency.renew, request)
    )
    return reply(presenters.receipt(receipt))


@router.post("/namespaces/delete", out=ReceiptOut, long=True, resumable=True)
def delete(request: Request, body: DeleteNamespaceBody) -> HttpResponse:
    """Delete the memories in a namespace. With `purge`, permanently delete its memories and links.

    If the request is interrupted, send it again.
    """
    receipt = namespaces.delete(
        request.caller, body.namespace, below=body.below, purge=body.purge, progress=partial(idempotency.renew, request)
    )
    return reply(presenters.receipt(receipt))
