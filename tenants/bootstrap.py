"""The first API key of an installation, and the file that contains it."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from django.db import transaction

from somamemory import files
from somamemory.errors import ConfigurationError, InvalidInput
from tenants import key_form, keys
from tenants.caller import SCOPES, Caller
from tenants.models import DEFAULT_TENANT_SLUG, ApiKey, Tenant

FILE_NAME = "first-key"


def path() -> Path:
    return Path(settings.DATA_DIR) / FILE_NAME


def ensure() -> bool:
    """Create the first key (an operator key with every scope) unless a key exists. Return whether it was created.

    `SOMA_BOOTSTRAP_KEY` sets the secret. The secret is stored only in the data folder, in a file that only its owner
    can read. It is not printed, because a server's output often ends up in a log.
    """
    secret = settings.BOOTSTRAP_KEY or None
    try:
        if secret:  # checked even if a key exists, because a new installation would reject the same setting
            key_form.check_secret(secret)
    except InvalidInput as error:
        raise ConfigurationError(f"SOMA_BOOTSTRAP_KEY: {error.fields['secret']}") from None
    if ApiKey.objects.exists():
        return False
    caller = Caller.command(Tenant.objects.get(slug=DEFAULT_TENANT_SLUG))
    with transaction.atomic():  # the secret must be in the file before the key exists, because it cannot be shown again
        _write(keys.issue(caller, None, name="first key", scopes=SCOPES, secret=secret).secret)
    return True


def _write(secret: str) -> None:
    path().unlink(missing_ok=True)  # from an earlier database
    descriptor = os.open(path(), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
    files.sync(path())
    files.sync(path().parent)
