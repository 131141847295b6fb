"""Fail when modules import each other in a circle; `make lint` runs it.

Imports under TYPE_CHECKING do not count: they order nothing at run time, and two classes may well name each other.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grimp
import networkx

PACKAGES = (
    "somamemory", "console", "api", "operations", "conversations", "graph", "memories", "tenants",
    "testing", "tests", "benchmarks",
)  # fmt: skip


def cycles() -> list[list[str]]:
    imports = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)
    graph = networkx.DiGraph(
        (module, imported)
        for module in imports.modules
        for imported in imports.find_modules_directly_imported_by(module)
    )
    return sorted(sorted(part) for part in networkx.strongly_connected_components(graph) if len(part) > 1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    found = cycles()
    for modules in found:
        print("These modules import each other in a circle: " + ", ".join(modules))
    sys.exit(bool(found))
