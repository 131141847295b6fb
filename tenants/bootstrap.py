"""The first key of an installation, and the file it is kept in."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings

from somamemory.errors import ConfigurationError, InvalidInput
from tenants import keys
from tenants.caller import SCOPES, Caller
from tenants.models import DEFAULT_TENANT_SLUG, ApiKey, Tenant

FILE_NAME = "first-key"


def path() -> Path:
    return Path(settings.DATA_DIR) / FILE_NAME


def ensure() -> str | None:
    """Make the first key, an operator's with every scope, unless there is a key already; the secret if one was made.

    `SOMA_BOOTSTRAP_KEY` chooses the secret. It is kept in the data folder, readable by its owner only.
    """
    wanted = settings.BOOTSTRAP_KEY or None
    try:
        if wanted:  # also where there is a key already: it would not be taken anywhere else
            keys.check_secret(wanted)
    except InvalidInput as error:
        raise ConfigurationError(f"SOMA_BOOTSTRAP_KEY: {error.fields['secret']}") from None
    if ApiKey.objects.exists():
        return None
    caller = Caller.command(Tenant.objects.get(slug=DEFAULT_TENANT_SLUG))
    issued = keys.issue(caller, None, name="first key", scopes=SCOPES, secret=wanted)
    _keep(issued.secret)
    return issued.secret


def _keep(secret: str) -> None:
    path().unlink(missing_ok=True)  # of an earlier database
    descriptor = os.open(path(), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
