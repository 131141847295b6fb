"""Present density maps of memories as JSON."""

from __future__ import annotations

from api.json import JsonObject
from api.memories.presenters import address
from memories import density_map
from memories.density_map import Cell, Grid, Places
from memories.models import Memory


def grid(namespace: str, grid: Grid) -> JsonObject:
    return {
        "namespace": namespace,
        "axes": list(grid.axes),
        "low": list(grid.low),
        "high": list(grid.high),
        "resolution": grid.resolution,
        "total": grid.total,
        "elsewhere": grid.elsewhere,
        "cells": [{"column": cell.column, "row": cell.row, **_aggregates(cell)} for cell in grid.cells],
        "memories": None if grid.memories is None else [_point(memory) for memory in grid.memories],
    }


def places(namespace: str, depth: int, places: Places) -> JsonObject:
    cells = [{**(address(cell.place) if cell.place else {}), **_aggregates(cell)} for cell in places.cells]
    return {"namespace": namespace, "depth": depth, "cells": cells, "next_cursor": places.next_cursor}


def _aggregates(cell: Cell) -> JsonObject:
    return {"count": cell.count, "importance": cell.importance, "max_importance": cell.max_importance}


def _point(memory: Memory) -> JsonObject:
    return {
        "id": str(memory.id),
        **address(memory.coordinate),
        "memory_type": memory.memory_type,
        "importance": memory.importance,
        "text": density_map.excerpt(memory),
    }
