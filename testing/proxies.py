"""Run reverse proxies with the configuration in deploy/, except for ports, certificates and the like."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path

from testing.processes import HOME, Process, wait_for
from testing.server import free_port

NAME = "memory.example.org"
# Debian installs these programs in a folder that is only in root's PATH.
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
NGINX, CADDY = (shutil.which(name, path=_PATH) for name in ("nginx", "caddy"))


def certificate(folder: Path) -> tuple[Path, Path]:
    """Create a self-signed certificate for the proxy, and its key."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    if not made.exists():
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        words = [*command.split(), "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        subprocess.run([*words, "-keyout", key, "-out", made], check=True, capture_output=True)
    return made, key


class Proxy:
    """A proxy for the host `NAME`, which listens for HTTPS on one local port and for plain HTTP on another."""

    def __init__(self, folder: Path, command: list[str], test: list[str], port: int, plain_port: int) -> None:
        self.certificate, self.port, self.plain_port, self.test = certificate(folder)[0], port, plain_port, test
        environment = {"PATH": _PATH, "HOME": str(folder), "LANG": "C.UTF-8"}
        self.process = Process(command, environment, folder / "proxy.log", folder=folder)

    def check(self) -> subprocess.CompletedProcess[str]:
        """Let the proxy check its own configuration, and return the result."""
        return subprocess.run(
            self.test, env=self.process.environment, capture_output=True, text=True, timeout=180, check=False
        )

    def connection(self, timeout_s: float = 30) -> HTTPSConnection:
        trusting = ssl.create_default_context(cafile=str(self.certificate))
        return _Here(NAME, self.port, context=trusting, timeout=timeout_s)

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response, response.read()

    def __enter__(self) -> Proxy:
        self.process.start()
        try:
            wait_for(self._answers)
        except BaseException:  # after an error here, __exit__ is not called, so stop the process here
            self.process.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.process.stop()

    def _answers(self) -> bool:
        assert self.process.running is not None
        assert self.process.running.poll() is None, self.process.log
        with contextlib.closing(self.connection(2)) as connection:
            connection.connect()
            return True


class _Here(HTTPSConnection):
    """Connects to the local machine, regardless of the host name."""

    def connect(self) -> None:
        name, self.host = self.host, "127.0.0.1"
        try:
            super(HTTPSConnection, self).connect()
        finally:
            self.host = name
        self.sock = self._context.wrap_socket(self.sock, server_hostname=name)  # type: ignore[attr-defined]


def nginx(folder: Path, backends: Sequence[int], upstream: str = "upstream.conf") -> Proxy:
    """Return nginx with the configuration in deploy/nginx, as a proxy for servers on these local ports."""
    assert NGINX
    port, plain_port, (made, key) = free_port(), free_port(), certificate(folder)
    servers = "".join(f"server 127.0.0.1:{backend} max_fails=3 fail_timeout=2s;\n" for backend in backends)
    text = (HOME / "deploy" / "nginx" / upstream).read_text()
    (folder / "upstream.conf").write_text(re.sub(r"^    server .*\n", f"    {servers}", text, flags=re.MULTILINE))
    text = (HOME / "deploy" / "nginx" / "somamemory.conf").read_text()
    for old, new in {
        r"/etc/nginx/somamemory/upstream\.conf": str(folder / "upstream.conf"),
        r"/etc/letsencrypt/\S+/fullchain\.pem": str(made),
        r"/etc/letsencrypt/\S+/privkey\.pem": str(key),
        r"/var/log/nginx/somamemory\.log": str(folder / "error.log"),
        r"listen (\[::\]:)?80;": f"listen 127.0.0.1:{plain_port};",
        r"listen \[::\]:443 ssl http2;": "",
        r"listen 443 ": f"listen 127.0.0.1:{port} ",
    }.items():
        text = re.sub(old, new, text)
    (folder / "site.conf").write_text(_once(text, r"    listen 127\.0\.0\.1:\d+;\n"))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    as_root = "user root;\n" if os.geteuid() == 0 else ""  # otherwise, nginx's workers could not access the folder
    main = folder / "nginx.conf"
    main.write_text(
        f"{as_root}daemon off;\nmaster_process on;\nworker_processes 1;\npid {folder}/nginx.pid;\n"
        f"error_log {folder}/error.log warn;\nevents {{ worker_connections 512; }}\n"
        f"http {{\n{temporary}include {folder}/site.conf;\n}}\n"
    )
    command = [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(main)]
    return Proxy(folder, command, [*command, "-t"], port, plain_port)


def caddy(folder: Path, backends: Sequence[int]) -> Proxy:
    """Return Caddy with the configuration in deploy/caddy, as a proxy for servers on these local ports."""
    assert CADDY
    port, plain_port, (made, key) = free_port(), free_port(), certificate(folder)
    text = (HOME / "deploy" / "caddy" / "Caddyfile").read_text()
    text = text.replace("{\n\tservers {", "{\n\tadmin off\n\tauto_https off\n\tservers {", 1)
    text = text.replace(f"\n{NAME} {{\n", f"\nhttps://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {made} {key}\n")
    text = text.replace(f"\nhttp://{NAME} {{\n", f"\nhttp://{NAME}:{plain_port} {{\n\tbind 127.0.0.1\n")
    text = text.replace("127.0.0.1:9595 {", " ".join(f"127.0.0.1:{backend}" for backend in backends) + " {")
    main = folder / "Caddyfile"
    main.write_text(text)
    file = ["--config", str(main), "--adapter", "caddyfile"]
    return Proxy(folder, [CADDY, "run", *file], [CADDY, "validate", *file], port, plain_port)


def _once(text: str, line: str) -> str:
    """Return the text with all but the first match of a regular expression removed."""
    first = re.search(line, text)
    assert first
    return text[: first.end()] + re.sub(line, "", text[first.end() :])
