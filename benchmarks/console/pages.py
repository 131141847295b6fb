"""Visit every page of the console. The pages in `PAGES` and their dialogs cover every URL;
tests/console/test_browser.py checks that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from testing.browser import Browser

READY = "document.getElementById('explorer').dataset.ready === 'true'"
NETWORK = "!!document.querySelector('.explorer-network circle')"
COMPLETE = f"{NETWORK} && document.getElementById('neighbours').dataset.ready === 'true'"  # the memory page


@dataclass(frozen=True)
class Page:
    """A console page.

    view: the name of its URL
    ready: a JavaScript expression that is true when the page has drawn everything
    permission: the permission that staff users need to see the page; "superuser" for pages about the installation
    """

    name: str
    view: str
    args: tuple[Any, ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    ready: str = ""
    permission: str = ""

    @property
    def path(self) -> str:
        return reverse(f"admin:{self.view}", args=self.args, query=dict(self.query))


SUPERUSER = "superuser"
WORDS = "night train invoice"


def pages(tenant: str = "default") -> list[Page]:
    """Return all pages, in the order in which an operator would visit them. Reads ids from the database."""
    return [*_pages_of_content(tenant), *_pages_of_administration(tenant), *_pages_of_the_installation()]


def _pages_of_content(slug: str) -> list[Page]:
    """Return the pages that show memories, links and conversations."""
    from conversations.models import Conversation
    from graph.models import Link
    from memories.models import Memory
    from tenants.models import Tenant

    tenant = Tenant.objects.get(slug=slug)
    edge = Link.objects.for_tenant(tenant).order_by("id")[0]
    memory = Memory.objects.for_tenant(tenant).get(namespace="default", coordinate_key=edge.from_key)
    deleted = Memory.objects.for_tenant(tenant).exclude(deleted_at=None)[0]
    talk = Conversation.objects.for_tenant(tenant).order_by("number")[0]
    at = edge.start.text
    place = (("tenant", slug),)
    see, talks = "memories.view_memory", "conversations.view_conversation"
    question = (*place, ("query", WORDS))
    memories, chats = "memories_memory_changelist", "conversations_conversation_changelist"
    return [
        Page("dashboard", "index"),
        Page("memories", memories, query=place, permission=see),
        Page("memories-found", memories, query=(*place, ("q", WORDS)), permission=see),
        Page("memories-below", memories, query=(*place, ("q", "1")), permission=see),
        Page("memory", "memories_memory_change", (f"{slug}/{memory.id}",), ready=COMPLETE, permission=see),
        Page("memory-form", "memories_memory_change", (f"{slug}/{memory.id}",), (("edit", "form"),), permission=see),
        Page("memory-json", "memories_memory_change", (f"{slug}/{memory.id}",), (("edit", "json"),), permission=see),
        Page("memory-deleted", "memories_memory_change", (f"{slug}/{deleted.id}",), permission=see),
        Page("links", "graph_link_changelist", query=place, permission="graph.view_link"),
        Page("link", "graph_link_change", (edge.id,), place, permission="graph.view_link"),
        Page("conversations", chats, query=place, permission=talks),
        Page("conversations-found", chats, query=(*place, ("q", WORDS)), permission=talks),
        Page("conversation", "conversations_conversation_change", (talk.id,), place, permission=talks),
        Page("conversations-deleted", "deleted_conversations", query=place, permission=talks),
        Page("playground", "playground", query=question, permission=see),
        Page("playground-context", "playground_context", query=question, permission=see),
        Page("explorer", "explorer", query=place, ready=READY, permission=see),
        Page("explorer-network", "explorer", query=(*place, ("at", at)), ready=NETWORK, permission=see),
        Page("explorer-empty", "explorer", query=(*place, ("namespace", "nothing")), ready=READY, permission=see),
    ]  # fmt: skip


def _pages_of_administration(slug: str) -> list[Page]:
    """Return the pages for a tenant's administration and for the signed-in user's own account."""
    from console.models import OAuthGrant
    from memories.models import VectorEmbedding
    from tenants.models import ApiKey, AuditEvent, Tenant

    tenant = Tenant.objects.get(slug=slug)
    row = VectorEmbedding.objects.for_tenant(tenant).order_by("id")[0]
    key = ApiKey.objects.filter(tenant=tenant).order_by("created_at")[0]
    event = AuditEvent.objects.filter(tenant=tenant).order_by("id")[0]
    grant = OAuthGrant.objects.filter(tenant=tenant)[0]
    place = (("tenant", slug),)
    keys, failed = "tenants.view_apikey", "memories.view_vectorembedding"
    return [
        Page("tenants", "tenants_tenant_changelist", permission="tenants.view_tenant"),
        Page("tenant", "tenants_tenant_change", (tenant.id,), permission="tenants.view_tenant"),
        Page("keys", "tenants_apikey_changelist", permission=keys),
        Page("key", "tenants_apikey_change", (key.id,), permission=keys),
        Page("audit", "tenants_auditevent_changelist", permission="tenants.view_auditevent"),
        Page("audit-event", "tenants_auditevent_change", (event.id,), permission="tenants.view_auditevent"),
        Page("failed", "memories_vectorembedding_changelist", query=place, permission=failed),
        Page("failed-row", "memories_vectorembedding_change", (row.id,), permission=failed),
        Page("apps", "console_oauthgrant_changelist"),
        Page("app", "console_oauthgrant_change", (grant.id,)),
        Page("second-factor", "second_factor"),
        Page("password", "password_change"),
        Page("password-changed", "password_change_done"),
        Page("models-of-an-app", "app_list", ("tenants",), permission="tenants.view_tenant"),
    ]  # fmt: skip


def _pages_of_the_installation() -> list[Page]:
    from django.contrib.auth.models import Group, User

    from memories.models import EmbeddingGeneration, Job
    from tenants.models import Tenant

    user, group = User.objects.order_by("id")[0].pk, Group.objects.all()[0].pk
    job, suspended = Job.objects.order_by("-created_at")[0].pk, Tenant.objects.filter(active=False)[0].pk
    generation = EmbeddingGeneration.objects.all()[0].pk
    views: list[tuple[str, str, tuple[Any, ...]]] = [
        ("tenant-suspended", "tenants_tenant_change", (suspended,)),
        ("jobs", "memories_job_changelist", ()),
        ("job", "memories_job_change", (job,)),
        ("slow-searches", "slow_searches", ()),
        ("generations", "memories_embeddinggeneration_changelist", ()),
        ("generation", "memories_embeddinggeneration_change", (generation,)),
        ("users", "auth_user_changelist", ()),
        ("user", "auth_user_change", (user,)),
        ("user-new", "auth_user_add", ()),
        ("user-password", "auth_user_password_change", (user,)),
        ("user-delete", "auth_user_delete", (user,)),
        ("groups", "auth_group_changelist", ()),
        ("group", "auth_group_change", (group,)),
        ("group-new", "auth_group_add", ()),
        ("group-delete", "auth_group_delete", (group,)),
    ]
    return [Page(name, view, args, permission=SUPERUSER) for name, view, args in views]


def walk(browser: Browser, tenant: str = "default") -> None:
    """Visit every page as a superuser, and use the explorer."""
    for page in pages(tenant):
        browser.visit(page.name, page.path, page.ready)
    explore(browser, tenant)


def explore(browser: Browser, tenant: str) -> None:
    """Search in the explorer, zoom in, choose a memory and change the view."""
    browser.visit("explorer", f"/admin/explorer/?tenant={tenant}", READY)
    hits = "!!document.getElementById('side').dataset.hits"
    browser.act("explorer-search", lambda: _search(browser, WORDS), hits)
    for step in range(12):
        if browser.run("return document.querySelector('#status').textContent.includes('cells') === false"):
            break
        browser.act(f"explorer-closer-{step + 1}", lambda: _closer(browser), READY)
    browser.picture("explorer-near")
    if browser.run("return !!document.querySelector('.explorer-hits button')"):
        shown = f"!!document.getElementById('side').dataset.memory && {READY}"
        browser.act("explorer-memory", lambda: browser.click(".explorer-hits button"), shown)
    browser.act("explorer-places", lambda: _choose(browser, "view", "places"), READY)


def _closer(browser: Browser) -> None:
    browser.run("document.getElementById('explorer').dataset.ready = 'false'")
    browser.click("#closer")


def _search(browser: Browser, words: str) -> None:
    field = browser.driver.find_element("css selector", "#search input")
    field.clear()
    field.send_keys(words)
    browser.click("#search button")


def _choose(browser: Browser, id: str, value: str) -> None:
    browser.run(
        f"const s = document.getElementById('{id}'); document.getElementById('explorer').dataset.ready = 'false';"
        f"s.value = '{value}'; s.dispatchEvent(new Event('change', {{bubbles: true}}))"
    )
