"""Describe a link's state for the audit log: its two addresses, its type, and a hash of its content."""

from __future__ import annotations

from graph.models import Link
from tenants import audit
from tenants.audit import Change


def name(link: Link) -> str:
    return f"{link.start} -{link.link_type}-> {link.end}"


def state(link: Link | None) -> bytes | None:
    """Return the SHA-256 of a link's content, or None if there is no link."""
    if link is None:
        return None
    return audit.fingerprint(link.strength, link.metadata, link.valid_from, link.valid_to)


def removed(link: Link) -> Change:
    return Change(name(link), state(link))
