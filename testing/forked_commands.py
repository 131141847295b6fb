"""Run a command by forking a process that has already loaded Django: `forked_commands.py SOCKET PROGRAM COMMAND ...`.

The program is `manage.py` or `somamemory`.

The command then takes a tenth of the CPU time that a new process would take. The client passes its arguments, folder,
environment variables and standard streams to the server, and exits with the command's exit code. If the client's
settings differ from the server's, the command runs in a new process.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def call(path: str, arguments: list[str]) -> int:
    """Let the server that listens on the socket `path` run a command, and return the command's exit code."""
    order = json.dumps({"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)})
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [b" "], [0, 1, 2])
        connection.sendall(order.encode())
        connection.shutdown(socket.SHUT_WR)
        return int(connection.recv(16) or b"1")


def serve(path: str) -> None:
    import signal

    import somamemory.wsgi  # noqa: F401 - loads what commands need

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # leaves no zombies, although nothing waits for children
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                connection.sendall(str(_run(connection)).encode())
                os._exit(0)
            connection.close()


def _run(connection: socket.socket) -> int:
    """Run the command that a client has sent, with the client's streams, and return the exit code."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as received:
        order = json.loads(received.read())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(order["folder"])
    same = _settings(dict(os.environ)) == _settings(order["environment"])
    os.environ.clear()
    os.environ.update(order["environment"])
    return (_run_here if same else _run_anew)(order["arguments"])


def _settings(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("SOMA_")}


def _run_anew(arguments: list[str]) -> int:
    import subprocess

    program, *rest = arguments
    command = [sys.executable, *([] if program.endswith(".py") else ["-m"]), program, *rest]
    return subprocess.run(command, check=False).returncode


def _run_here(arguments: list[str]) -> int:
    import runpy

    sys.argv = arguments
    run = runpy.run_path if arguments[0].endswith(".py") else runpy.run_module
    code: object = 0
    try:
        run(arguments[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(call(sys.argv[1], sys.argv[2:]))
