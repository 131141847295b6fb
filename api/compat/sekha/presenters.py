"""Extend our routes' responses with the fields that Sekha's clients expect."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from somamemory import times


def labels(suggested: dict[str, Any], folder: str) -> dict[str, Any]:
    """Add the conversation's folder to each suggestion. Clients send it back with the label."""
    suggestions = [
        {**suggestion, "folder": folder, "reasoning": suggestion["reason"]} for suggestion in suggested["suggestions"]
    ]
    return {**suggested, "suggestions": suggestions, "top_suggestion": suggestions[0] if suggestions else None}


def pruning(suggested: dict[str, Any]) -> dict[str, Any]:
    """Add counts, and the label, age and reason under the names that sekha-mcp and the Python SDK use."""
    now = datetime.now(UTC)
    suggestions = [_suggestion(suggestion, now) for suggestion in suggested["suggestions"]]
    to_archive = [suggestion for suggestion in suggestions if suggestion["recommendation"] == "archive"]
    return {
        "suggestions": suggestions,
        "total": len(suggestions),
        "total_reviewed": len(suggestions),
        "recommended_archive": len(to_archive),
        "recommended_keep": len(suggestions) - len(to_archive),
        "estimated_token_savings": sum(suggestion["token_estimate"] for suggestion in to_archive),
    }


def hit(found: dict[str, Any]) -> dict[str, Any]:
    """Return a search result whose `similarity` is always a number, as sekha-mcp requires."""
    similarity = found["similarity"]
    return {**found, "similarity": found["score"] if similarity is None else similarity}


def _suggestion(suggestion: dict[str, Any], now: datetime) -> dict[str, Any]:
    days = (now - times.parse(suggestion["last_accessed"])).days
    return {
        **suggestion,
        "label": suggestion["conversation_label"],
        "age_days": days,
        "days_since_access": days,
        "reason": "; ".join(suggestion["reasons"]),
    }
