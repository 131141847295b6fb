"""Long work for the whole installation: ask for it, and see how far it has come."""

from __future__ import annotations

from django.http import HttpResponse

from api.json import reply
from api.operations import presenters
from api.operations.schemas import JobOut, RebuildBody, RebuildOut
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import Id
from operations import jobs

router = PolicyRouter("operators")


@router.post("/rebuild-embeddings", out={202: RebuildOut})
def rebuild_embeddings(request: Request, body: RebuildBody | None = None) -> HttpResponse:
    """Embed every memory anew, beside the vectors that are searched meanwhile."""
    wanted = body or RebuildBody()
    job = jobs.start_rebuild(
        request.caller,
        wanted.provider,
        wanted.model,
        wanted.dimension,
        from_stored_vectors=wanted.from_stored_vectors,
    )
    answer = {
        "job_id": str(job.id),
        "state": job.state,
        "estimated_completion_seconds": jobs.estimated_s(),
    }
    return reply(answer, 202, {"Location": f"/api/v1/jobs/{job.id}"})


@router.get("/jobs/{id}", out=JobOut)
def get_job(request: Request, id: Id) -> HttpResponse:
    """How far a job has come."""
    return reply(presenters.job(jobs.get(request.caller, id)))
