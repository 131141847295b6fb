"""The manifests of the plugins, of the bundle for Claude Desktop and of the registry match the service."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import somamemory
from testing.processes import HOME
from tests.conftest import Api
from tests.support.mcp import tools

CLIENTS = HOME / "clients"
GUIDE = (HOME / "docs" / "how-to" / "assistants.md").read_text()
SETTINGS = {"SOMA_URL", "SOMA_API_KEY", "SOMA_NAMESPACE", "SOMA_TENANT"}


def load(path: str) -> Any:
    return json.loads((HOME / path).read_text())


BUNDLE = load("clients/claude-desktop/manifest.json")
REGISTRY = load("server.json")


def test_all_descriptions_have_the_version_of_the_service() -> None:
    (package,) = REGISTRY["packages"]

    assert {BUNDLE["version"], REGISTRY["version"], package["version"]} == {somamemory.__version__}


def test_the_bundle_lists_the_tools_that_the_server_has(api: Api) -> None:
    assert [tool["name"] for tool in BUNDLE["tools"]] == [tool["name"] for tool in tools(api)]


def test_the_bundle_passes_every_setting_of_the_user_to_its_program() -> None:
    environment = BUNDLE["server"]["mcp_config"]["env"]
    program = (CLIENTS / "claude-desktop" / BUNDLE["server"]["entry_point"]).read_text()

    assert set(environment) == set(re.findall(r'setting\("(\w+)"', program)) == SETTINGS
    assert {re.fullmatch(r"\$\{user_config\.(\w+)\}", value)[1] for value in environment.values()} == set(  # type: ignore[index]
        BUNDLE["user_config"]
    )
    assert BUNDLE["user_config"]["api_key"]["sensitive"]


def test_the_registry_runs_the_command_that_serves_mcp() -> None:
    (package,) = REGISTRY["packages"]

    assert (package["identifier"], package["transport"]) == ("somamemory", {"type": "stdio"})
    assert [argument["value"] for argument in package["packageArguments"]] == ["mcp"]
    secrets = {variable["name"]: variable.get("isSecret", False) for variable in package["environmentVariables"]}
    assert secrets == {"SOMA_URL": False, "SOMA_API_KEY": True, "SOMA_TENANT": False}


def test_the_readme_contains_the_name_that_the_registry_verifies() -> None:
    assert f"mcp-name: {REGISTRY['name']} " in (HOME / "README.md").read_text()


def test_the_marketplace_offers_the_plugin() -> None:
    (plugin,) = load("clients/.claude-plugin/marketplace.json")["plugins"]

    assert load(f"clients/{plugin['source']}/.claude-plugin/plugin.json")["name"] == plugin["name"]


CONFIGURATIONS = [*re.findall(r"```json\n(.*?)\n```", GUIDE, re.DOTALL), *re.findall(r"--add-mcp '(.*)'", GUIDE)]


def test_the_guide_has_a_line_for_each_editor() -> None:
    assert len(CONFIGURATIONS) == 3
    assert all("\n" not in configuration for configuration in CONFIGURATIONS)
    for command in ("claude mcp add", "codex mcp add", "code --add-mcp"):
        assert f"\n{command} " in GUIDE


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_configuration_in_the_guide_names_the_endpoint_and_a_key(configuration: str) -> None:
    parsed = json.loads(configuration)
    server = parsed.get("mcpServers", {"somamemory": parsed})["somamemory"]

    if "command" in server:
        assert (server["command"], server["args"], set(server["env"])) == (
            "somamemory",
            ["mcp"],
            {"SOMA_URL", "SOMA_API_KEY"},
        )
    else:
        assert server["url"].endswith(":9595/mcp")
        assert server["headers"] == {"Authorization": "Bearer KEY"}
