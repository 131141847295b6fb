"""A superuser who signs in with a password."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from memories.models import EmbeddingGeneration
from tenants.models import Tenant

PASSWORD = "a long enough pass phrase"


@pytest.fixture
def user(settings: Any, generation: EmbeddingGeneration) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SIGN_IN_PER_MINUTE = 0
    Tenant.objects.get_or_create(slug="default")
    return User.objects.create_superuser("superuser", password=PASSWORD)
