"""Console passwords and sessions: requirements, and how sessions start and end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import hashers
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from tests.conftest import page, page_content
from tests.console.conftest import PASSWORD


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def is_signed_in(client: Client) -> bool:
    return bool(client.get(page("index")).status_code == 200)


def sign_in(client: Client, password: str, path: str = "") -> Any:
    return client.post(path or page("login"), {"username": "superuser", "password": password})


def test_no_account_exists_before_an_operator_creates_one(db: None) -> None:
    assert not User.objects.exists()


def test_a_password_is_hashed_slowly() -> None:
    algorithm, iterations, salt, _ = hashers.make_password(PASSWORD, hasher="pbkdf2_sha256").split("$")

    assert hashers.get_hasher("default").algorithm == algorithm
    assert int(iterations) >= 600_000
    assert len(salt) >= 22


@pytest.mark.parametrize(
    "password", ["short", "eleven char", "qwertyuiop123", "alice-superuser", "SomaMemory-2026", "globexadmin12"]
)
def test_a_password_that_is_easy_to_guess_is_refused(settings: Any, password: str) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "memory.globex.org"]
    with pytest.raises(ValidationError):
        validate_password(password, User(username="alice-superuser"))


@pytest.mark.parametrize(
    "password", ["twelve lower", "a memory of gardens", "x" * 64 + " and more", "пароль из двух слов"]
)
def test_a_password_may_have_any_composition(password: str) -> None:
    validate_password(password, User(username="superuser"))


def test_the_sign_in_form_asks_for_a_masked_password_that_managers_can_fill(db: None) -> None:
    form = Client().get(page("login")).content.decode()

    assert 'type="password"' in form
    assert 'autocomplete="current-password"' in form
    assert "onpaste" not in form


@pytest.mark.parametrize("changed", [PASSWORD.upper(), PASSWORD + " ", PASSWORD[:-1]])
def test_a_password_counts_exactly_as_it_was_sent(user: User, changed: str) -> None:
    client = Client()

    assert sign_in(client, changed).status_code == 200
    assert not is_signed_in(client)


def test_a_session_begins_with_a_new_random_token(user: User) -> None:
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = planted = "a" * 32
    sign_in(client, PASSWORD)

    token = client.cookies[settings.SESSION_COOKIE_NAME].value
    assert token != planted
    assert len(token) == 32


def test_a_session_token_with_a_nul_character_is_ignored(user: User) -> None:
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = "a" * 10 + "\0"

    assert client.get(page("login")).status_code == 200
    assert not is_signed_in(client)


def test_sign_in_leads_to_no_other_host(user: User) -> None:
    response = sign_in(Client(), PASSWORD, page("login") + "?next=https://evil.example.org/")

    assert response.status_code == 302
    assert response["Location"].startswith("/admin/")


def test_signing_out_ends_the_session_on_the_server(user: User) -> None:
    client = signed_in(user)
    token = client.cookies[settings.SESSION_COOKIE_NAME].value
    client.post(page("logout"))

    client.cookies[settings.SESSION_COOKIE_NAME] = token
    assert not is_signed_in(client)


def test_every_page_has_a_way_to_sign_out(user: User) -> None:
    client = signed_in(user)

    for name in ("index", "tenants_tenant_changelist", "explorer"):
        assert page("logout") in page_content(client, page(name))


def test_a_disabled_user_has_no_session(user: User) -> None:
    client = signed_in(user)
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert not is_signed_in(client)


def test_a_session_in_use_ends_at_the_time_that_was_set_at_sign_in(user: User) -> None:
    client = signed_in(user)
    ends = Session.objects.get().expire_date
    session = client.session
    session["tenant"] = "acme"
    session.save()

    assert Session.objects.get().expire_date == ends
    assert abs(ends - timezone.now() - timedelta(seconds=settings.SESSION_COOKIE_AGE)) < timedelta(minutes=10)


def test_a_page_is_left_when_its_session_has_expired(user: User) -> None:
    client = signed_in(user)

    assert int(client.get(page("index"))["Refresh"]) > settings.SESSION_IDLE_S
    assert "Refresh" not in client.post(page("logout"))
    assert "Refresh" not in Client().get(page("login"))


def test_one_user_may_have_several_sessions(user: User) -> None:
    first, second = signed_in(user), signed_in(user)

    assert is_signed_in(first)
    assert is_signed_in(second)


def test_a_changed_password_needs_the_old_one_and_ends_all_other_sessions(user: User) -> None:
    here, elsewhere = signed_in(user), signed_in(user)
    new = {"new_password1": "another pass phrase", "new_password2": "another pass phrase"}

    assert here.post(page("password_change"), {"old_password": "wrong", **new}).status_code == 200
    assert is_signed_in(elsewhere)
    assert here.post(page("password_change"), {"old_password": PASSWORD, **new}).status_code == 302

    assert is_signed_in(here)
    assert not is_signed_in(elsewhere)


def test_setting_the_password_of_another_user_ends_their_sessions(user: User) -> None:
    other = User.objects.create_user("staff", password=PASSWORD, is_staff=True)
    theirs = signed_in(other)
    new = {"password1": "another pass phrase", "password2": "another pass phrase", "usable_password": "true"}

    assert signed_in(user).post(page("auth_user_password_change", other.pk), new).status_code == 302

    assert not is_signed_in(theirs)
