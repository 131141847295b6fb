# ruff: noqa: F811 - the fixture
"""Pages that change while they are open, in headless Chromium: the progress of a job, the editor, and restores."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from benchmarks.console.data import NAME, PASSWORD
from memories.models import Job
from tenants.models import Tenant
from testing.browser import Browser
from tests.conftest import Api, issue_key
from tests.console.test_browser import browser, confirm  # noqa: F401 - a fixture

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.once, pytest.mark.django_db(transaction=True)]
COUNT = "return document.querySelector('#job [data-show=count]').textContent"


def api_of(slug: str) -> Api:
    tenant = Tenant.objects.get(slug=slug)
    return Api(issue_key(tenant), tenant)


def running_job() -> Job:
    later = timezone.now() + timedelta(hours=1)
    tenant = Tenant.objects.get(slug="default")
    columns = {"state": Job.State.RUNNING, "started_at": timezone.now(), "lease_until": later}
    return Job.objects.create(tenant=tenant, kind=Job.Kind.REBUILD, done=1, total=4, **columns)


def test_the_page_of_a_job_updates_until_the_job_ends(browser: Browser) -> None:
    browser.sign_in(NAME, PASSWORD)
    job = running_job()
    browser.visit("job", f"/admin/memories/job/{job.pk}/change/")
    assert browser.run(COUNT) == "1 of 4"

    Job.objects.filter(pk=job.pk).update(done=3)
    browser.until(lambda: browser.run(COUNT) == "3 of 4")
    assert browser.run("return document.querySelector('#job progress').value") == 75
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE, done=4, finished_at=timezone.now())
    browser.until(lambda: browser.run("return document.querySelector('#job').hasAttribute('data-over')"))

    assert browser.run(COUNT) == "4 of 4"
    requests = (
        "return performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/progress/')).length"
    )
    assert browser.run(requests) == 0  # the page of a finished job sends no requests
    assert browser.complaints() == []


def test_a_deleted_job_is_not_requested_again(browser: Browser) -> None:
    browser.sign_in(NAME, PASSWORD)
    job = running_job()
    browser.visit("job", f"/admin/memories/job/{job.pk}/change/")

    job.delete()

    browser.until(lambda: "is no longer available" in browser.run("return document.body.textContent"))


def test_the_editor_preserves_the_text_after_a_concurrent_change(browser: Browser) -> None:
    browser.sign_in(NAME, PASSWORD)
    api = api_of("default")
    id = api.store("9,9", "Ada lives in Bern")["id"]
    browser.visit("edit", f"/admin/memories/memory/default/{id}/change/?edit=form")
    field = browser.driver.find_element("css selector", "[name=value-0]")
    field.clear()
    field.send_keys("Ada lives in Rome")
    api.patch("/memories/9,9", {"payload": {"text": "Ada lives in Paris"}})

    browser.click(".memory-edit [value=edit]")
    browser.until(lambda: "was changed after you opened it" in browser.driver.page_source)
    assert api.get("/memories/9,9").json()["memory"]["payload"]["text"] == "Ada lives in Paris"
    browser.click(".memory-edit [value=edit]")
    browser.until(lambda: "The payload was saved." in browser.driver.page_source)

    assert api.get("/memories/9,9").json()["memory"]["payload"]["text"] == "Ada lives in Rome"
    assert browser.complaints() == []


def test_a_deleted_conversation_is_restored_in_a_few_clicks(browser: Browser) -> None:
    browser.sign_in(NAME, PASSWORD)
    api = api_of("default")
    said = [{"role": "user", "content": "No sugar, please."}]
    id = api.post("/api/v1/conversations", {"label": "Coffee", "messages": said}).json()["id"]
    browser.visit("conversation", f"/admin/conversations/conversation/{id}/change/?tenant=default")

    confirm(browser, "remove")
    browser.until(lambda: "The conversation was deleted." in browser.driver.page_source)
    browser.driver.find_element("link text", "restore it").click()
    browser.until(lambda: browser.run("return !!document.querySelector('[aria-label=\"Restore Coffee\"]')"))
    browser.click("[aria-label='Restore Coffee']")
    browser.until(lambda: "The conversation was restored." in browser.driver.page_source)

    assert "No sugar, please." in browser.driver.page_source
    assert api.get(f"/api/v1/conversations/{id}").status_code == 200
    assert browser.complaints() == []


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)])
def test_dialogs_fit_and_show_the_complete_secret(browser: Browser, size: tuple[int, int]) -> None:
    browser.sign_in(NAME, PASSWORD)
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.visit("keys", "/admin/tenants/apikey/")
    browser.run("document.querySelector(\"a[hx-get$='/issue/']\").click()")  # the button is in a menu on a phone
    browser.until(lambda: browser.run("return document.activeElement.closest('#modal-content form') !== null"))
    fits = "const box = document.querySelector('#modal-content').getBoundingClientRect(); return [box.top, box.bottom]"

    top, bottom = browser.run(fits)
    assert 0 <= top < bottom <= height
    chosen = "document.querySelector('#dialog [name=tenant]').value = 'tenant-1'"
    browser.run(f"{chosen}; document.querySelector('#dialog form').requestSubmit()")
    browser.until(lambda: browser.run("return !!document.querySelector('.console-secret textarea')"))

    hidden = (
        "const area = document.querySelector('.console-secret textarea'); return area.scrollHeight - area.clientHeight"
    )
    assert browser.run(hidden) == 0
