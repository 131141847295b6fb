"""Request and response schemas for health and jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.json import JsonObject
from api.schemas import Body

# --- Health ------------------------------------------------------------------------------------------------------


class PingOut(BaseModel):
    status: str


class HealthzOut(BaseModel):
    status: str
    kv_store: bool
    vector_store: bool
    graph_store: bool


class ReadyOut(BaseModel):
    ready: bool
    reason: str | None = None


class CheckOut(BaseModel):
    status: Literal["healthy", "unhealthy"]
    latency_ms: float


class ServiceOut(BaseModel):
    name: str
    healthy: bool
    latency_ms: float


class HealthOut(BaseModel):
    status: Literal["healthy", "degraded", "unhealthy"]
    healthy: bool
    version: str
    uptime_seconds: float
    checks: dict[str, CheckOut]
    services: list[ServiceOut]


# --- Jobs --------------------------------------------------------------------------------------------------------


class RebuildBody(Body):
    """The embedder to use. If the body is empty, the current embedder is used."""

    provider: Annotated[str, Field(max_length=64)] = ""
    model: Annotated[str, Field(max_length=255)] = ""
    dimension: Annotated[int, Field(ge=0, le=8192)] = 0
    from_stored_vectors: bool = False


class RebuildOut(BaseModel):
    job_id: str
    state: str
    estimated_completion_seconds: int


class JobOut(BaseModel):
    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed"]
    done: int
    total: int | None
    error: str | None
    started_at: str | None
    finished_at: str | None
    phase: str | None
    comparison: JsonObject | None
