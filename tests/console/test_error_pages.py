"""Console errors are pages for people, and problem+json for scripts."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console import example_data
from console.urls import site
from tenants.models import Tenant
from tests.conftest import Api, page, problem_of
from tests.support.staff import sign_in_staff

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def shown(response: Any, status: int, title: str) -> str:
    assert response.status_code == status
    assert response["Content-Type"].startswith("text/html")
    text: str = response.content.decode()
    assert title in text
    assert f"Status {status}" in text
    return text


def test_an_unknown_address_leads_to_a_page_with_the_sidebar(superuser: Client) -> None:
    text = shown(superuser.get("/admin/nowhere/"), 404, "Page not found")

    assert page("tenants_tenant_changelist") in text
    assert "request ID" in text


def test_a_missing_permission_leads_to_a_page_that_names_the_remedy(api: Api) -> None:
    client = sign_in_staff(api.tenant)

    text = shown(client.get(page("playground")), 403, "You do not have access to this page")

    assert "A superuser can grant it" in text
    assert page("playground") not in text


def test_an_error_of_a_page_is_shown_to_a_browser_and_sent_as_json_to_a_script(staff: Client, stranger: Api) -> None:
    path = page("conversation_export", "stranger", str(uuid4()))

    assert "tenant &#x27;stranger&#x27; does not exist" in shown(staff.get(path, headers=BROWSER), 404, "Not found")
    problem_of(staff.get(path, headers={"Accept": "application/json"}), 404, "not_found")  # type: ignore[arg-type]


def test_a_busy_database_is_503_with_retry_after(superuser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(request: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(site, "figures", busy)

    response = superuser.get(page("index"))

    problem_of(response, 503, "database_busy")  # type: ignore[arg-type]
    assert int(response["Retry-After"]) > 0


def test_an_id_that_fits_no_column_leads_to_a_page(superuser: Client) -> None:
    tenants = ContentType.objects.get_for_model(Tenant)

    shown(superuser.get(f"/admin/r/{tenants.id}/{'9' * 30}/"), 400, "Invalid request")


def test_a_form_without_a_token_is_explained(db: None) -> None:
    client = Client(enforce_csrf_checks=True)

    shown(client.post(page("login"), {"username": "superuser", "password": "x"}), 403, "The form has expired")


def test_an_unexpected_error_is_shown_without_the_database(superuser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    superuser.raise_request_exception = False
    failed_at: list[int] = []

    def fail(*_: Any) -> Any:
        failed_at.append(len(captured))
        raise RuntimeError

    monkeypatch.setattr(example_data, "offer", fail)
    with CaptureQueriesContext(connection) as captured:
        shown(superuser.get(page("index")), 500, "Something went wrong")

    assert len(captured) == failed_at[0]


def test_a_signed_out_visitor_sees_no_sidebar(db: None) -> None:
    User.objects.create_superuser("superuser")
    client = Client(enforce_csrf_checks=True)

    assert page("tenants_tenant_changelist") not in client.post(page("login")).content.decode()


def test_unknown_addresses_of_the_api_are_still_problems(db: None) -> None:
    problem_of(Client().get("/nowhere"), 404, "not_found")  # type: ignore[arg-type]
