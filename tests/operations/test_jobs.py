"""A job whose steps end with an unexpected error is retried a few times and then fails."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from memories.models import EmbeddingGeneration, Job
from operations import jobs
from tenants.caller import Caller
from tests.conftest import Api


class Bug(Exception):
    """An error that the code does not expect."""


@pytest.fixture
def admin(api: Api) -> Caller:
    return Caller.command(api.tenant)


def advance_failing(job: Job, monkeypatch: pytest.MonkeyPatch, error: Exception, attempts: int) -> Job:
    def fail(job: Job) -> bool:
        raise error

    with monkeypatch.context() as patch:
        patch.setitem(jobs.STEPS, job.kind, fail)
        for _ in range(attempts):
            with suppress(type(error)):
                jobs.advance()
            Job.objects.filter(id=job.id).update(lease_until=timezone.now())
    job.refresh_from_db()
    return job


def test_a_job_fails_after_several_unexpected_errors(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.start_reconcile(admin)

    assert advance_failing(job, monkeypatch, Bug("a payload"), jobs.MAX_ATTEMPTS - 1).state == "running"
    assert advance_failing(job, monkeypatch, Bug("a payload"), 1).state == "failed"
    assert job.error == "unexpected error: Bug; the log shows where it occurred"
    jobs.start_reconcile(admin)  # no Conflict


def test_a_step_that_succeeds_ends_the_count_of_unexpected_errors(
    admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.start_rebuild(admin, "hashing", dimension=24)
    advance_failing(job, monkeypatch, Bug(), jobs.MAX_ATTEMPTS - 1)

    jobs.advance()

    assert advance_failing(job, monkeypatch, Bug(), jobs.MAX_ATTEMPTS - 1).data["phase"] == "rows"


def test_a_rebuild_that_fails_with_unexpected_errors_removes_its_generation(
    admin: Caller, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.GENERATION_CACHE_S = -20  # do not wait for other processes
    job = jobs.start_rebuild(admin, "hashing", dimension=24)
    jobs.advance()
    assert EmbeddingGeneration.objects.filter(state="building").exists()

    advance_failing(job, monkeypatch, Bug(), jobs.MAX_ATTEMPTS)
    while jobs.advance():
        pass

    job.refresh_from_db()
    assert job.state == "failed"
    assert job.error == "unexpected error: Bug; the log shows where it occurred"
    assert not EmbeddingGeneration.objects.exclude(state="active").exists()


def test_a_job_waits_for_a_database_that_is_away(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.start_reconcile(admin)

    assert advance_failing(job, monkeypatch, OperationalError(), jobs.MAX_ATTEMPTS + 1).state == "running"
