"""Connect to a server, or to the local data folder, with the client library.

Command line options take precedence over environment variables, which take precedence over the profile. Without a URL,
commands use the local data folder: through its server if one is running, otherwise in this process.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from somamemory.cli.errors import USAGE, CliError

if TYPE_CHECKING:
    from somamemory_client import Client

READY_WITHIN_S = 2.0
FIELDS = ("url", "api_key", "tenant", "data_dir")  # that a profile can contain
# People read errors on the terminal. A warning in JSON, such as one about a slow statement, would not help them.
LOG_LEVEL = "ERROR"


@dataclass(frozen=True)
class Target:
    """A command's destination and output format."""

    url: str | None
    api_key: str | None
    tenant: str | None
    data_dir: Path | None
    json: bool

    @property
    def is_local(self) -> bool:
        return self.url is None

    def connect(self) -> Client:
        """Return a client. Raises the client's SomaError, or ConfigurationError if the settings are invalid."""
        from somamemory_client import Client

        if self.url is not None:
            return Client(self.url, self.api_key, tenant=self.tenant)
        folder = self.use_data_dir()
        client = _local_server(folder) or Client.embedded(folder)
        if self.api_key:
            client = client.with_options(headers={"Authorization": f"Bearer {self.api_key}"})
        return client.tenant(self.tenant) if self.tenant else client

    def use_data_dir(self) -> Path:
        """Set the environment variables for local use, load the settings, and return the data folder.

        Raises ConfigurationError if the settings are invalid.
        """
        from somamemory import embedded

        if self.data_dir is not None:
            os.environ["SOMA_DATA_DIR"] = str(self.data_dir)
        for name, value in {**embedded.DEFAULTS, "SOMA_LOG_LEVEL": LOG_LEVEL}.items():
            os.environ.setdefault(name, value)
        from somamemory import settings

        return settings.DATA_DIR

    def confirm(self, question: str) -> None:
        """Ask the user to confirm. Raises CliError with --json, because a script cannot answer."""
        if self.json:
            raise CliError("--yes is required with --json", USAGE, field="yes")
        click.confirm(question, abort=True, err=True)

    def call(self, operation: str, **fields: object) -> Any:
        """Call an API operation with the fields that are not None, and return the parsed response."""
        given = {name: value for name, value in fields.items() if value is not None}
        send = self.connect().raw
        return send(operation, **given).json()


def _local_server(folder: Path) -> Client | None:
    """Return a client for the server that uses the folder. The client sends the folder's first key.

    Returns None if no such server responds.
    """
    from somamemory import server_address, settings
    from somamemory_client import Client

    key_file = folder / "first-key"
    if not key_file.is_file():
        return None
    key = key_file.read_text(encoding="utf-8", errors="replace").strip()
    client = Client(server_address.local_url(settings.HOST, settings.PORT), key)
    return client if _accepts(client) else None


def _accepts(client: Client) -> bool:
    """Return whether a server responds and accepts the key. Only this folder's own server accepts it."""
    from somamemory_client import SomaError

    try:
        client.with_options(timeout=READY_WITHIN_S, max_retries=0).memories.stats()
    except SomaError:
        return False
    return True


def profile_file() -> Path:
    return Path(click.get_app_dir("somamemory")) / "profiles.toml"


def profile(name: str | None) -> dict[str, str]:
    """Return a profile's values. Without a name, use the `default` profile if it exists."""
    file = profile_file()
    if not file.is_file():
        if name:
            raise CliError(
                f"--profile: {file} does not exist; create it with a [{name}] table that sets url or data_dir", USAGE
            )
        return {}
    try:
        profiles = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CliError(f"{file} is not valid TOML: {error}", USAGE) from None
    found = profiles.get(name or "default", None if name else {})
    if not isinstance(found, dict):
        names = ", ".join(profiles) or "none"
        raise CliError(f"--profile: {file} has no [{name or 'default'}] table; it contains {names}", USAGE)
    for field, value in found.items():
        if field not in FIELDS:
            raise CliError(f"{file}: unknown field '{field}'; a profile can contain {', '.join(FIELDS)}", USAGE)
        if not isinstance(value, str):
            raise CliError(f"{file}: {field} must be a string in quotation marks", USAGE)
    return dict(found)


def targeted(command: Callable[..., Any], without: Collection[str] = ()) -> Callable[..., Any]:
    """Add the connection options, except those in `without`, to a command, which receives them as a `Target`."""

    @wraps(command)
    def wrapped(
        url: str | None,
        api_key: str | None,
        tenant: str | None,
        data_dir: Path | None,
        profile_name: str | None = None,
        as_json: bool = False,
        **options: Any,
    ) -> Any:
        saved = {} if url or data_dir else profile(profile_name)
        folder = data_dir or (Path(saved["data_dir"]) if "data_dir" in saved else None)
        target = Target(
            url or saved.get("url"), api_key or saved.get("api_key"), tenant or saved.get("tenant"), folder, as_json
        )
        return command(target, **options)

    for name, option in reversed(_OPTIONS.items()):
        if name not in without:
            wrapped = option(wrapped)
    return wrapped


_OPTIONS = {
    "url": click.option(
        "--url", envvar="SOMA_URL", metavar="URL", help="URL of a server. Default: the local data folder."
    ),
    "api_key": click.option(
        "--api-key",
        envvar="SOMA_API_KEY",
        metavar="KEY",
        help="API key. Preferably, set SOMA_API_KEY instead.",
    ),
    "tenant": click.option(
        "--tenant", envvar="SOMA_TENANT", metavar="SLUG", help="Tenant to act for. Requires an operator's key."
    ),
    "data_dir": click.option(
        "--data-dir",
        envvar="SOMA_DATA_DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="The local data folder.",
    ),
    "profile": click.option(
        "--profile",
        "profile_name",
        envvar="SOMA_PROFILE",
        metavar="NAME",
        help="Name of a profile in the profile file.",
    ),
    "json": click.option("--json", "as_json", is_flag=True, help="Print JSON."),
}
