"""A password validator that rejects words that an attacker would try first on this installation."""

from __future__ import annotations

import re

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError

WORDS = ("somamemory", "soma", "memory", "admin", "operator", "console", "password", "localhost")
MIN_OTHER_CHARACTERS = 8


class ContextWords:
    """Rejects passwords that consist mainly of the names of the product, its roles and its hosts."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        labels = {label for host in settings.ALLOWED_HOSTS for label in re.findall(r"[a-z][a-z0-9-]{2,}", host.lower())}
        words = sorted({*WORDS, *labels}, key=len, reverse=True)
        others = re.sub("|".join(map(re.escape, words)), "", password.lower())
        if len(others) < MIN_OTHER_CHARACTERS:
            raise ValidationError(self.get_help_text(), code="password_context_words")

    def get_help_text(self) -> str:
        return (
            f"The password must have at least {MIN_OTHER_CHARACTERS} characters, not counting the words "
            f"{', '.join(WORDS)} and the host names of this installation."
        )
