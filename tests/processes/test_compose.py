"""docker-compose.yml: its guarantees, and its commands (run outside Docker, with real servers)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testing import template
from testing.processes import HOME, Installation, compose, installation, wait_for

pytestmark = [pytest.mark.server, pytest.mark.postgresql]

OURS = ("migrate", "web", "worker", "beat")
THEIRS = ("postgres", "cache", "broker", "etcd", "minio", "milvus")
# Services without a health check: one exits, the other is restarted when it does.
WITHOUT_HEALTHCHECK = ("migrate", "beat")


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"][name]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with template.unused(), installation(tmp_path_factory.mktemp("compose"), SOMA_WORKERS="2") as made:
        yield made


def test_there_are_these_services() -> None:
    assert set(compose()["services"]) == {*OURS, *THEIRS}


@pytest.mark.parametrize("name", [*OURS, *THEIRS])
def test_every_service_has_limits_and_a_check_of_its_health(name: str) -> None:
    limits = service(name)["deploy"]["resources"]["limits"]
    assert {"cpus", "memory"} <= set(limits)
    check = service(name)["healthcheck"]
    assert check == {"disable": True} if name in WITHOUT_HEALTHCHECK else check["test"][0].startswith("CMD")


@pytest.mark.parametrize("name", OURS)
def test_ours_run_without_privileges_on_a_read_only_root(name: str) -> None:
    ours = service(name)
    assert ours["read_only"] is True
    assert ours["cap_drop"] == ["ALL"]
    assert ours["security_opt"] == ["no-new-privileges:true"]
    assert re.search(r"^USER 10001$", (HOME / "Dockerfile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["web", "worker", "beat"])
def test_nothing_of_ours_starts_before_the_migrations_are_through(name: str) -> None:
    assert service(name)["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_the_cache_may_forget_and_the_broker_may_not() -> None:
    assert service("cache")["command"][-1] == "allkeys-lru"
    assert service("broker")["command"][-1] == "noeviction"
    assert service("broker")["volumes"] == ["broker:/data"]


@pytest.mark.parametrize("name", ["web", "worker"])
def test_cold_conversations_are_in_a_shared_volume_that_outlives_containers(name: str) -> None:
    ours = service(name)
    assert ours["environment"]["SOMA_COLD_STORAGE"] == "/cold"
    assert ours["volumes"] == ["cold:/cold"]
    assert re.search(r"install -d -o soma -m 700 /data /cold$", (HOME / "Dockerfile").read_text(), re.MULTILINE)


def test_only_the_web_server_can_be_reached_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in compose()["services"].items() if "ports" in service}
    assert list(published) == ["web"]
    assert all(port.startswith("127.0.0.1:") for port in published["web"])


def test_no_secret_has_a_default() -> None:
    text = (HOME / "docker-compose.yml").read_text()
    for name in ("SOMA_SECRET_KEY", "SOMA_BOOTSTRAP_KEY", "POSTGRES_PASSWORD", "MINIO_PASSWORD"):
        assert set(re.findall(rf"\$\{{{name}(.)", text)) == {":"}
        assert f"${{{name}:-" not in text


def test_every_volume_is_declared_and_used() -> None:
    used = {volume.split(":")[0] for service in compose()["services"].values() for volume in service.get("volumes", [])}
    assert used == set(compose()["volumes"])


def test_every_setting_that_it_passes_is_documented() -> None:
    documented = (HOME / "docs" / "reference" / "configuration.md").read_text()
    for name in {name for ours in OURS for name in service(ours)["environment"]}:
        assert f"`{name}`" in documented


def test_with_pgvector_there_are_only_our_web_server_and_the_database() -> None:
    small: dict[str, Any] = yaml.safe_load((HOME / "docker-compose.pgvector.yml").read_text())
    assert set(small["services"]) == {"migrate", "web", "postgres"}
    ours = small["services"]["web"]["environment"]
    assert ours["SOMA_VECTOR_INDEX"] == "pgvector"
    assert small["services"]["postgres"]["image"].startswith("pgvector/pgvector:")
    assert not {"SOMA_MILVUS_URI", "SOMA_REDIS_URL", "SOMA_BROKER_URL"} & set(ours)
    assert {"SOMA_WORKERS", *ours} <= set(compose()["services"]["web"]["environment"]) | {"SOMA_VECTOR_INDEX"}


@pytest.mark.parametrize("name", ["migrate", "web"])
def test_with_pgvector_ours_run_in_the_same_way(name: str) -> None:
    small: dict[str, Any] = yaml.safe_load((HOME / "docker-compose.pgvector.yml").read_text())
    same = ("command", "init", "read_only", "cap_drop", "security_opt", "tmpfs", "volumes", "restart", "healthcheck")
    assert {key: small["services"][name].get(key) for key in same} == {key: service(name).get(key) for key in same}


def test_the_image_contains_what_the_commands_need_and_no_private_files() -> None:
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (HOME / "Dockerfile").read_text(), re.MULTILINE)
    copied = [path for line in lines for path in line.split()]
    allowed = [
        line.removeprefix("!") for line in (HOME / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    assert sorted(allowed) == sorted(
        "deploy/gunicorn.conf.py" if path.startswith("deploy") else path for path in copied
    )
    assert all((HOME / path).exists() for path in copied)


def test_the_migrations_may_run_again(place: Installation) -> None:
    place.run(place.command("migrate"), "migrate")


def test_the_web_server_runs_with_two_processes_and_one_banner(place: Installation) -> None:
    place.start("web")

    wait_for(lambda: len(children_of(place, "web")) == 2)
    place.run(place.healthcheck("web"), "web")
    place.store("1", "an aardvark")
    assert place.get("/memories/1")["memory"]["payload"] == {"text": "an aardvark"}

    first, _ = children_of(place, "web")
    os.kill(first, signal.SIGKILL)  # another one replaces it silently
    wait_for(lambda: first not in children_of(place, "web") and len(children_of(place, "web")) == 2)
    place.run(place.healthcheck("web"), "web")
    wait_for(lambda: "SomaMemory is ready" in place.log("web"))
    assert place.processes.pop("web").stop() == 0
    assert place.log("web").count("SomaMemory is ready") == 1


def test_the_worker_runs_passes_its_health_check_and_stops_on_sigterm(place: Installation) -> None:
    place.start("worker")
    wait_for(lambda: checked(place, "worker"), 60)
    assert place.processes.pop("worker").stop() == 0


def test_the_beat_runs_without_writing_files_and_stops_on_sigterm(place: Installation) -> None:
    before = set(HOME.iterdir())
    place.empty_broker()  # any message from now on comes from the beat, and shows that it is up
    place.start("beat")
    wait_for(lambda: place.broker_has_messages(), 30)
    assert place.processes.pop("beat").stop() == 0
    assert {path for path in set(HOME.iterdir()) - before if "beat" in path.name} == set()


def checked(place: Installation, name: str) -> bool:
    with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
        place.run(place.healthcheck(name), name)
        return True
    return False


def children_of(place: Installation, name: str) -> list[int]:
    running = place.processes[name].running
    assert running is not None
    return [int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]
