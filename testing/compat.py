"""Run commands against a server, with keys for clients of other products: `python -m testing.compat COMMAND...`.

The command finds the server's URL in COMPAT_SERVER, a tenant's key in COMPAT_KEY, and an operator's key in
COMPAT_OPERATOR_KEY. The server has a new data folder, and is stopped afterwards. To set a variable such as SOMA_WORKERS
for the server, set COMPAT_SOMA_WORKERS.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile

from testing.server import Server


def main() -> int:
    settings = {
        name.removeprefix("COMPAT_"): value for name, value in os.environ.items() if name.startswith("COMPAT_SOMA_")
    }
    with tempfile.TemporaryDirectory() as folder:
        server = Server(pathlib.Path(folder), **settings)
        server.start()
        try:
            environment = {
                **os.environ,
                "COMPAT_SERVER": f"http://127.0.0.1:{server.port}",
                "COMPAT_KEY": key(server, "default"),
                "COMPAT_OPERATOR_KEY": key(server, "--operator"),
            }
            return subprocess.run(sys.argv[1:], env=environment, check=False).returncode
        finally:
            server.stop()


def key(server: Server, whose: str) -> str:
    """Create an API key in a form that the clients of all products accept."""
    command = [server.python, str(server.root / "manage.py"), "create_key", whose, "--style", "sekha"]
    created = subprocess.run(command, env=server.environment, check=True, capture_output=True, text=True)
    return created.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
