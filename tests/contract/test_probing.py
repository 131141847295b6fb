"""Probe every page of the console: as users without access, and with unusual input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver
from django.utils.html import escape

from console.urls import site
from conversations.models import Conversation
from graph.models import Link
from memories.models import Job, Memory
from tenants import registry
from tenants.models import ApiKey, AuditEvent, Tenant
from tests.conftest import Api

PLANTED = "xyzzyplugh"
ODD_IDS = ["9" * 40, "\0", "a/b"]
ODD_VALUES = ["\0", "9" * 40]
PARAMETERS = [
    "tenant", "namespace", "q", "order", "type", "cursor", "after", "of", "action", "status", "p", "state__exact",
]  # fmt: skip
OF_THE_EXPLORER = ["tenant", "namespace", "q", "id", "at", "prefix", "depth", "axes", "box", "memory_type", "cells"]
OF_AUTOCOMPLETE = ["term", "app_label", "model_name", "field_name", "page"]
# Sign-in, sign-out, and a file that is the same for all users.
PUBLIC = {"login", "logout", "jsi18n"}


def _patterns(entries: list[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in entries:
        if isinstance(entry, URLResolver):
            yield from _patterns(entry.url_patterns, prefix + str(entry.pattern))
        elif isinstance(entry, URLPattern) and entry.name and entry.name != "app_list":
            yield entry.name, prefix + str(entry.pattern)


ROUTES = dict(_patterns(site.get_urls()))
PAGES = sorted(name for name, route in ROUTES.items() if "<" not in route and name not in PUBLIC)
ASKED = [name for name in PAGES if name.endswith("_changelist") or name in ("search", "autocomplete", "index")]
ASKED += [name for name in PAGES if name.startswith("explorer")]
DETAILS = sorted(name for name, route in ROUTES.items() if "<" in route)


def path_of(name: str, id: object = 1) -> str:
    said = quote(str(id).encode(), safe="/")
    return "/admin/" + re.sub("<[^>]*>", said, ROUTES[name])


def answered(client: Client, path: str, method: str = "get", data: Any = None) -> int:
    """Return the status of the response, which must not be a 5xx."""
    client.raise_request_exception = False
    response = getattr(client, method)(path, data)
    assert response.status_code < 500, (method, path[:300])
    status: int = response.status_code
    return status


def parameters_of(name: str) -> list[str]:
    if name.startswith("explorer"):
        return OF_THE_EXPLORER
    return OF_AUTOCOMPLETE if name == "autocomplete" else PARAMETERS


@pytest.mark.parametrize("id", ODD_IDS)
def test_an_unused_id_causes_no_server_error(superuser: Client, id: str) -> None:
    for name in DETAILS:
        answered(superuser, path_of(name, id))
        answered(superuser, path_of(name, id), "post", {"_form_submitted": "True"})


@pytest.mark.parametrize("value", ODD_VALUES)
def test_a_parameter_with_an_unusual_value_causes_no_server_error(superuser: Client, api: Api, value: str) -> None:
    for name in ASKED:
        for parameter in parameters_of(name):
            query = {"tenant": "acme", "q": "1", parameter: value}
            answered(superuser, f"{path_of(name)}?" + "&".join(f"{key}={quote(text)}" for key, text in query.items()))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("tenants_tenant_create", ["slug", "name"]),
        ("tenants_apikey_issue", ["tenant", "name", "scopes", "namespaces"]),
        ("auth_user_add", ["username", "password1", "password2", "usable_password"]),
        ("auth_group_add", ["name", "permissions"]),
        ("password_change", ["old_password", "new_password1", "new_password2"]),
    ],
)
def test_a_form_with_an_unusual_value_causes_no_server_error(
    superuser: Client, api: Api, name: str, fields: list[str]
) -> None:
    good = {
        "slug": "new", "name": "New", "tenant": "acme", "scopes": "read", "username": "new",
        "password1": "Dyak-Quendi-7", "password2": "Dyak-Quendi-7", "_form_submitted": "True",
    }  # fmt: skip
    for field in fields:
        for value in ODD_VALUES:
            answered(superuser, path_of(name), "post", {**good, field: value})


def test_quotas_with_unusual_values_cause_no_server_error_and_set_nothing(superuser: Client, tenant: Tenant) -> None:
    for value in [*ODD_VALUES, str(2**63), "1e3", "NaN"]:
        answered(
            superuser,
            path_of("tenants_tenant_quotas", tenant.pk),
            "post",
            {"tier": "standard", "memories": value, "_form_submitted": "True"},
        )

    assert Tenant.objects.get(pk=tenant.pk).quota_memories is None


# --- Users without access ----------------------------------------------------------------------------------------


@pytest.fixture
def foreign(stranger: Api) -> dict[str, list[object]]:
    """Create rows for another tenant that contain a planted word. Return their ids by page name prefix."""
    stranger.store("1", PLANTED)
    stranger.post("/graph/link", {"from_coord": "1", "to_coord": "2", "metadata": {"said": PLANTED}})
    messages = [{"role": "user", "content": PLANTED}]
    stranger.post("/api/v1/conversations", {"label": PLANTED, "folder": PLANTED, "messages": messages})
    mine = {"tenant": stranger.tenant}
    return {
        "tenants_tenant": [stranger.tenant.pk],
        "tenants_apikey": [key.pk for key in ApiKey.objects.filter(**mine)],
        "tenants_auditevent": [row.pk for row in AuditEvent.objects.filter(**mine)],
        "memories_memory": [f"stranger/{row.id}" for row in Memory.all_tenants.filter(**mine)],
        "graph_link": [row.pk for row in Link.all_tenants.filter(**mine)],
        "conversations_conversation": [row.pk for row in Conversation.all_tenants.filter(**mine)],
        "auth_user": [user.pk for user in User.objects.filter(is_superuser=True)],
        "memories_job": [Job.objects.create(kind="rebuild", **mine).pk],
    }


def rows_of(tenant: Tenant) -> dict[str, list[Any]]:
    return {
        model._meta.db_table: list(registry.rows(model, tenant).order_by("pk").values())
        for model in registry.tenant_models()
    }


def test_staff_of_another_tenant_reach_nothing_by_its_address(
    staff: Client, stranger: Api, foreign: dict[str, list[object]]
) -> None:
    before = rows_of(stranger.tenant)
    for kind, ids in foreign.items():
        assert ids, kind
        for path in [path_of(name, id) for name in DETAILS if name.startswith(kind) for id in ids]:
            for method, sent in (("get", None), ("post", {"_form_submitted": "True", "do": "delete", "post": "yes"})):
                staff.raise_request_exception = False
                response = getattr(staff, method)(path, sent)
                assert response.status_code in (200, 302, 403, 404), (method, path)
                assert_reveals_nothing(response, path)

    assert rows_of(stranger.tenant) == before


def test_no_page_shows_staff_anything_of_another_tenant(
    staff: Client, stranger: Api, foreign: dict[str, list[object]]
) -> None:
    for name in PAGES:
        for query in ("", "?tenant=stranger", f"?of=stranger&q={PLANTED}"):
            staff.raise_request_exception = False
            response = staff.get(path_of(name) + query)
            assert response.status_code < 500, (name, query)
            assert_reveals_nothing(response, path_of(name) + query)


def assert_reveals_nothing(response: Any, path: str) -> None:
    """Check that a page shows none of another tenant's data, except for the user's own input."""
    text = re.sub(r'(value|href|content|action)="[^"]*"', "", response.content.decode())
    for said in (
        "tenant 'stranger' does not exist",
        "tenant \\'stranger\\'",
        "tenant &#x27;stranger&#x27; does not exist",
        path,
        escape(path),
    ):
        text = text.replace(said, "")
    assert "stranger" not in text, path
    assert PLANTED not in text, path


@pytest.mark.parametrize("signed_in", [False, True])
def test_no_page_is_for_a_user_without_staff_status(db: None, signed_in: bool) -> None:
    client = Client(raise_request_exception=False)
    if signed_in:
        client.force_login(User.objects.create_user("visitor"))
    for name in [*PAGES, *DETAILS]:
        for method in ("get", "post"):
            response = getattr(client, method)(path_of(name))
            assert response.status_code in (302, 403), (name, method)
            if response.status_code == 302:
                assert response["Location"].startswith("/admin/login/"), name
