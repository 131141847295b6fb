"""All URLs of the project."""

from typing import Any

from django.conf import settings
from django.urls import path
from django.views.generic import RedirectView

from api.app import api
from api.compat.mem0.app import mem0
from api.compat.sekha.app import sekha
from somamemory import extras
from somamemory.web.landing_page import landing_page

if extras.is_installed("mcp"):
    from api.mcp.endpoint import endpoint as mcp
else:
    from somamemory.web.not_installed import mcp

urlpatterns: list[Any] = [
    path("", landing_page),
    path("docs", RedirectView.as_view(url="/api/v1/docs")),
    path("api/v1/", api.urls),
    path("mem0/", mem0.urls),
    path("sekha/", sekha.urls),
    path("mcp", mcp),
    path("mcp/<path:namespace>", mcp),
]

if settings.COMPAT_SOMAFRACTALMEMORY:
    from api.compat.somafractalmemory.app import somafractalmemory

    urlpatterns.insert(0, path("", somafractalmemory.urls))

if settings.ADMIN:
    from console.oauth import endpoints, metadata
    from console.urls import site

    handler400 = "console.error_pages.bad_request"
    handler403 = "console.error_pages.forbidden"
    handler404 = "console.error_pages.not_found"
    handler500 = "console.error_pages.failed"

    urlpatterns += [
        path("admin/", site.urls),
        path(".well-known/oauth-authorization-server", metadata.authorization_server),
        path(".well-known/oauth-protected-resource", metadata.protected_resource),
        path(".well-known/oauth-protected-resource/<path:path>", metadata.protected_resource),
        path("oauth/token", endpoints.token),
        path("oauth/revoke", endpoints.revoke),
        path("oauth/register", endpoints.register),
        path("admin", RedirectView.as_view(url="/admin/")),
        # browsers request it automatically
        path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}console/icon.svg")),
    ]
