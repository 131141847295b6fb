"""Tenants and their keys over HTTP, for operators only."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tenants.audit import sealing
from tenants.models import ApiKey, AuditEvent, Tenant
from tenants.services import QUOTAS
from tests.conftest import Api, issue_key, problem_of

V1 = "/api/v1"


def make(operator: Api, slug: str = "new", **fields: Any) -> Any:
    return operator.post(f"{V1}/tenants", {"slug": slug, **fields})


def issue(operator: Api, slug: str = "acme", **fields: Any) -> dict[str, Any]:
    response = operator.post(f"{V1}/tenants/{slug}/keys", fields)
    assert response.status_code == 201, response.content
    issued: dict[str, Any] = response.json()
    return issued


# --- Tenants -----------------------------------------------------------------------------------------------------


def test_a_tenant_is_created_and_its_key_works_immediately(operator: Api) -> None:
    response = make(operator, name="New & Sons")
    assert response.status_code == 201
    made = response.json()
    assert made.pop("created_at").endswith("Z")
    assert made == {
        "slug": "new",
        "name": "New & Sons",
        "active": True,
        "tier": "standard",
        "quotas": dict.fromkeys(QUOTAS),
        "policies": {"auto_label": None, "extract_facts": False, "history_days": None},
    }

    key = issue(operator, "new")["key"]

    Api(key, Tenant()).store("1")
    assert operator.get("/memories/1", x_tenant="new").status_code == 200


def test_policies_are_changed_one_by_one(operator: Api) -> None:
    made = make(operator, policies={"extract_facts": True}).json()
    assert made["policies"] == {"auto_label": None, "extract_facts": True, "history_days": None}

    operator.patch("/api/v1/tenants/new", {"policies": {"auto_label": 0.5}})
    changed = operator.patch("/api/v1/tenants/new", {"policies": {"extract_facts": False}}).json()
    assert changed["policies"] == {"auto_label": 0.5, "extract_facts": False, "history_days": None}
    off = operator.patch("/api/v1/tenants/new", {"policies": {"auto_label": None}}).json()
    assert off["policies"]["auto_label"] is None


@pytest.mark.parametrize(
    "policies", [{"auto_label": 1.5}, {"auto_label": "x"}, {"extract_facts": None}, {"history_days": -1}, {"x": 1}]
)
def test_a_policy_that_is_none_is_refused(operator: Api, policies: dict[str, Any]) -> None:
    make(operator)

    problem_of(operator.patch("/api/v1/tenants/new", {"policies": policies}), 422)


def test_one_slug_is_one_tenant(operator: Api) -> None:
    make(operator, name="first")

    problem_of(make(operator, name="second"), 409, "conflict")

    assert Tenant.objects.get(slug="new").name == "first"


@pytest.mark.parametrize(
    "slug", ["", "A", "a b", "-a", "a-", "_a", "a_", "a.b", "a/b", "\u00e9", "a\n", "x" * 64, None, 1, ["a"]]
)
def test_a_bad_slug_is_refused(operator: Api, slug: Any) -> None:
    problem_of(make(operator, slug), 422, field="slug")


@pytest.mark.parametrize("slug", ["a", "0", "a-b_c", "x" * 63])
def test_a_good_slug_is_taken(operator: Api, slug: str) -> None:
    assert make(operator, slug).status_code == 201


@pytest.mark.parametrize(
    ("fields", "field"), [({"name": "x" * 256}, "name"), ({"name": None}, "name"), ({"active": False}, "active")]
)
def test_a_wrong_field_of_a_tenant_is_named(operator: Api, fields: dict[str, Any], field: str) -> None:
    problem_of(make(operator, **fields), 422, field=field)


def test_tenants_are_listed_in_pages_by_slug(operator: Api) -> None:
    for slug in ("b", "a", "d", "c"):
        make(operator, slug)

    seen: list[str] = []
    query = {"limit": "2"}
    while True:
        page = operator.get(f"{V1}/tenants?{urlencode(query)}").json()
        seen += [row["slug"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]

    assert seen == ["a", "b", "c", "d", "default"]


CURSORS = ["x", "e30", *(base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode() for cursor in (
    [], [1], [None], ["a", "b"], ["\0"], ["a\0b"], ["\ud800"], "a",
))]  # fmt: skip


@pytest.mark.parametrize("cursor", CURSORS)
def test_a_cursor_that_no_list_gave_is_refused(operator: Api, cursor: str) -> None:
    problem_of(operator.get(f"{V1}/tenants?{urlencode({'cursor': cursor})}"), 422, field="cursor")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x"])
def test_a_limit_out_of_bounds_is_refused(operator: Api, limit: str) -> None:
    problem_of(operator.get(f"{V1}/tenants?limit={limit}"), 422, field="limit")


# --- Keys --------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once(api: Api, operator: Api) -> None:
    issued = issue(operator, name="laptop", scopes=["read"], namespaces=["b", "a"], expires_at="2999-01-01T00:00:00Z")
    assert Api(issued["key"], api.tenant).get("/memories?namespace=a").status_code == 200

    secret = issued.pop("key")
    listed = operator.get(f"{V1}/tenants/acme/keys")

    assert issued in listed.json()["items"]
    assert secret not in listed.content.decode()
    assert (issued["name"], issued["scopes"], issued["namespaces"]) == ("laptop", ["read"], ["a", "b"])
    assert (issued["expires_at"], issued["revoked_at"]) == ("2999-01-01T00:00:00Z", None)


def test_a_key_may_read_write_and_delete_by_default(api: Api, operator: Api) -> None:
    assert issue(operator)["scopes"] == ["read", "write", "delete"]


def test_a_secret_may_be_brought_along(api: Api, operator: Api) -> None:
    secret = "sekha-" + "0123456789abcdef" * 2

    assert issue(operator, secret=secret)["key"] == secret

    assert Api(secret, api.tenant).get("/stats").status_code == 200
    problem_of(operator.post(f"{V1}/tenants/acme/keys", {"secret": secret}), 409, "conflict")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"scopes": "read"}, "scopes"),
        ({"scopes": ["read"] * 5}, "scopes"),
        ({"namespaces": ["a b"]}, "namespaces.0"),
        ({"namespaces": ["a"] * 101}, "namespaces"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"name": "x" * 256}, "name"),
        ({"secret": "short"}, "secret"),
        ({"secret": "x" * 513}, "secret"),
        ({"secret": "x" * 31 + " x"}, "secret"),
        ({"tenant": "other"}, "tenant"),
        ({"operator": True}, "operator"),
    ],
)
def test_an_invalid_field_of_a_key_is_named_and_no_key_is_created(
    api: Api, operator: Api, fields: dict[str, Any], field: str
) -> None:
    before = ApiKey.objects.count()

    problem_of(operator.post(f"{V1}/tenants/acme/keys", fields), 422, field=field)

    assert ApiKey.objects.count() == before


def test_a_problem_never_shows_the_secret(api: Api, operator: Api) -> None:
    response = operator.post(f"{V1}/tenants/acme/keys", {"secret": "s3cr3t value that has spaces in it, alas"})

    assert "s3cr3t" not in response.content.decode()


def test_a_revoked_key_stops(api: Api, operator: Api) -> None:
    issued = issue(operator)
    mine = Api(issued["key"], api.tenant)
    assert mine.get("/stats").status_code == 200

    revoked = operator.delete(f"{V1}/tenants/acme/keys/{issued['prefix']}")

    assert revoked.status_code == 200
    assert revoked.json()["revoked_at"].endswith("Z")
    problem_of(mine.get("/stats"), 401)
    assert api.get("/stats").status_code == 200


def test_to_revoke_twice_changes_nothing(api: Api, operator: Api) -> None:
    path = f"{V1}/tenants/acme/keys/{issue(operator)['prefix']}"

    assert operator.delete(path).json() == operator.delete(path).json()


def test_a_key_is_revoked_through_its_own_tenant_alone(api: Api, stranger: Api, operator: Api) -> None:
    prefix = ApiKey.objects.get(tenant=api.tenant).prefix

    problem_of(operator.delete(f"{V1}/tenants/stranger/keys/{prefix}"), 404, "not_found")

    assert api.get("/stats").status_code == 200


@pytest.mark.parametrize(
    "slug", ["nobody", "ACME", "%00", "a%00b", "%ff", "..", "x" * 3000, quote("\u00e9"), quote("'; --")]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_keys_of_an_unknown_tenant_are_404(operator: Api, method: str, slug: str) -> None:
    path = f"{V1}/tenants/{slug}/keys" + ("/prefix" if method == "DELETE" else "")

    problem_of(operator.request(method, path, {} if method == "POST" else None), 404, "not_found")


@pytest.mark.parametrize("prefix", ["nokey", "%00", "%ff", "x" * 3000, quote("\u00e9")])
def test_an_unknown_key_is_404(api: Api, operator: Api, prefix: str) -> None:
    problem_of(operator.delete(f"{V1}/tenants/acme/keys/{prefix}"), 404, "not_found")


def test_actions_of_an_operator_are_audited(operator: Api) -> None:
    make(operator)
    prefix = issue(operator, "new")["prefix"]
    operator.delete(f"{V1}/tenants/new/keys/{prefix}")

    events = AuditEvent.objects.order_by("-id")[:3]
    assert [(event.action, event.target) for event in reversed(events)] == [
        ("tenant.create", "new"),
        ("key.issue", prefix),
        ("key.revoke", prefix),
    ]


def test_changes_of_a_tenants_keys_are_in_the_tenants_own_log(operator: Api) -> None:
    make(operator)
    prefix = issue(operator, "new")["prefix"]
    operator.delete(f"{V1}/tenants/new/keys/{prefix}")

    owners = AuditEvent.objects.filter(target=prefix).values_list("tenant__slug", flat=True)
    assert set(owners) == {"new"}


def test_a_tenants_key_with_every_scope_is_not_an_operators_key(api: Api) -> None:
    for method, path, body in (
        ("GET", "/tenants", None),
        ("POST", "/tenants", {"slug": "mine"}),
        ("GET", "/tenants/acme/keys", None),
        ("POST", "/tenants/acme/keys", {}),
        ("DELETE", "/tenants/acme/keys/x", None),
    ):
        problem_of(api.request(method, V1 + path, body), 403, "forbidden")


@pytest.mark.parametrize("limits", [{"scopes": ("read", "write", "delete")}, {"namespaces": ["mine"]}])
def test_an_operators_key_that_may_not_administer_changes_no_tenant(
    api: Api, operator: Api, limits: dict[str, Any]
) -> None:
    limited = Api(issue_key(None, **limits), operator.tenant)
    prefix = ApiKey.objects.get(tenant=api.tenant).prefix
    for method, path, body in (
        ("POST", "/tenants", {"slug": "mine"}),
        ("PATCH", "/tenants/acme", {"active": False}),
        ("DELETE", "/tenants/acme", None),
        ("POST", "/tenants/acme/keys", {"scopes": ["admin"]}),
        ("POST", f"/tenants/acme/keys/{prefix}/rotate", None),
        ("DELETE", f"/tenants/acme/keys/{prefix}", None),
        ("POST", "/rebuild-embeddings", {}),
    ):
        problem_of(limited.request(method, V1 + path, body), 403, "forbidden")

    assert limited.get(f"{V1}/tenants").status_code == (403 if "namespaces" in limits else 200)


def test_pages_of_keys_joined_are_all_keys_the_newest_first(operator: Api) -> None:
    make(operator)
    made = [issue(operator, "new")["prefix"] for _ in range(5)]
    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = operator.get(f"{V1}/tenants/new/keys?limit=2{cursor}").json()
        pages.append([key["prefix"] for key in answer["items"]])
        cursor = answer["next_cursor"] and f"&cursor={answer['next_cursor']}"

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [prefix for page in pages for prefix in page] == made[::-1]


def test_the_next_page_of_keys_does_not_need_the_last_key_of_the_previous_one(operator: Api) -> None:
    make(operator)
    made = [issue(operator, "new")["prefix"] for _ in range(3)]
    page = operator.get(f"{V1}/tenants/new/keys?limit=1").json()
    ApiKey.objects.filter(prefix=made[2]).delete()  # as the keys of connected apps are
    rest = operator.get(f"{V1}/tenants/new/keys?{urlencode({'cursor': page['next_cursor']})}").json()

    assert [key["prefix"] for key in rest["items"]] == [made[1], made[0]]


# --- Other tasks of operators ------------------------------------------------------------------------------------


def test_a_tenant_is_shown_and_changed(api: Api, operator: Api) -> None:
    changed = operator.patch(f"{V1}/tenants/acme", {"name": "New", "tier": "premium", "quotas": {"keys": 5}})

    assert changed.status_code == 200
    assert changed.json() == operator.get(f"{V1}/tenants/acme").json()
    assert (changed.json()["name"], changed.json()["tier"]) == ("New", "premium")
    assert changed.json()["quotas"]["keys"] == 5
    assert operator.patch(f"{V1}/tenants/acme", {"quotas": {"keys": None}}).json()["quotas"]["keys"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"quotas": {}}, "body"),
        ({"quotas": {"keys": -1}}, "quotas.keys"),
        ({"quotas": {"keys": 2**63}}, "body"),
        ({"quotas": {"wishes": 3}}, "quotas.wishes"),
        ({"tier": "gold"}, "tier"),
        ({"slug": "other"}, "slug"),
        ({"name": "a\0"}, "name"),
    ],
)
def test_a_wrong_change_is_named_and_changes_nothing(api: Api, operator: Api, body: Any, field: str) -> None:
    problem_of(operator.patch(f"{V1}/tenants/acme", body), 422, field=field)

    assert operator.get(f"{V1}/tenants/acme").json()["name"] == "Acme"


def test_a_suspended_tenant_is_rejected_and_keeps_its_data(api: Api, operator: Api) -> None:
    api.store("1")
    operator.patch(f"{V1}/tenants/acme", {"active": False})

    problem_of(api.get("/memories/1"), 401)
    problem_of(operator.get("/memories/1", x_tenant="acme"), 404)

    operator.patch(f"{V1}/tenants/acme", {"active": True})
    assert api.get("/memories/1").status_code == 200


def test_an_operator_is_told_that_a_tenant_is_suspended(api: Api, operator: Api) -> None:
    operator.patch(f"{V1}/tenants/acme", {"active": False})

    assert "suspended" in problem_of(operator.get("/memories/1", x_tenant="acme"), 404)["detail"]


def test_a_rotated_key_and_its_successor_work_side_by_side_for_a_day(api: Api, operator: Api) -> None:
    old = issue(operator, scopes=["read"], namespaces=["n"], name="agent")

    response = operator.post(f"{V1}/tenants/acme/keys/{old['prefix']}/rotate", {})

    new = response.json()
    assert response.status_code == 201
    assert (new["name"], new["scopes"], new["namespaces"]) == ("agent", ["read"], ["n"])
    for key in (old["key"], new["key"]):
        assert Api(key, api.tenant).get("/memories?namespace=n").status_code == 200
    ends = ApiKey.objects.get(prefix=old["prefix"]).expires_at
    assert ends is not None
    assert timedelta(hours=23, minutes=59) < ends - timezone.now() <= timedelta(hours=24)
    assert new["expires_at"] is None


def test_a_rotated_key_ends_when_the_overlap_is_over(api: Api, operator: Api) -> None:
    old = issue(operator, expires_at="2999-01-01T00:00:00Z")
    path = f"{V1}/tenants/acme/keys/{old['prefix']}/rotate"

    new = operator.post(path, {"overlap_hours": 0}).json()

    problem_of(Api(old["key"], api.tenant).get("/stats"), 401)
    assert Api(new["key"], api.tenant).get("/stats").status_code == 200
    assert new["expires_at"] == "2999-01-01T00:00:00Z"
    problem_of(operator.post(path), 409, "conflict")


@pytest.mark.parametrize("hours", [-1, 721, "1", 1.5])
def test_an_overlap_out_of_bounds_is_refused(api: Api, operator: Api, hours: Any) -> None:
    path = f"{V1}/tenants/acme/keys/{issue(operator)['prefix']}/rotate"

    problem_of(operator.post(path, {"overlap_hours": hours}), 422, field="overlap_hours")


def test_the_log_of_a_tenant_is_shown_the_newest_first_and_in_pages(api: Api, operator: Api) -> None:
    for n in range(5):
        api.store(str(n))
    sealing.seal()
    api.delete("/memories/0")
    seen: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = operator.get(f"{V1}/tenants/acme/audit?limit=2{cursor and '&cursor=' + cursor}").json()
        seen += page["items"]
        cursor = page["next_cursor"]

    assert [(row["action"], row["target"]) for row in seen[:3]] == [
        ("memory.delete", "0.0"),
        ("memory.store", "4.0"),
        ("memory.store", "3.0"),
    ]
    assert [row["sealed"] for row in seen[:2]] == [False, True]
    assert len({row["id"] for row in seen}) == len(seen) == 7
    assert seen[0]["address"] == "127.0.0.1"


def test_the_log_is_filtered_by_actor_action_target_and_time(api: Api, operator: Api) -> None:
    api.store("1")
    api.delete("/memories/1")

    def found(**query: str) -> list[str]:
        answer = operator.get(f"{V1}/tenants/acme/audit?{urlencode(query)}").json()
        return [row["action"] for row in answer["items"]]

    assert found(action="memory.delete") == ["memory.delete"]
    assert found(actor="command") == ["key.issue"]
    assert found(target="1.0", until="2999-01-01T00:00:00Z") == ["memory.delete", "memory.store"]
    assert found(since="2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize("cursor", ["x", "e30", "W10", "WyJhIl0", "WzBd", "Wy0xXQ", "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5XQ"])
def test_a_cursor_that_no_log_gave_is_refused(api: Api, operator: Api, cursor: str) -> None:
    problem_of(operator.get(f"{V1}/tenants/acme/audit?{urlencode({'cursor': cursor})}"), 422, field="cursor")


def test_the_commands_do_the_same(api: Api, capsys: Any) -> None:
    call_command("update_tenant", "acme", quota=["memories=7", "bytes=none"], suspend=True)
    call_command("list_tenants")
    assert "suspended" in (out := capsys.readouterr().out)
    assert "memories 7" in out
    call_command("update_tenant", "acme", resume=True)
    api.store("1")
    call_command("tenant_usage", "acme")
    assert "of 7 (14%)" in capsys.readouterr().out
    call_command("audit_log", "acme", action="memory.store")
    assert "default[1.0]" in capsys.readouterr().out
    call_command("create_key", "acme", style="sekha")
    assert capsys.readouterr().out.startswith("sk-sekha-")
    call_command("rotate_key", ApiKey.objects.filter(tenant=api.tenant).earliest("created_at").prefix, tenant="acme")
    assert Api(capsys.readouterr().out.strip(), api.tenant).get("/stats").status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit_log", "acme", "--limit", "0"),
        ("audit_log", "acme", "--limit", "99999999999999999999"),
        ("audit_log", "acme", "--limit", "many"),
        ("rotate_key", "soma_x", "--overlap-hours", "99999999999"),
        ("backup", "--keep-days", "99999999"),
        ("backup", "--keep-days", "-1"),
    ],
)
def test_a_number_outside_the_range_of_an_option_is_reported_in_one_line(
    api: Api, tmp_path: Path, settings: Any, arguments: tuple[str, ...]
) -> None:
    settings.DATA_DIR = tmp_path
    with pytest.raises(CommandError, match=f"{arguments[-2]}: must be a whole number from [01] to "):
        call_command(*arguments)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quota", ["memories", "memories=x", "wishes=3", "memories=-1"])
def test_a_quota_that_cannot_be_is_one_clear_line(api: Api, quota: str) -> None:
    with pytest.raises(CommandError, match=quota.split("=")[0]):
        call_command("update_tenant", "acme", quota=[quota])


@pytest.mark.parametrize(
    ("command", "arguments", "options"),
    [
        ("create_key", [""], {}),
        ("list_keys", [""], {}),
        ("revoke_key", ["PREFIX"], {"tenant": ""}),
        ("rotate_key", ["PREFIX"], {"tenant": ""}),
        ("retry_failed", [], {"tenant": ""}),
    ],
)
def test_a_tenant_whose_name_is_empty_is_not_the_operators(
    api: Api, operator: Api, command: str, arguments: list[str], options: dict[str, str]
) -> None:
    """A script with an unset variable must not get a key for all tenants or for no tenant."""
    mine = ApiKey.objects.get(tenant=None)

    with pytest.raises(CommandError, match="tenant '' does not exist"):
        call_command(command, *(mine.prefix if argument == "PREFIX" else argument for argument in arguments), **options)

    assert list(ApiKey.objects.filter(tenant=None)) == [mine]
    assert ApiKey.objects.get(tenant=None).revoked_at is None
