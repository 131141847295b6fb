"""Inspect and change trees of conditions. This module is pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from memories.filters.grammar import And, Filter, Leaf, Not, Or


def leaves(filter: Filter) -> list[Leaf]:
    """Return the leaves of the tree, without the conditions that other code has added."""
    match filter:
        case And(parts) | Or(parts):
            return [leaf for part in parts for leaf in leaves(part)]
        case Not(part):
            return leaves(part)
        case Leaf():
            return [filter]
    return []


def constant(filter: Filter) -> bool | None:
    """Return the value of a tree if it is the same for every memory (as for an empty OR), otherwise None."""
    match filter:
        case And(parts) | Or(parts):
            neutral = isinstance(filter, And)
            values = {constant(part) for part in parts}
            return (not neutral) if (not neutral) in values else None if None in values else neutral
        case Not(part):
            value = constant(part)
            return None if value is None else not value
    return None


def on_json(filter: Filter) -> list[Leaf]:
    """Return the leaves of the tree that compare a value in a JSON document."""
    return [leaf for leaf in leaves(filter) if leaf.path]


def replaced(filter: Filter, by: Callable[[Leaf], Filter]) -> Filter:
    """Return the tree with each leaf replaced by `by(leaf)`."""
    match filter:
        case And(parts):
            return And(tuple(replaced(part, by) for part in parts))
        case Or(parts):
            return Or(tuple(replaced(part, by) for part in parts))
        case Not(part):
            return Not(replaced(part, by))
        case Leaf():
            return by(filter)
    return filter


def simplest(leaf: Leaf) -> Filter:
    """Rewrite `eq`, `ne` and `nin` in terms of `in`, `exists` and NOT. Other operators stay as they are."""
    match leaf.operator:
        case "eq" if not isinstance(leaf.operand, tuple):
            return replace(leaf, operator="in", operand=(leaf.operand,))
        case "ne" if not isinstance(leaf.operand, tuple):
            return simplest(replace(leaf, operator="nin", operand=(leaf.operand,)))
        case "nin":
            present = replace(leaf, operator="exists", operand=True)
            return And((present, Not(replace(leaf, operator="in"))))
    return leaf
