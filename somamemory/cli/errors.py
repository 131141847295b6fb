"""Report every error as one line with a remedy, and set the exit code. Users see a traceback only with `--traceback`.

0 done · 1 rejected or failed · 2 invalid usage or input · 3 the server cannot be reached · 4 not found ·
130 interrupted
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from somamemory.errors import ConfigurationError

ARGPARSE = "Error: "  # how Django begins a CommandError about arguments
FAILED, USAGE, UNREACHABLE, NOT_FOUND, INTERRUPTED = 1, 2, 3, 4, 130


class CliError(click.ClickException):
    """An error with an exit code and additional fields for scripts."""

    def __init__(self, message: str, exit_code: int = FAILED, **fields: Any) -> None:
        super().__init__(message)
        vars(self)["exit_code"] = exit_code
        self.fields = fields


def run(app: click.Command, arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        result = app.main(list(arguments), prog_name="somamemory", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except SystemExit as stop:  # a management command's own exit code
        return stop.code if isinstance(stop.code, int) else _show(CliError(str(stop.code)), arguments)
    except Exception as error:  # noqa: BLE001 - the user gets a message instead of a traceback
        return _show(_translate(error), arguments)
    return result if isinstance(result, int) else 0


def _show(error: click.ClickException, arguments: Sequence[str]) -> int:
    # An argument may be invalid UTF-8.
    vars(error)["message"] = error.message.encode(errors="backslashreplace").decode()
    if "--json" in arguments:
        from somamemory.cli.output import as_json

        fields = error.fields if isinstance(error, CliError) else {}
        message = error.format_message()
        click.echo(as_json({"error": {"message": message, "exit_code": error.exit_code, **fields}}), err=True)
    elif isinstance(error, click.UsageError):
        error.show()
    else:
        click.echo(f"{click.style('error:', fg='red')} {error.format_message()}", err=True)
    return error.exit_code


def _translate(error: Exception) -> click.ClickException:
    """Convert an exception to a command line error."""
    if isinstance(error, click.ClickException):
        return error
    if isinstance(error, ConfigurationError):
        return CliError(str(error), USAGE)
    if isinstance(error, UnicodeEncodeError):
        return CliError("an argument is not valid UTF-8; correct it", USAGE)
    if isinstance(error, ValueError) and "embedded null" in str(error):  # from opening a file
        return CliError("a file name contains a null character; correct it", USAGE)
    return _from_client(error) or _from_django(error) or _unexpected(error)


def _from_client(error: Exception) -> CliError | None:
    import somamemory_client as client

    if isinstance(error, client.InvalidArgument) and isinstance(error.__cause__, ConfigurationError):
        return CliError(str(error.__cause__), USAGE)  # the local service is misconfigured; no argument is wrong
    if isinstance(error, client.InvalidArgument):
        return CliError(str(error), USAGE, field=error.field)
    if isinstance(error, client.ApiError):
        return _from_api(error)
    if isinstance(error, client.TransportError):
        return CliError(str(error), UNREACHABLE)
    if isinstance(error, client.SomaError):
        return CliError(str(error))
    return None


def _from_api(error: Any) -> CliError:
    """Translate an API error. The detail of a validation error repeats its fields, so the detail is left out."""
    text = "; ".join(f"{item['field']}: {item['message']}" for item in error.errors) or error.detail or error.title
    if error.status == 401:
        text += "; set SOMA_API_KEY or --api-key"
    code = {400: USAGE, 404: NOT_FOUND, 422: USAGE}.get(error.status, FAILED)
    return CliError(text, code, code=error.code, status=error.status, request_id=error.request_id)


def _from_django(error: Exception) -> CliError | None:
    if isinstance(error, OSError):
        return CliError(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
    if "django" not in sys.modules:
        return None
    from django.core.management import CommandError
    from django.db import DatabaseError

    if isinstance(error, CommandError):
        text = str(error)
        is_usage = text.startswith(ARGPARSE)
        return CliError(text.removeprefix(ARGPARSE), USAGE if is_usage else error.returncode)
    if isinstance(error, DatabaseError):
        return CliError(f"the database cannot be used: {str(error).strip()}; run 'somamemory doctor'", UNREACHABLE)
    return None


def _unexpected(error: Exception) -> CliError:
    if "--traceback" in sys.argv:
        raise error
    return CliError(
        f"unexpected {type(error).__name__}: {error}; report it with the output of 'somamemory --traceback …'"
    )
