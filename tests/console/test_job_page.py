"""A job's page shows the progress, and a script updates the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memories.models import Job
from tenants.models import Tenant
from tests.conftest import page, page_content

Make = Callable[..., Job]


@pytest.fixture
def make(superuser: Client) -> Make:
    def made(**columns: Any) -> Job:
        started = timezone.now() - timedelta(minutes=2)
        columns = {"kind": Job.Kind.REBUILD, "state": Job.State.RUNNING, "started_at": started, **columns}
        return Job.objects.create(tenant=Tenant.objects.get(slug="default"), **columns)

    return made


def job_page(client: Client, job: Job) -> str:
    return page_content(client, page("memories_job_change", job.pk))


def progress(client: Client, job: Job) -> Any:
    return client.get(page("job_progress", job.pk)).json()


def test_a_running_job_shows_its_progress_and_updates(superuser: Client, make: Make) -> None:
    job = make(done=25, total=100, data={"phase": "embed"})

    text = job_page(superuser, job)

    assert 'value="25.0"' in text
    assert "25 of 100" in text
    assert "embedding the memories" in text
    assert f'data-url="{page("job_progress", job.pk)}"' in text
    assert "data-over" not in text
    assert re.search(r"<noscript>.*Reload", text)


def test_the_progress_contains_the_values_that_the_page_shows(superuser: Client, make: Make) -> None:
    values = progress(superuser, make(done=25, total=100, data={"phase": "embed"}))

    assert values.pop("time").startswith("running for 2.0 min, about 6.")
    assert values == {
        "state": "running",
        "is_over": False,
        "percent": 25.0,
        "count": "25 of 100",
        "phase": "embedding the memories",
        "error": "",
    }


@pytest.mark.parametrize(
    ("columns", "percent"),
    [({"done": 3, "total": None}, None), ({"done": 0, "total": 0}, None), ({"done": 7, "total": 5}, 100.0)],
)
def test_a_job_of_unknown_length_has_no_percentage(
    superuser: Client, make: Make, columns: dict[str, Any], percent: float | None
) -> None:
    assert progress(superuser, make(**columns))["percent"] == percent


def test_a_finished_job_shows_its_result_and_does_not_update(superuser: Client, make: Make) -> None:
    started = timezone.now() - timedelta(minutes=2)
    over = {"kind": Job.Kind.RECONCILE, "state": Job.State.DONE, "started_at": started, "finished_at": timezone.now()}
    job = make(**over, data={"report": {"missing_points": 1234, "tenants": {"a": 1}}})

    text = job_page(superuser, job)

    assert "data-over" in text
    assert "took 2.0 min" in text
    assert "<dt>Missing points</dt><dd>1,234</dd>" in text
    assert progress(superuser, job)["is_over"] is True


def test_a_failed_job_shows_the_reason(superuser: Client, make: Make) -> None:
    text = job_page(superuser, make(state=Job.State.FAILED, error="the <provider> does not respond"))

    assert "the &lt;provider&gt; does not respond" in text
    assert "console-bad" in text


def test_starting_a_job_redirects_to_its_page(superuser: Client) -> None:
    response = superuser.post(page("memories_job_compare"), {"_form_submitted": "on"})

    assert response["HX-Redirect"] == page("memories_job_change", Job.objects.get().pk)


def test_reading_the_progress_takes_three_statements_and_writes_nothing(superuser: Client, make: Make) -> None:
    job = make()
    progress(superuser, job)

    with CaptureQueriesContext(connection) as captured:
        progress(superuser, job)

    assert len(captured) == 3  # the session, the user, the job
    assert not [query for query in captured if not query["sql"].startswith("SELECT")]


def test_staff_of_one_tenant_cannot_see_jobs(staff: Client, make: Make) -> None:
    job = make()

    assert staff.get(page("job_progress", job.pk)).status_code == 403
    assert staff.get(page("memories_job_change", job.pk)).status_code in (302, 403)
    assert Client().get(page("job_progress", job.pk)).status_code == 302


def test_the_progress_of_an_unknown_job_is_not_found(superuser: Client) -> None:
    response = superuser.get(page("job_progress", "6f1c1f0e-0000-4000-8000-000000000001"))

    assert response.status_code == 404
