"""The base of a compatibility layer: a separate API, whose routes have the policies of `api.routing`.

    router = CompatRouter("mem0", prefix="/mem0")

    @router.get("/v1/ping/", out=None, limited=True)
    def ping(request: Request) -> HttpResponse: ...

    mem0 = CompatApi("mem0", render_error)
    mem0.add_router("", router.ninja)

`somamemory/urls.py` then mounts it: `path("mem0/", mem0.urls)`.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from ninja.constants import NOT_SET

from api.app import Api, api
from api.auth import KeyAuth
from api.json import StrictParser
from api.request import Policy
from api.routing import PolicyRouter

# By method and full path, such as ("GET", "/mem0/v1/ping/").
policies: dict[tuple[str, str], Policy] = {}
without_key: set[str] = set()


class CompatRouter(PolicyRouter):
    """Declares routes that are not in the OpenAPI document. `prefix`: the path at which they are mounted."""

    def __init__(self, tag: str, *, prefix: str, auth: object = NOT_SET) -> None:
        super().__init__(tag, auth=auth)
        self.prefix = prefix

    def register(self, method: str, path: str, policy: Policy) -> None:
        policies[method, self.prefix + path] = policy
        if not self.has_caller:
            without_key.add(self.prefix + path)


class CompatApi(Api):
    """An API without a document.

    render: converts one of our problem+json responses to the error format of the product.
    """

    def __init__(self, name: str, render: Callable[[HttpResponse], HttpResponse]) -> None:
        super().__init__(parser=StrictParser(), auth=KeyAuth(), urls_namespace=name, docs_url=None, openapi_url=None)
        self.render = render

    def on_exception(self, request: HttpRequest, exc: Exception | type[Exception]) -> HttpResponse:
        return self.render(api.on_exception(request, exc))
