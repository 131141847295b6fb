"""Commands for tenants and keys."""

from __future__ import annotations

import pytest
from django.utils import timezone

from tenants.models import ApiKey
from tests.cli.conftest import Soma


@pytest.fixture
def acme(soma: Soma) -> str:
    assert soma("tenants", "create", "acme", "--name", "Acme").code == 0
    return "acme"


def test_tenants_are_listed(soma: Soma, acme: str) -> None:
    assert "Acme" in soma("tenants", "list").out
    assert "acme" in [item["slug"] for item in soma("tenants", "list", "--json").json["items"]]


def test_a_tenant_is_shown_and_changed(soma: Soma, acme: str) -> None:
    assert soma("tenants", "update", acme, "--name", "Acme Ltd", "--inactive").code == 0

    assert "Acme Ltd" in soma("tenants", "get", acme).out
    assert soma("tenants", "get", acme, "--json").json["active"] is False


def test_the_usage_is_shown(soma: Soma, acme: str) -> None:
    assert "memories" in soma("tenants", "usage", acme).out
    assert soma("tenants", "usage", acme, "--json").json["slug"] == acme


def test_a_tenant_is_erased_after_confirmation(soma: Soma, acme: str) -> None:
    assert soma("tenants", "erase", acme).code == 130
    assert soma("tenants", "erase", acme, "--yes", "--json").code == 0
    assert soma("tenants", "get", acme).code == 4


def test_an_option_selects_another_tenant(soma: Soma, acme: str) -> None:
    soma("store", "of acme", "--key", "a", "--tenant", acme)

    assert soma("get", "a", "--tenant", acme).code == 0
    assert soma("get", "a").code == 4


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("tenants", "create", "Not A Slug"), 2),
        (("tenants", "create"), 2),
        (("tenants", "get", "missing"), 4),
        (("tenants", "update", "acme", "--tier", "gold"), 2),
        (("tenants", "usage", "missing"), 4),
        (("keys", "create", "missing"), 4),
        (("keys", "create", "acme", "--scope", "everything"), 2),
        (("keys", "create", "acme", "--expires-at", "tomorrow"), 2),
        (("keys", "revoke", "acme", "missing"), 4),
        (("keys", "rotate", "acme"), 2),
    ],
)
def test_invalid_input_has_its_exit_code(soma: Soma, acme: str, arguments: tuple[str, ...], code: int) -> None:
    done = soma(*arguments)

    assert (done.code, done.out) == (code, "")
    assert done.err


def test_an_existing_tenant_is_not_created_again(soma: Soma, acme: str) -> None:
    assert soma("tenants", "create", acme).code == 1


def test_the_secret_of_a_new_key_works(soma: Soma, acme: str) -> None:
    secret = soma("keys", "create", acme, "--name", "agent", "--scope", "read").out.strip()

    assert soma("list", "--api-key", secret).code == 0
    refused = soma("store", "text", "--api-key", secret)
    assert (refused.code, "scope" in refused.err) == (1, True)


def test_keys_are_listed_rotated_and_revoked(soma: Soma, acme: str) -> None:
    assert "Create one" in soma("keys", "list", acme).out
    created = soma("keys", "create", acme, "--json").json
    rotated = soma("keys", "rotate", acme, created["prefix"], "--json").json
    assert soma("keys", "revoke", acme, rotated["prefix"]).code == 0

    listed = soma("keys", "list", acme)
    assert rotated["prefix"] in listed.out
    assert "revoked" in listed.out


def test_an_expired_key_is_not_listed_as_active(soma: Soma, acme: str) -> None:
    soma("keys", "create", acme)
    ApiKey.objects.filter(tenant__slug=acme).update(expires_at=timezone.now())

    assert soma("keys", "list", acme).out.splitlines()[1].split()[1] == "expired"


def test_an_invalid_key_is_refused_with_the_remedy(soma: Soma) -> None:
    done = soma("list", "--api-key", "wrong")

    assert done.code == 1
    assert "set SOMA_API_KEY or --api-key" in done.err
