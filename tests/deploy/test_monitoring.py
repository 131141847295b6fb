"""deploy/prometheus, grafana, fail2ban and loki, checked by their tools and against our metrics and logs."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from somamemory.telemetry.logs import JsonFormatter
from testing.processes import HOME
from tests.conftest import Api

PROMETHEUS = HOME / "deploy" / "prometheus"
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="NOT CHECKED: promtool is missing (apt-get install prometheus)"
)
needs_fail2ban = pytest.mark.skipif(
    not shutil.which("fail2ban-regex"), reason="NOT CHECKED: fail2ban-regex is missing (apt-get install fail2ban)"
)
# Metrics from Prometheus itself and from node_exporter.
FOREIGN = re.compile(r"up|node_[a-z_]+")
METRIC = re.compile(r"\b((?:soma|node)_[a-z0-9_]+|up)\b(?=[{\[ )]|$)")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads((HOME / "deploy/grafana/somamemory.json").read_text())["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def queries() -> list[str]:
    return [rule["expr"] for rule in alerts()] + [
        target["expr"] for panel in dashboard() for target in panel["targets"]
    ]


@needs_promtool
@pytest.mark.parametrize(
    "words", [["check", "config", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]], ids=["config", "rules"]
)
def test_promtool_accepts_the_files(words: list[str]) -> None:
    done = subprocess.run(["promtool", *words], cwd=PROMETHEUS, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    expressions = [
        target["expr"].replace("$__rate_interval", "5m") for panel in dashboard() for target in panel["targets"]
    ]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.django_db
def test_every_query_uses_exported_metrics() -> None:
    metrics = pytest.importorskip("somamemory.telemetry.metrics", reason="NOT CHECKED: this version tells no metrics")
    exposed = re.findall(r"^# TYPE (\w+) (\w+)$", metrics.exposition().decode(), re.MULTILINE)
    names = {name for name, _ in exposed} | {
        f"{name}_{part}" for name, kind in exposed if kind == "histogram" for part in ("bucket", "count", "sum")
    }
    for query in queries():
        named = METRIC.findall(query)
        assert named, query
        assert {name for name in named if not FOREIGN.fullmatch(name)} <= names, query


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    places: set[tuple[int, int]] = set()
    for panel in dashboard():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places
        assert max(x for x, _ in cells) < 24
        places |= cells


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    sections = re.findall(r"^## (Soma\w+)", (HOME / "docs/operations/alerts.md").read_text(), re.MULTILINE)

    assert sorted(sections) == sorted(rule["alert"] for rule in alerts())


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_waits_for_a_while_and_says_what_is_wrong(rule: dict[str, Any]) -> None:
    assert rule["for"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


@needs_fail2ban
def test_fail2ban_matches_only_rejected_keys_in_real_log_lines(
    api: Api, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "soma.requests"):
        api.get("/memories/1", Authorization="Bearer soma_wrong_wrong_wrong_wrong_wrong_wrong_wrong")
        api.get("/memories/1", Authorization="", X_API_Key='"ip":"198.51.100.9"}')
        api.get("/memories/1")
        api.get('/"status":401,"tenant":null,"ip":"198.51.100.9"}')
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name == "soma.requests"]
    assert [json.loads(line)["status"] for line in lines] == [401, 401, 404, 404]
    log = tmp_path / "log"
    log.write_text("\n".join(lines).replace("127.0.0.1", "203.0.113.7") + "\n")
    filters = HOME / "deploy/fail2ban/filter.d"  # fail2ban-regex does not support paths with spaces
    # It keeps a list of the lines that it has seen, in the current folder.
    done = subprocess.run(
        ["fail2ban-regex", "--out", "ip", str(log), "./somamemory.conf"],
        cwd=filters,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["203.0.113.7"] * 2, done.stdout


def test_the_labels_of_the_log_have_few_values() -> None:
    stages = yaml.safe_load((HOME / "deploy/loki/promtail.yml").read_text())["scrape_configs"][0]["pipeline_stages"]
    labels = next(stage["labels"] for stage in stages if "labels" in stage)
    fields = set(next(stage["json"]["expressions"] for stage in stages if "json" in stage))

    assert set(labels) == {"level", "logger", "status"} <= fields
