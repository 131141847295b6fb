"""The API object for the SomaFractalMemory compatibility layer."""

from __future__ import annotations

from django.http import HttpResponse

from api.compat.layer import CompatApi, with_400
from api.compat.somafractalmemory.health_routes import router as health
from api.compat.somafractalmemory.health_routes import with_key
from api.compat.somafractalmemory.memory_routes import router as memories


def rendered(problem: HttpResponse) -> HttpResponse:
    """Convert a problem response in place. It already contains `detail`; for invalid input, the status becomes 400."""
    problem["Content-Type"] = "application/json"
    return with_400(problem)


somafractalmemory = CompatApi("somafractalmemory", rendered)
for router in (memories, health, with_key):
    somafractalmemory.add_router("", router.ninja)
