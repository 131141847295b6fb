"""Lists and pages show times in the reader's time zone, and rows can be found by parts of their names."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from console.models import OAuthClient, OAuthGrant
from memories import read_counts
from memories.models import EmbeddingGeneration, Job
from tenants import keys
from tenants.caller import Caller
from tenants.models import ApiKey, AuditEvent, Tenant
from tests.conftest import Api, page, page_content

BARE_TIME = re.compile(r">\s*\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?\s*<")


@pytest.fixture
def grant(superuser: Client, api: Api) -> OAuthGrant:
    """The superuser's connected app, with a key."""
    key = keys.issue(Caller.command(api.tenant), api.tenant, name="an app").key
    return OAuthGrant.objects.create(
        tenant=api.tenant,
        client=OAuthClient.objects.create(client_id="notes", name="Notes"),
        approved_by=User.objects.get(username="superuser"),
        key=key,
        scopes=["read", "write"],
        expires_at=timezone.now() + timedelta(days=1),
    )


def test_every_time_can_be_shown_in_the_readers_zone(superuser: Client, api: Api, grant: OAuthGrant) -> None:
    api.store("1")
    api.store("2")
    api.post("/graph/link", {"from_coord": "1", "to_coord": "2"})
    job = Job.objects.create(tenant=api.tenant, kind=Job.Kind.REBUILD)
    user, generation = User.objects.get(username="superuser"), EmbeddingGeneration.objects.all()[0]
    models: dict[str, Any] = {
        "tenants_tenant": api.tenant.pk, "tenants_apikey": grant.key_id, "console_oauthgrant": grant.pk,
        "memories_job": job.pk, "auth_user": user.pk, "memories_embeddinggeneration": generation.pk,
    }  # fmt: skip
    paths = [page("graph_link_changelist", tenant="acme")]
    for model, pk in models.items():
        paths += [page(f"{model}_changelist"), page(f"{model}_change", pk)]

    for path in paths:
        text = page_content(superuser, path)
        assert "<time datetime=" in text, path
        assert not BARE_TIME.search(re.sub(r"<time.*?</time>", "", text)), path


def test_names_of_fields_are_readable(superuser: Client, api: Api, grant: OAuthGrant) -> None:
    text = page_content(superuser, page("console_oauthgrant_change", grant.pk))

    assert "Client ID" in text
    assert "Redirect URI" in text
    assert not re.search(r">\s*(User id|Id|Created at|Client id)\s*<", text)


def test_the_rights_of_an_app_are_shown_in_words(superuser: Client, grant: OAuthGrant) -> None:
    text = page_content(superuser, page("console_oauthgrant_change", grant.pk))

    assert "search, fetch and list memories and conversations" in text
    assert re.search(r"Namespaces.*?all", text, re.S)


@pytest.mark.parametrize("term", ["cm", "ACM", "bolts", "nuts and"])
def test_tenants_are_found_by_a_part_of_their_slug_or_name(superuser: Client, tenant: Tenant, term: str) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(name="Nuts and Bolts")
    Tenant.objects.create(slug="umbrella", name="Umbrella")

    text = page_content(superuser, page("tenants_tenant_changelist", q=term))

    assert page("tenants_tenant_change", tenant.pk) in text
    assert "umbrella" not in text


def test_keys_are_found_by_a_part_of_their_name_by_their_prefix_and_by_user(superuser: Client, tenant: Tenant) -> None:
    command = Caller.command(tenant)
    key = keys.issue(command, tenant, name="Billing robot", user_id="ada").key
    keys.issue(command, tenant, name="another")

    for term in ("robot", key.prefix[:4], f"soma_{key.prefix}", "ada"):
        text = page_content(superuser, page("tenants_apikey_changelist", q=term))
        assert "Billing robot" in text, term
        assert "another" not in text, term


def test_searching_in_a_list_counts_as_no_read(superuser: Client, api: Api) -> None:
    api.store("1", "night train")

    assert "night train" in page_content(superuser, page("memories_memory_changelist", tenant="acme", q="train"))
    superuser.get(page("explorer_search", tenant="acme", q="train"))
    read_counts.write_back()

    assert api.get("/memories/1").json()["memory"]["access_count"] == 0


def test_a_list_of_hits_shows_only_parts_that_count(superuser: Client, api: Api) -> None:
    api.store("1", "night train", importance=7)

    text = page_content(superuser, page("memories_memory_changelist", tenant="acme", q="train"))

    assert re.search(r"<span>keyword \d\.\d\d</span>", text)
    assert "<span>importance" not in text
    assert "<span>recency" not in text


def test_a_user_with_a_connected_app_is_deleted_and_the_key_of_the_app_ends(
    superuser: Client, api: Api, grant: OAuthGrant
) -> None:
    ada = User.objects.create_user("ada", is_staff=True)
    OAuthGrant.objects.update(approved_by=ada)

    assert "Yes, I" in page_content(superuser, page("auth_user_delete", ada.pk))
    superuser.post(page("auth_user_delete", ada.pk), {"post": "yes"})

    assert not User.objects.filter(username="ada").exists()
    assert grant.key is not None
    assert ApiKey.objects.get(pk=grant.key.pk).revoked_at is not None
    assert AuditEvent.objects.filter(action="grant.revoke", tenant=api.tenant).count() == 1


@pytest.mark.parametrize("name", ["label__regex", "label__icontains", "label", "metadata__secret", "unknown"])
def test_a_list_can_be_filtered_only_with_its_own_filters(superuser: Client, api: Api, name: str) -> None:
    """A pattern such as ^(a+)+$ could keep the process busy for hours."""
    path = page("conversations_conversation_changelist", tenant="acme", **{name: "^(a+)+$"})

    assert superuser.get(path).status_code == 400


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("auth_user", {"is_staff__exact": "1", "is_active__exact": "1"}),
        ("memories_job", {"kind__exact": "rebuild", "state__exact": "done"}),
        ("conversations_conversation", {"tenant": "acme", "status": "active", "tier": "hot"}),
        ("graph_link", {"tenant": "acme", "namespace": "default", "q": "1"}),
        ("tenants_auditevent", {"of": "acme", "action": "memory.store"}),
    ],
)
def test_the_filters_of_a_list_work(superuser: Client, api: Api, name: str, parameters: dict[str, str]) -> None:
    path = page(f"{name}_changelist", **parameters)

    assert superuser.get(path).status_code == 200
