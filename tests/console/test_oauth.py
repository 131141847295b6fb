"""Connected apps: the flow, its limits, and the attacks in OAuth's security best current practice (RFC 9700)."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from console.models import OAuthClient, OAuthGrant, StaffTenant
from console.oauth import clients, grants, maintenance
from memories.models import Memory
from tenants import keys
from tenants.limits import policy
from tenants.models import ApiKey, AuditEvent, Tenant
from tests.conftest import Api, page, problem_of
from tests.support.mcp import call
from tests.support.mcp import error_of as tool_error
from tests.support.oauth import AUTHORIZE, CALLBACK, CHALLENGE, RESOURCE, URL, VERIFIER, App, answer, post, returned


@pytest.fixture(autouse=True)
def oauth(settings: Any) -> None:
    settings.OAUTH_URL = URL


@pytest.fixture
def app(staff: Client) -> App:
    return App.create(staff)


def error_of(response: Any, status: int = 400) -> str:
    assert response.status_code == status, response.content
    error: str = response.json()["error"]
    return error


def is_connected(tokens: dict[str, Any]) -> bool:
    keys.forget_cached()
    return bool(answer(tokens["access_token"]).status_code == 200)


# --- The flow ---------------------------------------------------------------------------------------------------------


def test_the_metadata_names_every_endpoint() -> None:
    document = Client().get("/.well-known/oauth-authorization-server").json()

    assert document["issuer"] == URL
    assert document["authorization_endpoint"] == URL + AUTHORIZE
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"]
    assert document["client_id_metadata_document_supported"]
    for name in ("token_endpoint", "revocation_endpoint", "registration_endpoint"):
        assert Client().get(document[name].removeprefix(URL)).status_code == 405


@pytest.mark.parametrize("path", ["/mcp", "/mcp/projects/apollo"])
def test_a_refused_message_leads_to_the_metadata_of_its_endpoint(tenant: Tenant, path: str) -> None:
    challenge = answer("none", path)["WWW-Authenticate"]
    where = challenge.partition('resource_metadata="')[2].rstrip('"').removeprefix(URL)

    assert Client().get(where).json()["resource"] == URL + path
    assert Client().get(where).json()["authorization_servers"] == [URL]


@pytest.mark.parametrize("path", ["mcpx", "api/v1/memories", "mcp/a b"])
def test_nothing_but_the_mcp_endpoint_is_a_protected_resource(path: str) -> None:
    response: Any = Client().get(f"/.well-known/oauth-protected-resource/{path}")

    problem_of(response, 404, "not_found")


@pytest.mark.parametrize("path", ["oauth/token", "oauth/register", "oauth/revoke"])
def test_no_endpoint_exists_while_oauth_is_off(settings: Any, superuser: Client, path: str) -> None:
    settings.OAUTH_URL = ""

    response: Any = Client().post(f"/{path}")
    problem_of(response, 404, "not_found")
    assert Client().get("/.well-known/oauth-authorization-server").status_code == 404
    assert superuser.get(AUTHORIZE).status_code == 404


def test_a_registered_app_is_connected(staff: Client, api: Api) -> None:
    registered = Client().post(
        "/oauth/register", {"client_name": "Notes", "redirect_uris": [CALLBACK]}, content_type="application/json"
    )
    app = App(staff, registered.json()["client_id"])

    tokens = app.connect()

    assert registered.status_code == 201
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "read write delete"
    assert call(Api(tokens["access_token"], api.tenant), "memory_store", content="x")["created"]
    [grant] = OAuthGrant.objects.all()
    assert AuditEvent.objects.get(action="memory.store").actor == f"key:{grant.key.prefix if grant.key else ''}"
    assert list(AuditEvent.objects.filter(action__in=("grant.approve", "key.issue"), tenant=api.tenant).values_list(
        "action", flat=True).order_by("id"))[-2:] == ["grant.approve", "key.issue"]  # fmt: skip


def test_an_access_token_has_the_rights_that_the_user_chose(app: App, api: Api) -> None:
    app.consent = {"tenant": "acme", "scopes": ["read"], "namespaces": "apollo\nzeus", "user_id": "ada"}
    tokens = app.connect()

    key = ApiKey.objects.get(grant__isnull=False)
    assert tokens["scope"] == "read"
    assert (key.scopes, key.namespaces, key.user_id, key.resource) == (["read"], ["apollo", "zeus"], "ada", RESOURCE)


def test_a_namespace_in_the_url_limits_the_app_to_it(app: App) -> None:
    app.code(resource=f"{RESOURCE}/apollo")

    assert OAuthGrant.objects.get().namespaces == ["apollo"]


def test_a_call_repeated_after_a_refresh_stores_nothing_twice(app: App, tenant: Tenant) -> None:
    def store(tokens: dict[str, Any]) -> Any:
        return call(Api(tokens["access_token"], tenant, {"Idempotency-Key": "a"}), "memory_store", content="once")

    tokens = app.connect()
    first = store(tokens)
    again = store(app.refresh(tokens["refresh_token"]).json())

    assert again == first
    assert Memory.objects.for_tenant(tenant).count() == 1


def test_the_stored_response_to_an_app_needs_the_secret_key(app: App, tenant: Tenant, settings: Any) -> None:
    api = Api(app.connect()["access_token"], tenant, {"Idempotency-Key": "a"})
    call(api, "memory_store", content="once")

    settings.SECRET_KEY = "another"

    assert "different request" in tool_error(api, "memory_store", content="once")


def test_a_refresh_replaces_both_tokens_and_keeps_the_key(app: App) -> None:
    first = app.connect()
    second = app.refresh(first["refresh_token"]).json()

    assert is_connected(second)
    assert not is_connected(first)
    assert ApiKey.objects.filter(grant__isnull=False).count() == 1


def test_no_token_is_stored(app: App) -> None:
    code = app.code()
    tokens = app.exchange(code).json()
    rows = [*OAuthGrant.objects.values_list(), *ApiKey.objects.values_list(), *AuditEvent.objects.values_list()]

    for secret in (code, tokens["access_token"], tokens["refresh_token"]):
        assert secret not in str(rows)


def test_a_user_sees_and_disconnects_their_apps(app: App, staff: Client) -> None:
    tokens = app.connect()
    grant = OAuthGrant.objects.get()

    assert "Notes" in staff.get(page("console_oauthgrant_changelist")).content.decode()
    staff.post(page("console_oauthgrant_disconnect", grant.pk), {"_form_submitted": "on"})

    assert not is_connected(tokens)
    assert error_of(app.refresh(tokens["refresh_token"])) == "invalid_grant"


def test_ended_grants_and_unused_clients_are_removed(app: App) -> None:
    app.connect()
    OAuthClient.objects.create(client_id="unused", name="x", created_at=timezone.now() - timedelta(days=2))
    OAuthGrant.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    maintenance.prune()

    assert not OAuthGrant.objects.exists()
    assert not ApiKey.objects.exclude(resource=None).exists()
    assert not OAuthClient.objects.filter(client_id="unused").exists()


# --- Attacks on the authorization endpoint ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://evil.example.com/callback",
        CALLBACK + "/../evil",
        CALLBACK + "?next=https://evil.example.com",
        CALLBACK.upper(),
        CALLBACK.replace("app.", "app.example.com.evil."),
        "https://app.example.com@evil.example.com/callback",
        "http://app.example.com/callback",
        "javascript:alert(1)",
        None,
    ],
)
def test_a_redirect_to_an_address_that_is_not_the_apps_is_refused(app: App, redirect_uri: str | None) -> None:
    for response in (app.show(redirect_uri=redirect_uri), app.decide(redirect_uri=redirect_uri)):
        assert response.status_code == 400
        assert not response.has_header("Location")


def test_an_unknown_app_never_causes_a_redirect(app: App) -> None:
    response = app.show(client_id="nobody")

    assert response.status_code == 400
    assert not response.has_header("Location")


@pytest.mark.parametrize("changes", [{"code_challenge": None, "code_challenge_method": None}, {"code_challenge": None}])
def test_a_request_without_pkce_is_refused(app: App, changes: dict[str, Any]) -> None:
    assert returned(app.decide(**changes))["error"] == "invalid_request"


@pytest.mark.parametrize("method", ["plain", None, "s256", "S512"])
def test_a_downgrade_of_pkce_is_refused(app: App, method: str | None) -> None:
    assert returned(app.decide(code_challenge=VERIFIER, code_challenge_method=method))["error"] == "invalid_request"


@pytest.mark.parametrize("response_type", ["token", "id_token", "code token", None])
def test_the_implicit_grant_is_refused(app: App, response_type: str | None) -> None:
    assert returned(app.decide(response_type=response_type))["error"] == "unsupported_response_type"


@pytest.mark.parametrize("resource", [None, "https://other.example.org/mcp", URL, f"{URL}/api/v1", f"{URL}.evil/mcp"])
def test_a_token_for_another_server_is_refused(app: App, resource: str | None) -> None:
    assert returned(app.decide(resource=resource))["error"] == "invalid_target"


def test_a_parameter_given_twice_is_refused(app: App) -> None:
    query = app.request()
    response = app.browser.get(AUTHORIZE, {**query, "redirect_uri": [CALLBACK, "https://evil.example.com"]})

    assert response.status_code == 400


@pytest.mark.parametrize("decision", ["allow", "refuse"])
def test_every_answer_names_its_issuer_against_mix_up(app: App, decision: str) -> None:
    fields = returned(app.decide(decision))

    assert fields["iss"] == URL
    assert fields["state"] == "s"


def test_errors_name_the_issuer_too(app: App) -> None:
    assert returned(app.decide(scope="nothing"))["iss"] == URL


@pytest.mark.parametrize("changes", [{"scope": "nothing"}, {"response_type": "token"}, {"resource": None}])
def test_an_invalid_request_does_not_redirect_automatically(app: App, changes: dict[str, Any]) -> None:
    response = app.show(**changes)

    assert response.status_code == 400
    assert not response.has_header("Location")
    link = html.unescape(re.findall(r'<a href="(https://app.example.com[^"]*)"', response.content.decode())[0])
    assert parse_qs(urlsplit(link).query)["iss"] == [URL]  # the user can still report it to the app


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"request": "eyJhbGciOiJub25lIn0.e30."}, "request_not_supported"),
        ({"request_uri": "https://evil.example.com/request"}, "request_uri_not_supported"),
    ],
)
def test_parameters_that_change_the_request_or_the_response_are_rejected(
    app: App, changes: dict[str, Any], error: str
) -> None:
    assert returned(app.decide(**changes))["error"] == error


def test_a_page_that_frames_the_consent_is_refused(app: App) -> None:
    response = app.show()

    assert response.status_code == 200
    assert response["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert "form-action 'self' https://app.example.com;" in response["Content-Security-Policy"]
    assert response["Referrer-Policy"] == "same-origin"
    assert "no-store" in response["Cache-Control"]


def test_a_forged_consent_is_refused(app: App) -> None:
    forger = Client(enforce_csrf_checks=True)
    forger.cookies = app.browser.cookies

    response = forger.post(AUTHORIZE, {**app.consent, "decision": "allow"}, query_params=app.request())

    assert response.status_code == 403
    assert not OAuthGrant.objects.exists()


def test_a_request_alone_gives_nothing(app: App) -> None:
    app.show()

    assert not OAuthGrant.objects.exists()


def test_only_signed_in_users_see_the_consent(app: App) -> None:
    response = Client().get(AUTHORIZE, app.request())

    assert response["Location"].startswith("/admin/login/?next=/admin/oauth/authorize/")


def test_a_user_cannot_give_rights_to_another_tenant(app: App, stranger: Api) -> None:
    app.consent["tenant"] = stranger.tenant.slug

    assert app.decide().status_code == 400
    assert not OAuthGrant.objects.exists()


def test_a_user_cannot_give_rights_that_they_lack(app: App) -> None:
    User.objects.get(username="acme-staff").user_permissions.set(Permission.objects.filter(codename="view_memory"))

    assert app.decide().status_code == 403
    assert not OAuthGrant.objects.exists()


@pytest.mark.parametrize("scopes", [["admin"], ["read", "admin"], []])
def test_the_form_gives_no_scope_that_was_not_offered(app: App, scopes: list[str]) -> None:
    app.consent["scopes"] = scopes

    assert app.decide(scope="read write admin").status_code == 400


def test_names_of_apps_are_text(staff: Client) -> None:
    app = App.create(staff)
    OAuthClient.objects.update(name="<script>alert(1)</script>")

    assert b"<script>alert" not in app.show().content


# --- Attacks on the token endpoint ------------------------------------------------------------------------------------


def test_a_replayed_code_revokes_its_tokens(app: App) -> None:
    code = app.code()
    tokens = app.exchange(code).json()

    assert error_of(app.exchange(code)) == "invalid_grant"
    assert not is_connected(tokens)
    assert error_of(app.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert AuditEvent.objects.filter(action="grant.revoke").count() == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": None}, "invalid_grant"),
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": CHALLENGE}, "invalid_grant"),  # the challenge, as with the method "plain"
        ({"code_verifier": "v" * 42}, "invalid_grant"),
        ({"redirect_uri": "https://evil.example.com"}, "invalid_grant"),
        ({"resource": f"{RESOURCE}/other"}, "invalid_target"),
        ({"code": "guessed"}, "invalid_grant"),
        ({"code": None}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
    ],
)
def test_a_stolen_or_injected_code_is_worth_nothing(app: App, changes: dict[str, Any], error: str) -> None:
    code = app.code()

    assert error_of(app.exchange(code, **changes)) == error
    assert app.exchange(code).status_code == 200  # the attempt does not disturb the app


def test_a_code_of_another_app_is_refused(app: App, staff: Client) -> None:
    other = App.create(staff, "https://other.example.com/callback")

    assert error_of(other.exchange(app.code())) == "invalid_grant"


def test_an_unknown_app_gets_no_tokens(app: App) -> None:
    assert error_of(app.exchange(app.code(), client_id="nobody"), 401) == "invalid_client"


def test_an_expired_code_is_refused(app: App) -> None:
    code = app.code()
    OAuthGrant.objects.update(expires_at=timezone.now())

    assert error_of(app.exchange(code)) == "invalid_grant"


def test_parameters_in_the_url_are_refused(app: App) -> None:
    response = post(f"/oauth/token?code={app.code()}", {"grant_type": "authorization_code"})

    assert error_of(response) == "invalid_request"


def test_a_parameter_given_twice_gets_no_tokens(app: App) -> None:
    content = f"grant_type=authorization_code&code=a&code={app.code()}&client_id={app.client_id}"
    form = "application/x-www-form-urlencoded"

    assert error_of(Client().generic("POST", "/oauth/token", content, content_type=form)) == "invalid_request"


def test_a_reused_refresh_token_revokes_the_grant(app: App) -> None:
    first = app.connect()
    second = app.refresh(first["refresh_token"]).json()

    assert error_of(app.refresh(first["refresh_token"])) == "invalid_grant"
    assert not is_connected(second)
    assert error_of(app.refresh(second["refresh_token"])) == "invalid_grant"


def test_a_forged_refresh_token_neither_works_nor_revokes(app: App) -> None:
    tokens = app.connect()
    forged = tokens["refresh_token"][:-1] + ("A" if tokens["refresh_token"][-1] != "A" else "B")

    for token in (forged, "", "soma_refresh_", tokens["access_token"]):
        assert error_of(app.refresh(token)) == "invalid_grant"
    assert is_connected(tokens)


def test_a_refresh_token_of_another_app_is_refused(app: App, staff: Client) -> None:
    tokens = app.connect()
    other = App.create(staff, "https://other.example.com/callback")

    assert error_of(other.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert is_connected(tokens)


@pytest.mark.parametrize("scope", ["read write", "read admin"])
def test_a_refresh_adds_no_scope(app: App, scope: str) -> None:
    app.consent["scopes"] = ["read"]

    assert error_of(app.refresh(app.connect()["refresh_token"], scope=scope)) == "invalid_scope"


def test_a_refresh_may_ask_for_fewer_scopes(app: App) -> None:
    tokens = app.refresh(app.connect()["refresh_token"], scope="read").json()

    assert tokens["scope"] == "read"
    assert ApiKey.objects.get(grant__isnull=False).scopes == ["read"]


def test_a_refresh_for_another_resource_is_refused(app: App) -> None:
    refresh_token = app.connect()["refresh_token"]

    assert error_of(app.refresh(refresh_token, resource=f"{RESOURCE}/other")) == "invalid_target"


def test_an_expired_refresh_token_is_refused(app: App) -> None:
    tokens = app.connect()
    OAuthGrant.objects.update(expires_at=timezone.now())

    assert error_of(app.refresh(tokens["refresh_token"])) == "invalid_grant"


def test_a_grant_ends_after_a_year_even_if_it_is_in_use(app: App) -> None:
    tokens = app.connect()
    began = timezone.now() - grants.GRANT_LIFETIME
    OAuthGrant.objects.update(created_at=began)
    tokens = app.refresh(tokens["refresh_token"]).json()

    assert error_of(app.refresh(tokens["refresh_token"])) == "invalid_grant"


@pytest.mark.parametrize("loss", ["inactive", "no longer staff", "no tenant", "no rights", "suspended tenant"])
def test_an_app_loses_access_with_the_user_who_approved_it(app: App, loss: str) -> None:
    tokens = app.connect()
    user = User.objects.get(username="acme-staff")
    match loss:
        case "inactive":
            User.objects.filter(pk=user.pk).update(is_active=False)
        case "no longer staff":
            User.objects.filter(pk=user.pk).update(is_staff=False)
        case "no tenant":
            StaffTenant.objects.all().delete()
        case "no rights":
            user.user_permissions.clear()
        case "suspended tenant":
            Tenant.objects.filter(slug="acme").update(active=False)

    assert error_of(app.refresh(tokens["refresh_token"])) == "invalid_grant"


def test_an_app_counts_towards_the_quota_of_keys_until_it_is_disconnected(app: App, operator: Api) -> None:
    tokens = app.connect()
    live = ApiKey.objects.filter(tenant__slug="acme").count()
    operator.patch("/api/v1/tenants/acme", {"quotas": {"keys": live}})
    ApiKey.objects.exclude(resource=None).update(expires_at=timezone.now())

    refused = operator.post("/api/v1/tenants/acme/keys", {})
    assert app.revoke(tokens["refresh_token"]).status_code == 200
    created = operator.post("/api/v1/tenants/acme/keys", {})
    assert (refused.status_code, created.status_code) == (403, 201)


# --- Attacks with an access token -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/mcp/other", "/api/v1/graph/link", "/memories", "/api/v1/memories/search"])
def test_an_access_token_is_worth_nothing_elsewhere(app: App, path: str) -> None:
    problem_of(answer(app.connect()["access_token"], path), 401, "unauthenticated")


def test_an_access_token_of_another_audience_is_refused(app: App, settings: Any) -> None:
    token = app.connect()["access_token"]
    settings.OAUTH_URL = "https://other.example.org"

    problem_of(answer(token), 401, "unauthenticated")


def test_an_expired_access_token_is_refused(app: App) -> None:
    token = app.connect()["access_token"]
    ApiKey.objects.update(expires_at=timezone.now())
    keys.forget_cached()

    problem_of(answer(token), 401, "unauthenticated")


def test_an_access_token_in_the_url_is_refused(app: App) -> None:
    token = app.connect()["access_token"]

    response: Any = Client().post(f"/mcp?access_token={token}", {}, content_type="application/json")

    problem_of(response, 401, "unauthenticated")


@pytest.mark.parametrize("token", ["refresh_token", "code"])
def test_a_refresh_token_or_a_code_is_not_an_access_token(app: App, token: str) -> None:
    code = app.code()
    tokens = {**app.exchange(code).json(), "code": code}

    problem_of(answer(tokens[token]), 401, "unauthenticated")


def test_a_token_of_one_tenant_reaches_no_other(app: App, stranger: Api) -> None:
    token = app.connect()["access_token"]

    problem_of(Api(token, stranger.tenant, {"X-Tenant": stranger.tenant.slug}).post("/mcp", {}), 403, "forbidden")


@pytest.mark.parametrize("token", ["access_token", "refresh_token"])
def test_a_revoked_token_ends_the_grant(app: App, token: str) -> None:
    tokens = app.connect()

    assert app.revoke(tokens[token]).status_code == 200
    assert not is_connected(tokens)
    assert error_of(app.refresh(tokens["refresh_token"])) == "invalid_grant"


def test_an_app_cannot_revoke_the_tokens_of_another(app: App, staff: Client, api: Api) -> None:
    tokens = app.connect()
    other = App.create(staff, "https://other.example.com/callback")

    for token in (tokens["access_token"], tokens["refresh_token"], api.key, "guessed"):
        assert other.revoke(token).status_code == 200
    assert is_connected(tokens)
    assert api.get("/stats").status_code == 200


def test_the_key_of_an_app_cannot_be_rotated_into_an_unlimited_one(app: App, operator: Api) -> None:
    app.connect()
    prefix = ApiKey.objects.get(grant__isnull=False).prefix

    problem_of(operator.post(f"/api/v1/tenants/acme/keys/{prefix}/rotate", {}), 409, "conflict")


# --- Attacks on registration ------------------------------------------------------------------------------------------


def register(**metadata: Any) -> Any:
    body = {"client_name": "Notes", "redirect_uris": [CALLBACK], **metadata}
    return Client(raise_request_exception=False).post("/oauth/register", body, content_type="application/json")


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example.com/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.example.com/#fragment",
        "https://user@app.example.com/",
        "https://*.example.com/",
        "https:///callback",
        "https://[broken/",
        "https://app.example.com/;form-action *",
        1,
    ],
)
def test_an_unsafe_redirect_uri_is_not_registered(tenant: Tenant, uri: Any) -> None:
    assert error_of(register(redirect_uris=[uri])) == "invalid_redirect_uri"


@pytest.mark.parametrize(
    "metadata",
    [
        {"client_name": "x" * 201},
        {"client_name": "Claude\u202e"},
        {"client_name": 1},
        {"token_endpoint_auth_method": "private_key_jwt"},
    ],
)
def test_invalid_metadata_is_not_registered(tenant: Tenant, metadata: dict[str, Any]) -> None:
    assert error_of(register(**metadata)) == "invalid_client_metadata"


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'"x"', b"{}" + b" " * 20_000])
def test_a_body_that_is_not_metadata_is_rejected(tenant: Tenant, body: bytes) -> None:
    response = Client().generic("POST", "/oauth/register", body, content_type="application/json")

    assert response.status_code == 400


def test_a_flood_of_registrations_from_an_address_is_bounded(tenant: Tenant) -> None:
    statuses = [register().status_code for _ in range(policy.REGISTRATIONS_PER_MINUTE + 2)]

    assert statuses[0] == 201
    assert statuses[-1] == 429
    assert OAuthClient.objects.count() <= policy.REGISTRATIONS_PER_MINUTE


def test_a_flood_of_registrations_from_many_addresses_is_bounded(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_UNUSED", 2)

    assert [register().status_code for _ in range(3)] == [201, 201, 429]


@pytest.mark.parametrize("name", ["client_id", "code", "scope"])
def test_a_parameter_with_a_nul_character_is_refused(app: App, name: str) -> None:
    assert error_of(app.exchange(app.code(), **{name: "a\0b"})) == "invalid_request"
    assert app.show(**{name: "a\0b"}).status_code == 400


def test_guessing_tokens_from_an_address_is_bounded(app: App, settings: Any) -> None:
    settings.AUTH_FAILURE_RATE, settings.AUTH_FAILURE_BURST = 1, 3

    assert [app.refresh("guessed").status_code for _ in range(5)][-1] == 429


def test_a_code_lives_for_a_minute_and_an_access_token_for_fifteen() -> None:
    assert timedelta(minutes=1) >= grants.CODE_LIFETIME
    assert timedelta(minutes=15) >= grants.ACCESS_LIFETIME
