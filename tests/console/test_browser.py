"""The admin console in headless Chromium: pages load and draw, without errors of scripts or the content policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from benchmarks.console import NAME, PASSWORD, READY, Browser, furnish, walk
from memories.index import generations
from tenants.models import AuditEvent, Tenant
from tests.conftest import drain

pytestmark = [pytest.mark.server, pytest.mark.browser]


@pytest.fixture
def browser(live_server: Any, settings: Any) -> Iterator[Browser]:
    """A signed-in superuser, and a few hundred memories."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    Tenant.objects.get_or_create(slug="default")
    generations.forget_cached()
    furnish(900, others=2)
    drain()
    with Browser(live_server.url) as made:
        made.sign_in(NAME, PASSWORD)
        yield made
    connection.close()


def confirm(browser: Browser, action: str, first: str = "") -> None:
    """Click the button of an action. When htmx has processed its form, submit the dialog."""
    browser.click(f"a[hx-get$='/{action}/']")
    in_hand = "!!(document.querySelector('#dialog form') || {})['htmx-internal-data']"
    browser.until(lambda: browser.run(f"return {in_hand}"))
    browser.run(f"{first}; document.querySelector('#dialog form').requestSubmit()")


@pytest.mark.django_db(transaction=True)
def test_a_walk_through_every_page_meets_no_error(browser: Browser) -> None:
    walk(browser)

    assert {visit.name: visit.complaints for visit in browser.visits if visit.complaints} == {}
    assert {"dashboard", "explorer", "explorer-memory", "explorer-places", "memory", "user"} <= {
        visit.name for visit in browser.visits
    }

    # Changes: a dialog, its form, and the page after it.
    browser.visit("keys", "/admin/tenants/apikey/")
    confirm(browser, "issue", "document.querySelector('#dialog [name=tenant]').value = 'tenant-1'")
    browser.until(lambda: browser.run("return !!document.querySelector('.console-secret textarea')"))
    assert browser.run("return document.querySelector('.console-secret textarea').value").startswith("soma_")
    assert browser.run("return document.querySelector('#dialog [type=submit]').checkVisibility()") is False

    tenant = Tenant.objects.get(slug="tenant-1")
    browser.visit("tenant", f"/admin/tenants/tenant/{tenant.pk}/change/")
    confirm(browser, "suspend")
    browser.until(lambda: "Resume" in browser.driver.page_source)
    assert not Tenant.objects.get(slug="tenant-1").active
    user = User.objects.get(username=NAME)
    assert AuditEvent.objects.get(action="tenant.update").actor == f"staff:{user.pk}:{NAME}"

    # The map reacts to buttons, and shows an empty tenant.
    browser.visit("explorer", "/admin/explorer/?tenant=tenant-2", READY)
    before = browser.run("return document.getElementById('status').textContent")
    for _ in range(4):
        browser.act("closer", lambda: browser.click("#closer"), READY)
    assert browser.run("return document.getElementById('status').textContent") != before
    browser.visit("explorer-empty", "/admin/explorer/?tenant=tenant-2&namespace=nothing", READY)

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

    # unfold's own buttons work without evaluating text.
    toggle = "[...document.querySelectorAll('span')].find((span) => span.getAttribute('x-on:click') === arguments[0])"
    browser.run(f"{toggle.replace('arguments[0]', repr('sidebarDesktopOpen = !sidebarDesktopOpen'))}.click()")
    browser.until(lambda: browser.run("return localStorage.getItem('sidebarDesktopOpen')") == "0")
    assert browser.complaints() == []
