"""The admin: who has access, what they see, and that each change uses the API's services and is audited."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console import row_counts, site
from console.admin.audit import ACTIONS
from console.models import StaffTenant
from graph.models import Link
from memories import coordinates, services
from memories.models import EmbeddingGeneration, Job, Memory, VectorEmbedding
from memories.new_memory import NewMemory
from tenants import key_usage, keys
from tenants.caller import SCOPES, Caller
from tenants.limits import policy
from tenants.models import ApiKey, AuditEvent, Tenant
from tests.conftest import Api, drain, page, page_content
from tests.console.conftest import PASSWORD
from tests.support.staff import sign_in_staff

PACKAGES = ("api", "console", "conversations", "graph", "memories", "tenants")
LISTS = [
    "auth_user", "auth_group", "tenants_tenant", "tenants_apikey", "tenants_auditevent", "memories_memory",
    "memories_vectorembedding", "graph_link", "conversations_conversation",
    "memories_job", "memories_embeddinggeneration",
]  # fmt: skip


def memory_page(tenant: Tenant, id: Any) -> str:
    return page("memories_memory_change", f"{tenant.slug}/{id}")


def events(action: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=action))


# --- Access ------------------------------------------------------------------------------------------------------


def sign_in(name: str, password: str = PASSWORD, address: str = "192.0.2.1") -> Any:
    return Client().post(page("login"), {"username": name, "password": password}, REMOTE_ADDR=address)


@pytest.fixture
def limited(settings: Any, generation: EmbeddingGeneration) -> int:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SIGN_IN_PER_MINUTE = 3
    settings.REDIS_URL = ""  # which another test may empty at any time
    Tenant.objects.get_or_create(slug="default")
    User.objects.create_superuser("superuser", password=PASSWORD)
    return 3


def test_the_sign_in_of_a_superuser_is_audited(limited: int) -> None:
    assert sign_in("superuser").status_code == 302

    assert [event.actor.split(":")[::2] for event in events("staff.sign_in")] == [["staff", "superuser"]]


@pytest.mark.parametrize("target", ["https://example.org/", "//example.org", "javascript:alert(1)", ""])
def test_a_bad_next_leads_to_the_console(limited: int, target: str) -> None:
    form = {"username": "superuser", "password": PASSWORD, "next": target}

    assert Client().post(page("login"), form)["Location"] == page("index")


def test_guessing_passwords_for_one_name_at_an_address_is_limited(limited: int) -> None:
    answers = [sign_in("superuser", "wrong").status_code for _ in range(limited + 1)]

    assert answers == [200] * limited + [429]
    refused = sign_in("superuser", PASSWORD)
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(site, "pause", made.append)
    return made


def test_wrong_passwords_from_other_addresses_delay_a_name_but_do_not_lock_it(
    limited: int, pauses: list[float]
) -> None:
    answers = [sign_in("superuser", "wrong", f"192.0.2.{number}").status_code for number in range(4 * limited)]

    assert set(answers) == {200}
    assert len(pauses) == 3 * limited
    assert sign_in("superuser", PASSWORD, "198.51.100.1").status_code == 302
    assert 0 < pauses[-1] <= policy.MAX_SIGN_IN_DELAY_S


def test_few_delayed_attempts_wait_at_a_time(limited: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, they would occupy all server threads."""
    monkeypatch.setattr(site, "_delayed", threading.BoundedSemaphore(1))
    inner: list[int] = []

    def pause(seconds: float) -> None:
        inner.append(sign_in("superuser", PASSWORD, "203.0.113.1").status_code)

    monkeypatch.setattr(site, "pause", pause)
    for number in range(limited):
        sign_in("superuser", "wrong", f"192.0.2.{number}")

    assert sign_in("superuser", PASSWORD, "198.51.100.1").status_code == 302
    assert inner == [429]


def seen_ago(client: Client, seconds: float) -> None:
    session = client.session
    session["seen"] = time.time() - seconds
    session.save()


def test_a_session_without_requests_expires(superuser: Client) -> None:
    seen_ago(superuser, settings.SESSION_IDLE_S + 1)

    assert superuser.get(page("index"))["Location"].startswith(page("login"))


def test_a_session_in_use_continues(superuser: Client) -> None:
    seen_ago(superuser, settings.SESSION_IDLE_S - 10)

    assert superuser.get(page("index")).status_code == 200

    assert superuser.session["seen"] > time.time() - settings.SESSION_IDLE_S / 2


def test_guessing_names_from_one_address_is_limited(limited: int) -> None:
    answers = [sign_in(f"user{number}", "wrong").status_code for number in range(limited + 1)]

    assert answers == [200] * limited + [429]
    assert sign_in("superuser", address="198.51.100.1").status_code == 302


@pytest.mark.parametrize("name", [*(f"{model}_changelist" for model in LISTS), "index", "explorer", "explorer_map"])
def test_no_page_is_available_without_sign_in(db: None, name: str) -> None:
    response = Client().get(page(name))

    assert response.status_code == 302
    assert response["Location"].startswith(page("login"))


def test_an_api_key_opens_no_page_and_a_session_no_route(api: Api, superuser: Client) -> None:
    assert api.get("/admin/").status_code == 302
    assert superuser.get("/api/v1/memories").status_code == 401


def test_cookies_are_kept_from_scripts_other_sites_and_the_api(limited: int) -> None:
    client = Client()
    client.get(page("login"))
    client.post(page("login"), {"username": "superuser", "password": PASSWORD})

    assert set(client.cookies) == {"__Secure-soma_session", "__Secure-soma_csrf"}
    for cookie in client.cookies.values():
        assert cookie["httponly"]
        assert cookie["secure"]
        assert cookie["samesite"] == "Lax"
        assert cookie["path"] == "/admin/"


def test_a_form_without_its_token_changes_nothing(tenant: Tenant, superuser: Client) -> None:
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    strict.force_login(User.objects.get(username="superuser"))

    assert strict.post(page("tenants_tenant_suspend", tenant.pk), {"_form_submitted": "on"}).status_code == 403
    assert Tenant.objects.get(pk=tenant.pk).active


def test_a_page_lets_no_foreign_script_in_and_is_not_kept(superuser: Client) -> None:
    response = superuser.get(page("index"))

    policy = dict(directive.split(" ", 1) for directive in response["Content-Security-Policy"].split("; "))
    assert policy["script-src"] == "'self'"
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert "no-store" in response["Cache-Control"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\bsrc=)", response.content.decode())
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", response.content.decode())


def test_alpine_is_the_unchanged_build_that_evaluates_no_text(superuser: Client) -> None:
    """The console uses version 3.17.4 of the @alpinejs/csp package, instead of unfold's own copy of Alpine."""
    file = finders.find("unfold/js/alpine/alpine.js")

    assert file == str(Path(settings.BASE_DIR) / "console" / "static" / "unfold" / "js" / "alpine" / "alpine.js")
    digest = "0d18d7f8d7910e2e0212f0f056b12f50bebc3abb7d88d2f7c7cb4c336fe4519a"
    assert hashlib.sha256(Path(file).read_bytes()).hexdigest() == digest


def test_a_request_of_the_api_asks_for_no_session_and_no_user(api: Api) -> None:
    api.store("1")
    with CaptureQueriesContext(connection) as captured:
        response = api.get("/memories/1", cookie="__Secure-soma_session=abc; __Secure-soma_csrf=def")

    assert response.status_code == 200
    assert not [query for query in captured if "django_session" in query["sql"] or "auth_user" in query["sql"]]
    assert "Set-Cookie" not in response
    assert "script-src" not in response["Content-Security-Policy"]


@pytest.mark.parametrize("id", ["x", "1", "%00"])
def test_an_id_that_none_can_be_is_a_bad_request(staff: Client, id: str) -> None:
    tenants = ContentType.objects.get_for_model(Tenant)

    assert staff.get(f"/admin/r/{tenants.id}/{id}/").status_code == 400


def test_the_search_finds_pages_of_the_console_again(staff: Client) -> None:
    """The second time, the results come from the cache."""
    for _ in range(2):
        response = staff.get("/admin/search/", {"s": "memories", "extended": "1"})
        assert response.status_code == 200
        assert 'href="/admin/memories/memory/"' in response.content.decode()


@pytest.mark.parametrize("number", ["x", "0", "2"])
def test_a_page_of_the_search_that_does_not_exist_is_a_bad_request(staff: Client, number: str) -> None:
    assert staff.get("/admin/search/", {"s": "memories", "page": number}).status_code == 400


def test_tenants_to_choose_from_are_found(staff: Client, api: Api, stranger: Api) -> None:
    field = {"app_label": "console", "model_name": "stafftenant", "field_name": "tenant"}

    found = staff.get("/admin/autocomplete/", field).json()["results"]

    assert [result["text"] for result in found] == ["acme"]


def test_a_page_that_is_not_there_is_a_page_and_no_problem(superuser: Client) -> None:
    response = superuser.get("/admin/nowhere/")

    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


# --- Tenants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
def test_every_list_is_a_page(superuser: Client, api: Api, name: str) -> None:
    api.store("1")

    page_content(superuser, page(f"{name}_changelist"))


def test_a_member_of_staff_sees_the_tenants_given_to_them_and_no_other(staff: Client, api: Api, stranger: Api) -> None:
    mine, theirs = api.store("1", "acme's own"), stranger.store("1", "a stranger's own")

    assert "a stranger" not in page_content(staff, page("memories_memory_changelist"))
    assert "acme" in page_content(staff, page("memories_memory_changelist"))
    assert "stranger" not in page_content(staff, page("tenants_tenant_changelist"))
    assert "stranger" not in page_content(staff, page("tenants_apikey_changelist"))
    assert "stranger" not in page_content(staff, page("tenants_auditevent_changelist"))
    assert "acme&#x27;s own" in page_content(staff, memory_page(api.tenant, mine["id"]))
    assert staff.get(memory_page(stranger.tenant, theirs["id"])).status_code == 302
    assert staff.get(memory_page(api.tenant, theirs["id"])).status_code == 302
    assert staff.get(page("tenants_tenant_change", stranger.tenant.pk)).status_code == 302
    for name in ("memories_job", "memories_embeddinggeneration"):
        assert staff.get(page(f"{name}_changelist")).status_code == 403
    for name in ("auth_user", "auth_group"):
        assert staff.get(page(f"{name}_changelist")).status_code == 403


def test_a_member_of_staff_changes_nothing_of_another_tenant(staff: Client, api: Api, stranger: Api) -> None:
    theirs = stranger.store("1")
    key = ApiKey.objects.get(tenant=stranger.tenant)

    staff.post(memory_page(stranger.tenant, theirs["id"]), {"do": "delete"})
    staff.post(memory_page(api.tenant, theirs["id"]), {"do": "delete"})
    for action in ("tenants_tenant_suspend", "tenants_apikey_revoke", "tenants_apikey_rotate"):
        of = stranger.tenant.pk if "tenant_" in action else key.pk
        assert staff.post(page(action, of), {"_form_submitted": "on"}).status_code in (200, 403)
    made = {"_form_submitted": "on", "tenant": "stranger", "scopes": ["read"]}
    staff.post(page("tenants_apikey_issue"), made)
    staff.post(page("tenants_apikey_issue"), {**made, "tenant": "*"})

    assert stranger.get("/memories/1").status_code == 200
    assert ApiKey.objects.filter(tenant=stranger.tenant, revoked_at=None).count() == 1
    assert not ApiKey.objects.filter(tenant=None).exists()


def test_without_a_permission_nothing_is_shown_or_done(superuser: Client, api: Api) -> None:
    id = api.store("1")["id"]
    client = sign_in_staff(api.tenant)

    page_content(client, page("index"))
    for name in LISTS:
        assert client.get(page(f"{name}_changelist")).status_code == 403, name
    assert client.post(memory_page(api.tenant, id), {"do": "delete"}).status_code == 403
    assert api.get("/memories/1").status_code == 200


def test_a_reader_cannot_delete(superuser: Client, api: Api) -> None:
    id = api.store("1")["id"]
    client = sign_in_staff(api.tenant, "view_memory")

    assert "Delete" not in page_content(client, memory_page(api.tenant, id))
    client.post(memory_page(api.tenant, id), {"do": "delete"})

    assert api.get("/memories/1").status_code == 200


# --- Memories ----------------------------------------------------------------------------------------------------


def test_memories_are_found_by_coordinate_and_below_it_and_by_words(superuser: Client, api: Api) -> None:
    api.store("1,2", "the aardvark")
    api.store("1,2,3", "the bear")
    api.store("2,2", "the cat")

    def found(q: str) -> set[str]:
        text = page_content(superuser, page("memories_memory_changelist", tenant="acme", q=q))
        return {word for word in ("aardvark", "bear", "cat") if f"the {word}" in text}

    assert found("1,2") == {"aardvark", "bear"}
    assert found("[1.0, 2.0, 3]") == {"bear"}
    assert found("cat") == {"cat"}
    assert found("") == {"aardvark", "bear", "cat"}


def test_a_memory_is_shown_whole_and_its_address_cannot_be_changed(superuser: Client, api: Api) -> None:
    id = api.post("/memories", {"coord": "1,2", "payload": {"text": "<b>", "deep": {"number": 7}}}).json()["id"]

    text = page_content(superuser, memory_page(api.tenant, id))

    assert "&quot;deep&quot;: {\n    &quot;number&quot;: 7\n  }" in text
    assert "&lt;b&gt;" in text
    assert '<b>"' not in text
    assert 'name="coordinate' not in text


def test_a_memory_with_many_combining_marks_is_shown_fast(superuser: Client, api: Api) -> None:
    mine = api.store("1", "a" + "\u0301\u0323" * 40_000)
    started = time.thread_time()

    assert "a\u0301\u0323" in page_content(superuser, memory_page(api.tenant, mine["id"]))
    assert time.thread_time() - started < 2


def test_a_memory_with_many_or_deep_fields_is_shown_in_part(superuser: Client, api: Api) -> None:
    deep: list[Any] = [0] * 40_000
    for _ in range(24):
        deep = [deep]
    many = {f"field{number}": number for number in range(502)}
    ids = [
        api.post("/memories", {"coord": coord, "payload": payload}).json()["id"]
        for coord, payload in (("1", many), ("2", {"a": deep}))
    ]

    text = page_content(superuser, memory_page(api.tenant, ids[0]))
    assert text.count("<dt>field") == 500
    assert "2 more fields can be found in the JSON." in text
    text = page_content(superuser, memory_page(api.tenant, ids[1]))
    assert "Only the beginning is shown." in text
    assert len(text) < 400_000


def test_the_history_of_a_memory_shows_what_changed_and_restores_a_version(superuser: Client, api: Api) -> None:
    id = api.store("1", "Ada lives in Bern", metadata={"seen": 1})["id"]
    api.patch("/memories/1", {"payload": {"text": "Ada lives in Rome"}, "importance": 4.0})

    text = page_content(superuser, memory_page(api.tenant, id))
    assert "<del>Ada lives in Bern</del> <ins>Ada lives in Rome</ins>" in text
    assert "<del>0.0</del> <ins>4.0</ins>" in text
    superuser.post(memory_page(api.tenant, id), {"do": "restore_version", "version": "1"})

    assert api.get("/memories/1").json()["memory"]["payload"] == {"text": "Ada lives in Bern"}
    assert [event.actor.split(":")[0] for event in events("memory.restore")] == ["staff"]
    refused = superuser.post(memory_page(api.tenant, id), {"do": "restore_version", "version": "9"}, follow=True)
    assert "has no version 9" in refused.content.decode()


def test_a_memory_is_shown_with_its_links_its_provenance_and_its_validity(superuser: Client, api: Api) -> None:
    ended = {"valid_to": "2020-01-01T00:00:00Z", "source": {"file": "notes.md"}, "trust": 0.7}
    id = api.store("1", "once", **ended)["id"]
    api.post("/graph/link", {"from_coord": "7", "to_coord": "1", "link_type": "explains"})

    text = page_content(superuser, memory_page(api.tenant, id))

    for shown in ("no longer valid", "notes.md", "0.7", "← explains", "It is waiting to be indexed"):
        assert shown in text


def test_a_memory_is_deleted_and_restored_the_way_the_api_does_it(superuser: Client, api: Api) -> None:
    id = api.store("1")["id"]

    assert superuser.post(memory_page(api.tenant, id), {"do": "delete"}).status_code == 302
    assert api.get("/memories/1").status_code == 404
    assert "Restore" in page_content(superuser, memory_page(api.tenant, id))
    superuser.post(memory_page(api.tenant, id), {"do": "restore"})

    assert api.get("/memories/1").json()["memory"]["version"] == 3
    changes = events("memory.delete") + events("memory.restore")
    assert {(event.actor.split(":")[0], event.target, event.tenant_id) for event in changes} == {
        ("staff", "1.0", api.tenant.id)
    }
    assert all(event.request_id for event in changes)


def test_viewing_a_memory_does_not_count_as_a_read(superuser: Client, api: Api) -> None:
    id = api.store("1")["id"]
    for _ in range(3):
        page_content(superuser, memory_page(api.tenant, id))

    assert api.get("/memories/1").json()["memory"]["access_count"] == 0


def test_deleted_memories_are_listed_on_request(superuser: Client, api: Api) -> None:
    api.store("1", "the aardvark")
    api.delete("/memories/1")

    assert "the aardvark" not in page_content(superuser, page("memories_memory_changelist", tenant="acme"))
    assert "the aardvark" in page_content(superuser, page("memories_memory_changelist", tenant="acme", deleted="on"))


def test_a_link_is_shown_with_both_ends_and_removed(superuser: Client, api: Api, stranger: Api) -> None:
    for client in (api, stranger):
        client.post("/graph/link", {"from_coord": "1,2", "to_coord": "7,8", "link_type": f"of-{client.tenant.slug}"})
    link = Link.objects.for_tenant(api.tenant).get()

    text = page_content(superuser, page("graph_link_changelist", tenant="acme"))
    assert "1.0,2.0" in text
    assert "of-stranger" not in text
    assert "of-acme" in page_content(superuser, page("graph_link_changelist", tenant="acme", q="7, 8"))
    assert "of-acme" not in page_content(superuser, page("graph_link_changelist", tenant="acme", q="9"))
    assert (
        superuser.get(page("graph_link_change", Link.objects.for_tenant(stranger.tenant).get().pk)).status_code == 302
    )
    page_content(superuser, page("graph_link_change", link.pk))
    submit(superuser, "graph_link_unlink", link.pk)

    assert not Link.objects.for_tenant(api.tenant).exists()
    assert [event.actor.split(":")[0] for event in events("graph.unlink")] == ["staff"]


def test_a_conversation_is_shown_archived_and_deleted_the_way_the_api_does_it(superuser: Client, api: Api) -> None:
    messages = [{"role": "user", "content": "Where does the aardvark sleep?"}]
    id = api.post("/api/v1/conversations", {"label": "Zoo", "folder": "animals", "messages": messages}).json()["id"]

    assert "Zoo" in page_content(superuser, page("conversations_conversation_changelist", tenant="acme", q="animals"))
    assert "Zoo" not in page_content(
        superuser, page("conversations_conversation_changelist", tenant="acme", q="plants")
    )
    assert "aardvark sleep" in page_content(
        superuser, page("memories_memory_changelist", tenant="acme", namespace="conversations", q="1.0")
    )
    submit(superuser, "conversations_conversation_archive", id)
    assert api.get(f"/api/v1/conversations/{id}").json()["status"] == "archived"
    submit(superuser, "conversations_conversation_remove", id)

    assert api.get(f"/api/v1/conversations/{id}").status_code == 404


def test_failed_rows_are_shown_with_their_reason_and_tried_again(superuser: Client, api: Api) -> None:
    api.store("1")
    VectorEmbedding.objects.for_tenant(api.tenant).update(attempts=5, error="the provider is on fire")

    assert "the provider is on fire" in page_content(
        superuser, page("memories_vectorembedding_changelist", tenant="acme")
    )
    superuser.post(page("memories_vectorembedding_changelist", tenant="acme"))

    assert VectorEmbedding.objects.for_tenant(api.tenant).get().attempts == 0
    assert len(events("index.retry")) == 1


# --- Tenants, keys, jobs, staff ----------------------------------------------------------------------------------


def submit(client: Client, view: str, /, *args: Any, **fields: Any) -> str:
    response = client.post(page(view, *args), {"_form_submitted": "on", **fields})
    assert response.status_code == 200, response
    return response.content.decode()


def test_a_tenant_is_created_suspended_and_resumed(superuser: Client, api: Api) -> None:
    submit(superuser, "tenants_tenant_create", slug="new", name="New")
    submit(superuser, "tenants_tenant_suspend", api.tenant.pk)
    assert api.get("/stats").status_code == 401
    submit(superuser, "tenants_tenant_resume", api.tenant.pk)

    assert api.get("/stats").status_code == 200
    assert Tenant.objects.filter(slug="new").exists()
    assert [len(events(f"tenant.{verb}")) for verb in ("create", "update")] == [1, 2]


def test_quotas_are_set_and_shown_next_to_the_usage(superuser: Client, staff: Client, api: Api) -> None:
    quotas = {"memories": "2", "bytes": "", "keys": "5", "requests_per_day": "", "llm_tokens_per_day": ""}
    api.store("1")
    submit(superuser, "tenants_tenant_quotas", api.tenant.pk, tier="premium", **quotas)

    tenant = Tenant.objects.get(pk=api.tenant.pk)
    assert (tenant.tier, tenant.quota_memories, tenant.quota_bytes, tenant.quota_keys) == ("premium", 2, None, 5)
    text = page_content(staff, page("tenants_tenant_change", api.tenant.pk))
    assert "1 of 2" in re.sub(r"\s+", " ", text)
    assert staff.post(page("tenants_tenant_quotas", api.tenant.pk), {"tier": "free"}).status_code == 403


def test_policies_are_set(superuser: Client, staff: Client, api: Api) -> None:
    submit(superuser, "tenants_tenant_policies", api.tenant.pk, auto_label="0.4", extract_facts="on")

    tenant = Tenant.objects.get(pk=api.tenant.pk)
    assert (tenant.auto_label, tenant.extract_facts) == (0.4, True)
    assert staff.post(page("tenants_tenant_policies", api.tenant.pk), {"auto_label": ""}).status_code == 403
    submit(superuser, "tenants_tenant_policies", api.tenant.pk)
    assert Tenant.objects.get(pk=api.tenant.pk).auto_label is None


def test_an_action_asks_first_and_changes_nothing_by_a_link(superuser: Client, api: Api) -> None:
    assert "Suspend this tenant?" in page_content(superuser, page("tenants_tenant_suspend", api.tenant.pk))

    assert Tenant.objects.get(pk=api.tenant.pk).active


def secret_in(text: str) -> str:
    match = re.search(r">(soma_[^<]+)</textarea>", text)
    assert match
    return match[1]


def test_a_new_key_can_be_limited_to_a_user(superuser: Client, api: Api) -> None:
    api.store("1", "hers", user_id="ada")
    secret = secret_in(submit(superuser, "tenants_apikey_issue", tenant="acme", scopes=["read"], user_id="bob"))

    assert Api(secret, api.tenant).get("/memories").json()["items"] == []
    assert "bob" in page_content(superuser, page("tenants_apikey_changelist"))


def test_memories_and_conversations_are_listed_by_user(superuser: Client, api: Api) -> None:
    api.store("1", "tea for ada", user_id="ada")
    api.store("2", "tea for bob", user_id="bob")
    api.post("/api/v1/conversations", {"label": "Hers", "user_id": "ada"})
    api.post("/api/v1/conversations", {"label": "His", "user_id": "bob"})

    for query in ({"user": "ada"}, {"user": "ada", "q": "tea"}):
        text = page_content(superuser, page("memories_memory_changelist", tenant="acme", **query))
        assert "tea for ada" in text
        assert "tea for bob" not in text
    text = page_content(superuser, page("conversations_conversation_changelist", tenant="acme", q="ada"))
    assert "Hers" in text
    assert "His" not in text


def test_a_new_key_is_shown_once_and_works(superuser: Client, api: Api) -> None:
    secret = secret_in(submit(superuser, "tenants_apikey_issue", tenant="acme", scopes=["read"], namespaces="a\nb"))
    key = ApiKey.objects.get(prefix=secret.split("_")[1])

    assert Api(secret, api.tenant).get("/memories?namespace=a").status_code == 200
    assert (key.scopes, key.namespaces) == (["read"], ["a", "b"])
    for path in (
        page("tenants_apikey_changelist"),
        page("tenants_apikey_change", key.pk),
        page("tenants_auditevent_changelist"),
    ):
        assert secret not in page_content(superuser, path)
    assert [event.actor.split(":")[0] for event in events("key.issue") if event.target == key.prefix] == ["staff"]


def test_an_operators_key_is_created_only_on_request(superuser: Client, api: Api) -> None:
    assert "soma_" not in submit(superuser, "tenants_apikey_issue", tenant="", scopes=["read"])
    assert not ApiKey.objects.filter(tenant=None).exists()
    secret = secret_in(submit(superuser, "tenants_apikey_issue", tenant="*", scopes=["read"]))

    assert Api(secret, api.tenant).get("/api/v1/tenants").status_code == 200


def test_a_rotated_key_remains_valid_for_a_day(superuser: Client, api: Api) -> None:
    key = ApiKey.objects.get(tenant=api.tenant)

    secret = secret_in(submit(superuser, "tenants_apikey_rotate", key.pk))
    key.refresh_from_db()

    assert Api(secret, api.tenant).get("/stats").status_code == api.get("/stats").status_code == 200
    assert key.expires_at is not None
    assert ApiKey.objects.get(prefix=secret.split("_")[1]).scopes == key.scopes
    assert [event.actor.split(":")[0] for event in events("key.rotate")] == ["staff", "staff"]  # the old, the new


def test_a_revoked_key_stops(superuser: Client, api: Api) -> None:
    submit(superuser, "tenants_apikey_revoke", ApiKey.objects.get(tenant=api.tenant).pk)

    assert api.get("/stats").status_code == 401


def test_jobs_are_started_once_and_can_be_cancelled(superuser: Client) -> None:
    submit(superuser, "memories_job_compare")
    submit(superuser, "memories_job_compare")
    submit(superuser, "memories_job_rebuild")
    rebuild = Job.objects.get(kind=Job.Kind.REBUILD)
    submit(superuser, "memories_job_give_up", rebuild.pk)

    assert Job.objects.count() == 2
    assert {event.actor.split(":")[0] for event in events("job.start") + events("job.cancel")} == {"staff"}


def test_creating_staff_with_tenants_is_audited(superuser: Client, tenant: Tenant) -> None:
    made = {"username": "new", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert superuser.post(page("auth_user_add"), made).status_code == 302
    user = User.objects.get(username="new")
    page_content(superuser, page("auth_user_change", user.pk))
    changed = superuser.post(
        page("auth_user_change", user.pk),
        {
            "username": "new", "is_active": "on", "is_staff": "on", "staff_tenants-TOTAL_FORMS": "1",
            "staff_tenants-INITIAL_FORMS": "0", "staff_tenants-0-tenant": tenant.slug,
        },
    )  # fmt: skip

    assert changed.status_code == 302, changed.context["errors"]
    assert [assignment.tenant for assignment in StaffTenant.objects.filter(user=user)] == [tenant]
    assert [len(events(f"user.{verb}")) for verb in ("create", "update")] == [1, 1]


def test_the_log_is_narrowed_and_cannot_be_changed(superuser: Client, api: Api, stranger: Api) -> None:
    api.store("1")
    stranger.store("2")
    event = AuditEvent.objects.filter(tenant=api.tenant, action="memory.store").get()

    text = page_content(superuser, page("tenants_auditevent_changelist", of="acme", action="memory.store"))
    assert f"tenants/auditevent/{event.pk}/change/" in text
    assert text.count("memory.store</td>") == 1
    for method in ("change", "delete"):
        superuser.post(page(f"tenants_auditevent_{method}", event.pk), {"action": "nothing", "post": "yes"})
    assert AuditEvent.objects.get(pk=event.pk).action == "memory.store"


def test_an_event_leads_to_the_page_that_shows_the_change(superuser: Client, api: Api) -> None:
    memory = api.store("1")["id"]
    conversation = api.post("/api/v1/conversations", {"label": "Zoo"}).json()["id"]
    seen = {
        event.action: page_content(superuser, page("tenants_auditevent_change", event.pk))
        for event in AuditEvent.objects.all()
    }

    assert memory_page(api.tenant, memory) in seen["memory.store"]
    assert page("conversations_conversation_change", conversation) in seen["conversation.create"]
    assert "Open the" not in seen["key.issue"]


def test_every_audited_action_can_be_selected_in_the_filter() -> None:
    root = Path(settings.BASE_DIR)
    sources = [path.read_text() for room in PACKAGES for path in (root / room).rglob("*.py")]
    written = {action for text in sources for action in re.findall(r'audit\.record\([^"]*"([a-z]+\.[a-z_]+)"', text)}

    assert written
    assert written <= set(ACTIONS)


# --- Long lists --------------------------------------------------------------------------------------------------


def statements(ask: Callable[[], object]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        ask()
    return [query["sql"] for query in captured]


def fill(tenant: Tenant, count: int) -> None:
    caller = Caller(tenant=tenant, actor="key:test", scopes=frozenset(SCOPES), operator=True)
    start = Memory.objects.for_tenant(tenant).count()
    items = [NewMemory(coordinates.of([n]), {"text": f"aardvark {n}"}) for n in range(start, start + count)]
    services.store_many(caller, items)
    for number in range(count // 10):
        keys.issue(caller, tenant, name=str(number))


@pytest.mark.parametrize("name", [*LISTS])
@pytest.mark.parametrize("query", [{}, {"q": "aardvark"}], ids=str)
def test_a_list_of_any_length_takes_the_same_statements_and_no_count(
    superuser: Client, tenant: Tenant, name: str, query: dict[str, str]
) -> None:
    fill(tenant, 10)
    drain()
    path = page(f"{name}_changelist", tenant="acme", **query)
    page_content(superuser, path)
    few = statements(lambda: page_content(superuser, path))
    fill(tenant, 150)
    drain()
    many = statements(lambda: page_content(superuser, path))

    assert len(many) <= len(few) + 1, many  # an estimate if there is more than a page
    assert len(many) <= 14
    for sql in many:
        if "sfm_" in sql and "sfm_memory_terms" not in sql and "sfm_memories_fts" not in sql and not query:
            assert not re.match(r"SELECT COUNT\(", sql), sql
            assert "OFFSET" not in sql


def test_pages_go_forth_and_back_without_losing_or_repeating_a_row(superuser: Client, tenant: Tenant) -> None:
    fill(tenant, 130)
    path = page("tenants_auditevent_changelist", of="acme")

    def rows(text: str) -> list[int]:
        return [int(number) for number in re.findall(r"auditevent/(\d+)/change/", text)]

    def follow(text: str, rel: str) -> str:
        match = re.search(rf'href="([^"]+)" rel="{rel}"', text)
        assert match
        return page_content(superuser, path.partition("?")[0] + match[1].replace("&amp;", "&"))

    first = page_content(superuser, path)
    second = follow(first, "next")
    third = follow(second, "next")
    seen = [row for text in (first, second, third) for row in dict.fromkeys(rows(text))]

    assert seen == sorted(AuditEvent.objects.filter(tenant=tenant).values_list("id", flat=True), reverse=True)
    assert 'rel="next"' not in third
    assert rows(follow(third, "prev")) == rows(second)
    assert rows(follow(follow(third, "prev"), "prev")) == rows(first)
    assert 'rel="prev"' not in first


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJ4Il0", "WzFd" * 600])
def test_an_invalid_cursor_shows_the_first_page(superuser: Client, tenant: Tenant, cursor: str) -> None:
    for name in ("tenants_auditevent", "tenants_apikey", "tenants_tenant"):
        page_content(superuser, page(f"{name}_changelist", after=cursor))
        page_content(superuser, page(f"{name}_changelist", before=cursor))


def test_few_rows_are_counted_and_many_are_not(superuser: Client, tenant: Tenant) -> None:
    rows = AuditEvent.objects.filter(tenant=tenant)
    caller = Caller(tenant=tenant, actor="key:test", scopes=frozenset(SCOPES))
    AuditEvent.objects.bulk_create(
        AuditEvent(tenant=tenant, actor=caller.actor, action="a", target=str(n)) for n in range(row_counts.COUNTED)
    )
    assert str(row_counts.estimate(rows)) == f"{row_counts.COUNTED:,}"
    AuditEvent.objects.create(tenant=tenant, actor=caller.actor, action="a", target="x")

    assert str(row_counts.estimate(rows)).startswith(("about", "more than"))


def test_the_stored_session_contains_no_secret(superuser: Client, api: Api) -> None:
    submit(superuser, "tenants_apikey_issue", tenant="acme", scopes=["read"])

    assert "soma_" not in json.dumps(dict(superuser.session.items()))


def test_a_key_shows_its_last_use_and_describes_its_scopes(superuser: Client, api: Api) -> None:
    key = ApiKey.objects.get(tenant=api.tenant)
    before = page_content(superuser, page("tenants_apikey_change", key.pk))
    api.get("/stats")
    key_usage.flush()
    after = page_content(superuser, page("tenants_apikey_change", key.pk))
    listed = page_content(superuser, page("tenants_apikey_changelist"))

    assert "<b>write</b>: store and change memories and conversations" in before
    assert f'<code id="prefix">{key.prefix}</code>' in before
    assert "never" in before
    assert after.count("<time datetime=") > before.count("<time datetime=")
    assert "read, write, delete, administer" in listed
