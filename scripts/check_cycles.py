"""Fail if modules import each other in a cycle. `make lint` runs this script.

Imports under TYPE_CHECKING are ignored. They have no effect at run time, and two classes may refer to each other in
annotations.
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
        print("Import cycle: " + ", ".join(modules))
    sys.exit(bool(found))
