"""The Makefile's targets."""

from __future__ import annotations

import re

from testing.processes import HOME

TARGET = re.compile(r"^([a-z-]+): (\S*)[^\n]*\n((?:\t[^\n]*\n)+)", re.MULTILINE)
PYTEST = re.compile(r"(?:\.venv/bin/python|\$\(PY\)) -m pytest")


def test_a_target_that_runs_the_tests_of_the_checkout_installs_their_dependencies() -> None:
    runs = {}
    for name, needs, recipe in TARGET.findall((HOME / "Makefile").read_text()):
        scripts = "".join((HOME / script).read_text() for script in re.findall(r"scripts/[\w-]+\.sh", recipe))
        if PYTEST.search(recipe + scripts):
            runs[name] = needs

    assert {"test-adapters", "test-docs"} <= runs.keys()
    assert set(runs.values()) == {"venv-test"}
