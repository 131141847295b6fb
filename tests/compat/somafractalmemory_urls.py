"""The URLs of a server with SOMA_COMPAT_SOMAFRACTALMEMORY."""

from __future__ import annotations

from django.urls import path

from api.compat.somafractalmemory.app import somafractalmemory
from somamemory import urls

urlpatterns = [path("", somafractalmemory.urls), *urls.urlpatterns]
