"""Present summaries, labels, importance, facts and pruning as JSON."""

from __future__ import annotations

from api.json import JsonObject
from conversations.enrichment.facts import Progress
from conversations.enrichment.importance import Rating
from conversations.enrichment.labels import Suggestions
from conversations.enrichment.proposals import Proposed
from conversations.enrichment.summaries import Summary
from conversations.lifecycle.policy import Rules
from conversations.lifecycle.pruning import Suggestion
from conversations.models import Chore, Upkeep
from memories.models import Memory
from somamemory.times import rfc3339, rfc3339_or_none


def summary(summary: Summary) -> JsonObject:
    return {
        "conversation_id": str(summary.conversation.id),
        "level": summary.period.level,
        "period": summary.period.name,
        "coord": summary.coordinate.text,
        "summary": summary.text,
        "model": summary.model,
        "tokens_used": summary.tokens_used,
        "generated_at": summary.generated_at,
        "covers": summary.covers,
    }


def label_suggestions(suggestions: Suggestions) -> list[JsonObject]:
    return [
        {
            "label": suggestion.label,
            "confidence": suggestion.confidence,
            "is_existing": suggestion.is_existing,
            "reason": suggestion.reason,
        }
        for suggestion in suggestions.suggestions
    ]


def labels(suggestions: Suggestions) -> JsonObject:
    return {
        "conversation_id": str(suggestions.conversation.id),
        "suggestions": label_suggestions(suggestions),
        "model": suggestions.model,
    }


def rating(rating: Rating) -> JsonObject:
    return {"score": rating.score, "reasoning": rating.reasoning, "model": rating.model}


def extraction(progress: Progress) -> JsonObject:
    chore = progress.chore or Chore()
    return {
        "conversation_id": str(progress.conversation.id),
        "state": progress.state,
        "read_to_turn": chore.turn,
        "last_turn": progress.conversation.last_turn,
        "facts": chore.found,
        "left_out": chore.left_out,
        "cut": chore.cut,
        "error": chore.error or None,
        "due_at": rfc3339_or_none(chore.due_at),
    }


def fact(fact: Memory) -> JsonObject:
    return {
        "id": str(fact.id),
        "coord": fact.coordinate.text,
        "fact": fact.payload["text"],
        "turn": fact.payload["turn"],
        "entities": fact.payload["entities"],
        "model": fact.payload["model"],
        "timestamp": rfc3339(fact.created_at),
    }


def proposal(proposed: Proposed) -> JsonObject:
    proposal = proposed.proposal
    return {
        "id": str(proposal.id),
        "state": proposal.state,
        "newer": proposed.newer and _proposed_fact(proposed.newer),
        "older": proposed.older and _proposed_fact(proposed.older),
        "reason": proposal.reason,
        "confidence": proposal.confidence,
        "created_at": rfc3339(proposal.created_at),
        "decided_at": rfc3339_or_none(proposal.decided_at),
        "decided_by": proposal.decided_by,
    }


def _proposed_fact(memory: Memory) -> JsonObject:
    shown = fact(memory)
    return {name: shown[name] for name in ("id", "coord", "fact", "timestamp")}


def prune_suggestion(suggestion: Suggestion) -> JsonObject:
    conversation = suggestion.conversation
    return {
        "conversation_id": str(conversation.id),
        "conversation_label": conversation.label,
        "last_accessed": rfc3339(suggestion.last_accessed),
        "message_count": conversation.message_count,
        "token_estimate": suggestion.token_estimate,
        "importance_score": conversation.importance,
        "preview": suggestion.preview,
        "recommendation": suggestion.verdict.recommendation,
        "score": suggestion.verdict.score,
        "reasons": list(suggestion.verdict.reasons),
    }


def upkeep(rules: Rules, row: Upkeep) -> JsonObject:
    overrides = {"active_days": row.active_days, "archived_days": row.archived_days}
    return {
        "active_days": rules.active_days,
        "archived_days": rules.archived_days,
        "own": [name for name, days in overrides.items() if days is not None],
        "pruning": {
            "mode": row.pruning,
            "threshold_days": row.pruning_days,
            "importance_threshold": row.pruning_importance,
        },
        "ran_at": rfc3339_or_none(row.ran_at),
        "report": row.report,
    }
