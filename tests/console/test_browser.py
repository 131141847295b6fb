"""The admin console in headless Chromium: pages load and draw without script errors or violations of the content
policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.urls import URLPattern, URLResolver, resolve

from benchmarks.console.data import NAME, PASSWORD, READER, STAFF, create_installation
from benchmarks.console.pages import READY, SUPERUSER, Page, explore, pages
from console.models import StaffTenant
from console.urls import site
from memories.index import generations
from operations import jobs
from tenants.caller import Caller
from tenants.models import AuditEvent, Tenant
from testing.browser import Browser
from tests.conftest import drain
from tests.console.accessibility import NPM, in_dark, violations

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.once]

MAX_SCRIPT_BYTES = 150_000
# URLs that the test does not visit, with the reasons.
NOT_PAGES = {
    "login": "the test signs in",
    "logout": "accepts only a POST",
    "example": "accepts only a POST",
    "conversation_export": "a download",
    "explorer_map": "JSON for the explorer, which the test visits",
    "explorer_search": "JSON for the explorer, which the test visits",
    "explorer_memory": "JSON for the explorer, which the test visits",
    "similar_memories": "JSON for the page of a memory, which the test visits",
    "job_progress": "JSON for the page of a job: see test_browser_operations.py",
    "conversations_conversation_deleted": "redirects to the page of deleted conversations",
    "autocomplete": "JSON",
    "jsi18n": "a script",
    "search": "JSON that no page requests",
    "view_on_site": "a redirect; the console has no links to it",
    "oauth_authorize": "needs an app that is connecting: see test_oauth.py",
}
# Pages that Django provides for each model. The console rejects or redirects them: see test_strangers.py.
OF_MODELS = ("_add", "_delete", "_history")


@pytest.fixture
def browser(live_server: Any, settings: Any) -> Iterator[Browser]:
    """A browser, and 400 memories."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    Tenant.objects.get_or_create(slug="default")
    generations.forget_cached()
    create_installation(400, others=2)
    drain()
    with Browser(live_server.url) as made:
        yield made
    connection.close()


def open_dialog(browser: Browser, action: str) -> None:
    browser.click(f"a[hx-get$='/{action}/']")
    browser.until(lambda: browser.run("return document.activeElement.closest('#modal-content form') !== null"))


def confirm(browser: Browser, action: str, first: str = "") -> None:
    open_dialog(browser, action)
    browser.run(f"{first}; document.querySelector('#dialog form').requestSubmit()")


def url_names(patterns: Any) -> set[str]:
    names: set[str] = set()
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            names |= url_names(pattern.url_patterns)
        elif isinstance(pattern, URLPattern) and pattern.name:
            names.add(pattern.name)
    return names


@pytest.mark.django_db(transaction=True)
def test_all_pages_and_dialogs_work_for_a_superuser(browser: Browser) -> None:
    jobs.start_rebuild(Caller.command(Tenant.objects.get(slug="default")))  # its page has a button to cancel
    browser.sign_in(NAME, PASSWORD)
    visited: set[str] = set()
    inaccessible: dict[str, list[str]] = {}
    for page in pages():
        visit = browser.visit(page.name, page.path, page.ready)
        assert (visit.status, visit.complaints) == (200, []), page
        assert 0 < visit.script_bytes <= MAX_SCRIPT_BYTES, page
        if NPM:
            inaccessible[page.name] = [*violations(browser, _part(page)), *in_dark(browser, _part(page))]
        visited |= {page.view, *dialogs(browser, inaccessible)}
    explore(browser, "default")

    assert {visit.name: visit.complaints for visit in browser.visits if visit.complaints} == {}
    assert {"explorer-memory", "explorer-places"} <= {visit.name for visit in browser.visits}
    assert {name: broken for name, broken in inaccessible.items() if broken} == {}
    missing = url_names(site.get_urls()) - visited - set(NOT_PAGES)
    assert {name for name in missing if not name.endswith(OF_MODELS)} == set()


def _part(page: Page) -> str:
    """Return the part of a page that axe-core checks. The frame around it is the same on all pages."""
    return "html" if page.name in ("dashboard", "tenants", "user") else "#main"


def dialogs(browser: Browser, inaccessible: dict[str, list[str]]) -> set[str]:
    """Open each dialog on the page with its button, close it with Escape, and return the names of their URLs."""
    from selenium.webdriver.common.keys import Keys

    names = set()
    for path in browser.run("return [...document.querySelectorAll('[hx-get]')].map((a) => a.getAttribute('hx-get'))"):
        name = str(resolve(path).url_name)
        open_dialog(browser, path.rstrip("/").rpartition("/")[2])
        dialog = browser.driver.find_element("css selector", "#modal-content")
        assert dialog.get_attribute("role") == "dialog", name
        if NPM:
            inaccessible[name] = [*violations(browser, "#modal-content"), *in_dark(browser, "#modal-content")]
        for _ in range(browser.run("return document.querySelectorAll('#modal-content *').length > 60 ? 3 : 12")):
            browser.press(Keys.TAB)
            assert browser.run("return document.activeElement.closest('#modal-content') !== null"), name
        browser.press(Keys.ESCAPE)
        browser.until(lambda: not browser.run("return document.querySelector('#modal-content').checkVisibility()"))
        assert browser.run("return document.activeElement.getAttribute('hx-get')") == path
        names.add(name)
    assert browser.complaints() == []
    return names


@pytest.mark.django_db(transaction=True)
def test_staff_of_one_tenant_see_its_pages_and_no_other_tenant(browser: Browser) -> None:
    jobs.start_rebuild(Caller.command(Tenant.objects.get(slug="default")))
    there = pages()
    for name in (STAFF, READER):
        browser.driver.delete_all_cookies()
        browser.sign_in(name, PASSWORD)
        for page in there:
            visit = browser.visit(page.name, page.path, page.ready if page.permission != SUPERUSER else "")
            assert "tenant-1" not in browser.driver.page_source, (name, page)
            if page.permission == SUPERUSER:
                assert visit.status == 403 or browser.run("return location.pathname") == "/admin/", (name, page)
                continue
            assert (visit.status, visit.complaints) == (200, []), (name, page)
            if name == READER:
                offered = browser.run(f"return {_OFFERED}")
                assert offered == [] or page.view in ("second_factor", "password_change"), (page, offered)


# Buttons that change something. Verifying and copying only read data.
_OFFERED = """[...document.querySelectorAll('[hx-get], #main form[method=post] button')]
    .filter((element) => !element.matches('[hx-get$="/verify/"], [data-copy]'))
    .map((element) => element.getAttribute('hx-get') ?? element.textContent.trim())"""


@pytest.mark.django_db(transaction=True)
def test_dialogs_and_forms_make_the_described_change(browser: Browser) -> None:
    browser.sign_in(NAME, PASSWORD)
    browser.visit("keys", "/admin/tenants/apikey/")
    confirm(browser, "issue")
    browser.until(lambda: "This field is required" in browser.driver.page_source)
    browser.run("document.querySelector('#dialog [name=tenant]').value = 'default'")
    browser.run("document.querySelector('#dialog form').requestSubmit()")
    browser.until(lambda: browser.run("return !!document.querySelector('.console-secret textarea')"))
    assert browser.run("return document.querySelector('.console-secret textarea').value").startswith("soma_")
    assert browser.run("return document.querySelector('#dialog [type=submit]').checkVisibility()") is False

    tenant = Tenant.objects.get(slug="tenant-1")
    browser.visit("tenant", f"/admin/tenants/tenant/{tenant.pk}/change/")
    confirm(browser, "suspend")
    browser.until(lambda: "Resume" in browser.driver.page_source)
    assert not Tenant.objects.get(slug="tenant-1").active
    user = User.objects.get(username=NAME)
    assert AuditEvent.objects.filter(action="tenant.update").latest("id").actor == f"staff:{user.pk}:{NAME}"

    # A dialog reports that its action is no longer available, for example in a second tab.
    browser.run(
        f"document.querySelector('[hx-get]').setAttribute('hx-get', '/admin/tenants/tenant/{tenant.pk}/suspend/')"
    )
    browser.click("[hx-get$='/suspend/']")
    browser.until(lambda: "You do not have permission to do that." in browser.driver.page_source)
    browser.complaints()  # Chromium reports the status 403

    # A row can be added to an inline.
    reader = User.objects.get(username=READER)
    browser.visit("user", f"/admin/auth/user/{reader.pk}/change/")
    browser.run("document.querySelector('.add-row').scrollIntoView({block: 'center'})")
    browser.click(".add-row")
    browser.press("tenant-1")
    browser.click("[name=_continue]")
    browser.until(lambda: StaffTenant.objects.filter(user=reader, tenant=tenant).exists())
    assert browser.complaints() == []


@pytest.mark.django_db(transaction=True)
def test_controls_of_pages_work(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.sign_in(NAME, PASSWORD)
    browser.visit("explorer", "/admin/explorer/?tenant=default", READY)
    before = browser.run("return document.getElementById('status').textContent")
    for _ in range(4):
        browser.act("closer", lambda: browser.click("#closer"), READY)
    assert browser.run("return document.getElementById('status').textContent") != before

    # Rows of the filter builder become JSON, which the search uses.
    browser.visit("playground", "/admin/playground/?tenant=default&query=night+train")
    browser.run("document.querySelector('.play-settings').open = true")
    browser.click(".filter-rows + button")
    field, value = browser.driver.find_elements("css selector", ".filter-row input")
    field.send_keys("text")
    value.send_keys("7")
    assert browser.run("return document.querySelector('[data-filters]').value") == '{"text":{"eq":7}}'
    browser.run("document.querySelector('.play form').requestSubmit()")
    browser.until(lambda: "No memory matches" in browser.driver.page_source)
    assert "top_k" not in browser.driver.current_url

    browser.visit("second-factor", "/admin/second-factor/")
    assert browser.run("return document.querySelector('.console-card img').naturalWidth") > 0

    # unfold's own switches work without `eval`, and with the keyboard.
    browser.run("[...document.querySelectorAll('[role=button]')].find((e) => e.ariaLabel?.includes('sidebar')).focus()")
    browser.press(Keys.ENTER)
    browser.until(lambda: browser.run("return localStorage.getItem('sidebarDesktopOpen')") == "0")
    assert browser.complaints() == []
