"""A tenant's staff can neither see nor change another tenant's data at any URL of the console."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import URLPattern, URLResolver
from django.utils import timezone

from console.models import OAuthClient, OAuthGrant
from console.urls import site
from conversations.models import Conversation
from graph.models import Link
from memories.models import EmbeddingGeneration, Job, Memory, VectorEmbedding
from tenants.models import ApiKey, AuditEvent, Tenant
from tests.conftest import Api, page

SECRET = "the stranger's own words"
# Pages for the user's own account, and pages without tenant data.
OWN = {
    "index", "login", "logout", "password_change", "password_change_done", "second_factor", "jsi18n", "app_list",
    "search", "oauth_authorize",
}  # fmt: skip
QUERIES = {
    "explorer_map": {"axes": "0"},
    "explorer_search": {"q": "words"},
    "playground": {"query": "words"},
    "playground_context": {"query": "words"},
    "autocomplete": {"app_label": "console", "model_name": "stafftenant", "field_name": "tenant"},
}
MODELS = {
    "tenants_tenant": Tenant, "tenants_apikey": ApiKey, "tenants_auditevent": AuditEvent,
    "memories_memory": Memory, "memories_vectorembedding": VectorEmbedding, "graph_link": Link,
    "conversations_conversation": Conversation, "console_oauthgrant": OAuthGrant,
    "memories_job": Job, "job_progress": Job, "memories_embeddinggeneration": EmbeddingGeneration,
    "auth_user": User, "auth_group": Group,
}  # fmt: skip


def patterns(urls: Any) -> dict[str, URLPattern]:
    named: dict[str, URLPattern] = {}
    for pattern in urls:
        if isinstance(pattern, URLResolver):
            named |= patterns(pattern.url_patterns)
        elif pattern.name:
            named[pattern.name] = pattern
    return named


PATTERNS = patterns(site.get_urls())


@pytest.fixture
def theirs(stranger: Api, superuser: Client) -> Tenant:
    """The other tenant, with a row of every model."""
    stranger.store("1", SECRET)
    stranger.store("2", SECRET)
    stranger.post("/graph/link", {"from_coord": "1", "to_coord": "2"})
    talk = {"label": SECRET, "messages": [{"role": "user", "content": SECRET}]}
    stranger.post("/api/v1/conversations", talk)
    app = OAuthClient.objects.create(client_id="an-app", name=SECRET)
    OAuthGrant.objects.create(
        tenant=stranger.tenant,
        client=app,
        approved_by=User.objects.get(username="superuser"),
        expires_at=timezone.now() + timedelta(days=1),
    )
    Job.objects.create(tenant=stranger.tenant, kind=Job.Kind.REBUILD)
    Group.objects.create(name=SECRET)
    return stranger.tenant


def row_of(name: str, tenant: Tenant) -> Any:
    """Return a row of the other tenant, or of the installation, for a URL with an id."""
    model: Any = next(model for prefix, model in MODELS.items() if name.startswith(prefix))
    if model is Tenant:
        return tenant
    rows = model.objects.for_tenant(tenant) if hasattr(model.objects, "for_tenant") else model.objects.all()
    if model in (ApiKey, AuditEvent, OAuthGrant):
        rows = rows.filter(tenant=tenant)
    return rows.order_by("pk").first()


def path_of(name: str, tenant: Tenant) -> str:
    names = set(PATTERNS[name].pattern.regex.groupindex) or set(getattr(PATTERNS[name].pattern, "converters", {}))
    query = {"tenant": tenant.slug, "of": tenant.slug, **QUERIES.get(name, {})}
    if name == "conversation_export":
        return page(name, tenant.slug, Conversation.objects.for_tenant(tenant).get().id)
    if name in ("explorer_memory", "similar_memories"):
        return page(name, tenant=tenant.slug, id=str(row_of("memories_memory", tenant).id))
    if name == "view_on_site":
        return page(name, "1", str(tenant.pk))
    if not names:
        return page(name, **query)
    assert names <= {"object_id", "id"}, f"{name}: add a path with the ids of another tenant"
    row = row_of(name, tenant)
    return page(name, f"{tenant.slug}/{row.id}" if isinstance(row, Memory) else row.pk, **query)


def state(tenant: Tenant) -> list[Any]:
    """Return the other tenant's rows, and rows that only superusers can change."""
    owned = [list(model.objects.for_tenant(tenant).order_by("pk").values()) for model in (Memory, Conversation, Link)]
    others: tuple[Any, ...] = (Tenant, ApiKey, Job, Group, OAuthGrant)
    rows = [list(model.objects.order_by("pk").values()) for model in others]
    return [*owned, *rows, list(User.objects.order_by("pk").values("username", "is_staff", "is_active", "password"))]


@pytest.mark.parametrize("name", sorted(set(PATTERNS) - OWN))
def test_a_stranger_sees_and_changes_nothing(name: str, staff: Client, theirs: Tenant) -> None:
    path, before = path_of(name, theirs), state(theirs)
    form = {"do": "delete", "_form_submitted": "on", "post": "yes", "tenant": theirs.slug, "label": "x", "folder": "x"}

    for response in (staff.get(path), staff.post(path, form)):
        assert response.status_code in (200, 302, 400, 403, 404, 405, 409), response.content
        content = response.getvalue() if response.streaming else response.content
        assert SECRET.encode() not in content
        assert b"the stranger&#x27;s own" not in content
    assert state(theirs) == before


def test_every_page_of_the_account_exists() -> None:
    assert set(PATTERNS) >= OWN
