"""Routes for long-running jobs that affect the whole installation."""

from __future__ import annotations

from django.http import HttpResponse

from api.json import reply
from api.operations import presenters
from api.operations.schemas import JobOut, RebuildBody, RebuildOut
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import Id
from operations import jobs

router = PolicyRouter("operators", crosses=True)


@router.post("/rebuild-embeddings", out={202: RebuildOut})
def rebuild_embeddings(request: Request, body: RebuildBody | None = None) -> HttpResponse:
    """Re-embed every memory in the background. Until the job has finished, searches use the current vectors."""
    options = body or RebuildBody()
    job = jobs.start_rebuild(
        request.caller,
        options.provider,
        options.model,
        options.dimension,
        from_stored_vectors=options.from_stored_vectors,
    )
    return reply(presenters.started(job, jobs.estimated_s()), 202, {"Location": f"/api/v1/jobs/{job.id}"})


@router.get("/jobs/{id}", out=JobOut)
def get_job(request: Request, id: Id) -> HttpResponse:
    """Show the progress of a job."""
    return reply(presenters.job(jobs.get(request.caller, id)))
