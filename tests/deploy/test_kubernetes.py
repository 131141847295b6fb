"""deploy/kubernetes: rendered by kubectl, validated against the schemas, and checked against its promises."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from typing import Any

import pytest
import yaml

from testing.processes import HOME, compose

OVERLAYS = ("small", "ha")
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not shutil.which("kubectl"), reason="NOT CHECKED: kubectl, which renders it, is missing"),
]


@lru_cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    command = ["kubectl", "kustomize", str(HOME / "deploy/kubernetes/overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def pods(overlay: str) -> dict[str, dict[str, Any]]:
    """Return the pod template of each Deployment and Job by name."""
    found = [resource for resource in rendered(overlay) if resource["kind"] in ("Deployment", "Job")]
    return {resource["metadata"]["name"]: resource["spec"]["template"] for resource in found}


def boxes(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_fits_the_schema_of_kubernetes(overlay: str) -> None:
    validate = pytest.importorskip(
        "kubernetes_validate", reason="NOT CHECKED: no schemas here (pip install kubernetes-validate)"
    )
    for resource in rendered(overlay):
        if resource["kind"] != "ServiceMonitor":  # the Prometheus operator's own
            validate.validate(resource, validate.latest_version(), strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_it_runs_what_compose_runs(overlay: str) -> None:
    for name in ("web", "worker", "beat"):
        assert pods(overlay)[name]["spec"]["containers"][0]["command"] == compose()["services"][name]["command"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_is_closed_and_bounded(overlay: str) -> None:
    for pod in pods(overlay).values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
        for box in boxes(pod):
            assert box["securityContext"]["readOnlyRootFilesystem"] is True
            assert box["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert box["resources"]["limits"]["memory"]
            assert set(box["resources"]["requests"]) == {"cpu", "memory"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_serving_pods_wait_for_the_migrations(overlay: str) -> None:
    for name in ("web", "worker", "beat"):
        assert "bootstrap --check" in pods(overlay)[name]["spec"]["initContainers"][0]["command"][-1]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_object_holds_a_secret_and_every_setting_is_one(overlay: str) -> None:
    documented = (HOME / "docs" / "reference" / "configuration.md").read_text()
    assert [resource for resource in rendered(overlay) if resource["kind"] == "Secret"] == []
    for settings in (resource["data"] for resource in rendered(overlay) if resource["kind"] == "ConfigMap"):
        assert [name for name in settings if f"`{name}`" not in documented] == []
        assert not any(word in name for name in settings for word in ("KEY", "URL", "TOKEN"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_conversation_becomes_cold_in_a_folder_that_ends_with_its_pod(overlay: str) -> None:
    (settings,) = (resource["data"] for resource in rendered(overlay) if resource["kind"] == "ConfigMap")
    storage = settings["SOMA_COLD_STORAGE"]
    for pod in pods(overlay).values():
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert not any(storage.startswith(mount["mountPath"]) for mount in container["volumeMounts"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_finds_its_pods(overlay: str) -> None:
    labels = [pod["metadata"]["labels"].items() for pod in pods(overlay).values()]
    for resource in rendered(overlay):
        if resource["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"):
            selector = resource["spec"].get("selector") or resource["spec"].get("podSelector") or {}
            wanted = selector.get("matchLabels", {} if "matchLabels" in selector else selector)
            assert any(wanted.items() <= those for those in labels), resource["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_named_namespaces_reach_the_web_port(overlay: str) -> None:
    rules = {
        resource["metadata"]["name"]: resource["spec"].get("ingress", [])
        for resource in rendered(overlay)
        if resource["kind"] == "NetworkPolicy"
    }

    assert rules["closed"] == []
    (rule,) = rules["web"]
    assert rule["ports"] == [{"port": 9595, "protocol": "TCP"}]
    assert [set(peer) for peer in rule["from"]] == [{"namespaceSelector"}] * 3
    assert all(peer["namespaceSelector"]["matchLabels"] for peer in rule["from"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_range_of_addresses_is_trusted_by_default(overlay: str) -> None:
    (settings,) = (resource["data"] for resource in rendered(overlay) if resource["kind"] == "ConfigMap")

    assert settings["SOMA_TRUSTED_PROXIES"] == ""
    assert settings["SOMA_METRICS_ALLOW"] == "127.0.0.1"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_name_a_host_that_is_always_allowed(overlay: str) -> None:
    web = pods(overlay)["web"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert web[probe]["httpGet"]["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_one_beat_and_never_two(overlay: str) -> None:
    beat = next(resource for resource in rendered(overlay) if resource["metadata"]["name"] == "beat")

    assert beat["spec"]["replicas"] == 1
    assert beat["spec"]["strategy"] == {"type": "Recreate"}


def test_the_large_one_survives_a_machine() -> None:
    kinds = {resource["kind"]: resource for resource in rendered("ha")}

    assert (
        kinds["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > kinds["PodDisruptionBudget"]["spec"]["minAvailable"]
    )
    assert kinds["ServiceMonitor"]["spec"]["endpoints"][0]["path"] == "/metrics"
    for name in ("web", "worker"):
        assert pods("ha")[name]["spec"]["topologySpreadConstraints"]
