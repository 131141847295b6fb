"""The second factor for staff users: enrolment, sign-in, recovery and reset."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from console import second_factor
from console.models import SecondFactor
from tenants.models import AuditEvent
from tests.conftest import page
from tests.console.conftest import PASSWORD


@pytest.fixture
def client(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def codes(user: User) -> list[str]:
    """The recovery codes of a user whose second factor is enabled."""
    secret = second_factor.new_secret()
    before = timezone.now() - timedelta(minutes=5)
    return second_factor.turn_on(user, secret, pyotp.TOTP(secret).at(before), before)


def current(user: User) -> str:
    return pyotp.TOTP(SecondFactor.objects.get(user=user).secret).at(timezone.now())


def sign_in(code: str = "") -> int:
    form = {"username": "superuser", "password": PASSWORD, "code": code}
    return Client().post(page("login"), form, REMOTE_ADDR="192.0.2.1").status_code


def test_without_a_second_factor_the_password_is_enough(user: User) -> None:
    assert sign_in() == 302


def test_the_page_offers_a_picture_and_turns_on_with_the_first_code(client: Client, user: User) -> None:
    offered = client.get(page("second_factor")).content.decode()
    secret = re.search(r"Secret: <code>([A-Z2-7]+)</code>", offered)
    assert secret
    assert 'src="data:image/svg+xml' in offered

    response = client.post(page("second_factor"), {"code": pyotp.TOTP(secret[1]).now()})

    assert len(re.findall(r"<li><code>[0-9a-f-]{39}</code>", response.content.decode())) == second_factor.RECOVERY_CODES
    assert second_factor.is_on(user)
    assert AuditEvent.objects.get(action="staff.second_factor_on").target == str(user.pk)


def test_a_wrong_first_code_turns_nothing_on(client: Client, user: User) -> None:
    client.get(page("second_factor"))

    response = client.post(page("second_factor"), {"code": "000 000"})

    assert "wrong" in response.content.decode()
    assert not second_factor.is_on(user)


@pytest.mark.parametrize("code", ["", "123", "é", "12345678901234567890"])
def test_with_a_second_factor_the_password_is_not_enough(codes: list[str], code: str) -> None:
    assert sign_in(code) == 200


def test_a_code_works_once(codes: list[str], user: User) -> None:
    code = current(user)

    assert [sign_in(code), sign_in(code)] == [302, 200]


def test_a_code_of_the_step_before_is_accepted_but_no_older_one(codes: list[str], user: User) -> None:
    totp, now = pyotp.TOTP(SecondFactor.objects.get(user=user).secret), timezone.now()

    assert not second_factor.accepts(user, totp.at(now - timedelta(seconds=60)), now)
    assert second_factor.accepts(user, totp.at(now - timedelta(seconds=30)), now)


def test_a_recovery_code_works_once(codes: list[str]) -> None:
    assert [sign_in(codes[0]), sign_in(codes[0]), sign_in(codes[1].upper())] == [302, 200, 302]


def test_the_database_contains_no_recovery_code(codes: list[str], user: User) -> None:
    stored = SecondFactor.objects.get(user=user).recovery

    assert not set(stored) & set(codes)


def test_a_code_turns_the_second_factor_off(client: Client, codes: list[str], user: User) -> None:
    assert "wrong" in client.post(page("second_factor"), {"code": "no"}).content.decode()
    assert second_factor.is_on(user)

    client.post(page("second_factor"), {"code": current(user)})

    assert not second_factor.is_on(user)
    assert AuditEvent.objects.filter(action="staff.second_factor_off").exists()


def test_codes_are_limited_on_the_page(client: Client, codes: list[str], settings: Any) -> None:
    settings.SIGN_IN_PER_MINUTE, settings.REDIS_URL = 2, ""

    answers = [client.post(page("second_factor"), {"code": "no"}).status_code for _ in range(3)]

    assert answers == [200, 200, 429]


def test_a_command_resets_the_second_factor(codes: list[str], user: User) -> None:
    call_command("reset_second_factor", "superuser")

    assert sign_in() == 302
    assert AuditEvent.objects.get(action="staff.second_factor_off").actor == "command"
    with pytest.raises(CommandError, match="has no second factor"):
        call_command("reset_second_factor", "superuser")
    with pytest.raises(CommandError, match="does not exist"):
        call_command("reset_second_factor", "nobody")
