# ruff: noqa: F811 - the fixture
"""Pages outside the walk, in headless Chromium: sign-in, errors, connecting an app, and an empty installation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection

from benchmarks.console.data import NAME, PASSWORD, READER
from benchmarks.console.pages import READY
from console.models import OAuthClient
from memories.index import generations
from memories.models import Memory
from tenants.models import Tenant
from testing.browser import Browser
from tests.conftest import drain
from tests.console.accessibility import NPM, in_dark, violations
from tests.console.test_browser import browser  # noqa: F401 - a fixture
from tests.support.oauth import AUTHORIZE, CALLBACK, App

# The pages are the same with both databases.
pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.once, pytest.mark.django_db(transaction=True)]


def is_accessible(browser: Browser) -> bool:
    """Check the whole page in both themes."""
    assert not NPM or [*violations(browser), *in_dark(browser)] == []
    return True


def title(browser: Browser) -> str:
    """Return the page's heading."""
    return str(browser.run("return document.querySelector('h1').textContent.trim()"))


def test_the_sign_in_page_is_accessible_and_explains_a_refusal(browser: Browser) -> None:
    visit = browser.visit("sign-in", "/admin/login/")
    assert (visit.status, visit.complaints) == (200, [])
    assert is_accessible(browser)

    browser.driver.find_element("name", "username").send_keys(NAME)
    browser.driver.find_element("name", "password").send_keys("a wrong pass phrase")
    browser.click("#login-form button")
    browser.until(lambda: "Please enter the correct username and password" in browser.driver.page_source)
    assert is_accessible(browser)


@pytest.mark.parametrize(
    ("path", "status", "heading"),
    [("/admin/nowhere/", 404, "Page not found"), ("/admin/users/", 404, "Page not found"),
     ("/admin/slow-searches/", 403, "You do not have access to this page")],
)  # fmt: skip
def test_errors_lead_to_accessible_pages(browser: Browser, path: str, status: int, heading: str) -> None:
    browser.sign_in(READER, PASSWORD)

    visit = browser.visit("error", path)

    assert visit.status == status
    assert title(browser) == heading
    assert is_accessible(browser)
    browser.click("#main .error a")
    browser.until(lambda: title(browser) == "Dashboard")


def test_a_form_of_an_ended_session_is_explained(browser: Browser) -> None:
    browser.visit("sign-in", "/admin/login/")
    browser.driver.delete_all_cookies()

    browser.click("#login-form button")
    browser.run("document.querySelectorAll('#login-form input').forEach((input) => input.required = false)")
    browser.click("#login-form button")
    browser.until(lambda: title(browser) == "The form has expired")

    assert is_accessible(browser)


@pytest.fixture
def app(settings: Any, live_server: Any) -> OAuthClient:
    settings.OAUTH_URL = live_server.url
    return OAuthClient.objects.create(client_id="notes", name="Notes", redirect_uris=[CALLBACK])


def authorize(settings: Any, **changes: str) -> str:
    query = App(browser=None, client_id="notes").request(resource=f"{settings.OAUTH_URL}/mcp", **changes)  # type: ignore[arg-type]
    return f"{AUTHORIZE}?{urlencode(query)}"


def test_the_page_that_connects_an_app_is_accessible(browser: Browser, app: OAuthClient, settings: Any) -> None:
    browser.sign_in(NAME, PASSWORD)

    visit = browser.visit("connect", authorize(settings))

    assert (visit.status, visit.complaints) == (200, [])
    assert title(browser) == "Connect an app"
    assert is_accessible(browser)
    browser.run("document.querySelectorAll('[name=scopes]').forEach((box) => box.checked = false)")
    browser.click("[value=allow]")
    browser.until(lambda: "This field is required" in browser.driver.page_source)
    assert is_accessible(browser)


def test_an_invalid_request_of_an_app_leads_to_an_accessible_page(
    browser: Browser, app: OAuthClient, settings: Any
) -> None:
    browser.sign_in(NAME, PASSWORD)

    visit = browser.visit("refused", authorize(settings, scope="everything"))

    assert visit.status == 400
    assert title(browser) == "The app cannot be connected"
    assert is_accessible(browser)


@pytest.fixture
def empty(live_server: Any, settings: Any) -> Iterator[Browser]:
    """A browser, and an installation in its state after the first start, with a signed-in superuser."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    Tenant.objects.get_or_create(slug="default")
    generations.forget_cached()
    User.objects.create_superuser(NAME, password=PASSWORD)
    with Browser(live_server.url) as made:
        made.sign_in(NAME, PASSWORD)
        yield made
    connection.close()


def follow(browser: Browser, link: str, ready: str) -> None:
    """Open one of the dashboard's links to things to try, and check the page."""
    browser.visit("dashboard", "/admin/")
    browser.driver.find_element("partial link text", link).click()
    browser.until(lambda: browser.run(f"return document.readyState === 'complete' && {ready}"))
    assert browser.complaints() == []


def test_an_empty_installation_leads_to_three_things_to_try(empty: Browser) -> None:
    visit = empty.visit("dashboard", "/admin/")
    assert (visit.status, visit.complaints) == (200, [])
    assert "The tenant default has no memories yet." in empty.driver.page_source
    assert is_accessible(empty)

    empty.click("[name=do][value=load]")
    empty.until(lambda: "Three things to try" in empty.driver.page_source)
    assert is_accessible(empty)
    drain()

    follow(empty, "Ask a question", "!!document.querySelector('.play-hits')")
    hits = empty.run("return document.querySelector('.play-hits li').textContent")
    assert "Ada is allergic to shellfish." in hits
    assert "relevance" in hits
    follow(empty, "Read a conversation", "!!document.querySelector('.chat-turn')")
    assert "Grace is a vegetarian" in empty.driver.page_source
    follow(empty, "Explore the map", READY)
    assert "10 memories here" in empty.run("return document.getElementById('status').textContent")


def test_the_example_data_is_removed_for_good(empty: Browser) -> None:
    empty.visit("dashboard", "/admin/")
    empty.click("[name=do][value=load]")
    empty.until(lambda: "Three things to try" in empty.driver.page_source)

    empty.click("[name=do][value=remove]")
    empty.until(lambda: "The tenant default has no memories yet." in empty.driver.page_source)

    assert not Memory.objects.for_tenant(Tenant.objects.get(slug="default")).exists()
    assert empty.complaints() == []
