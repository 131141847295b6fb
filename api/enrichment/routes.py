"""Routes for summaries, labels, importance, facts, pruning and the lifecycle policy."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from ninja import Query

from api.enrichment import presenters
from api.enrichment.schemas import (
    ArchivedOut,
    ConversationIdBody,
    ConversationIdsBody,
    ExtractionOut,
    FactsOut,
    FactsParams,
    PruneBody,
    PruneParams,
    PruneSuggestionOut,
    PruneSuggestionsOut,
    PruningBody,
    RatedOut,
    RestoredOut,
    SuggestionOut,
    SuggestionsOut,
    SummarizeBody,
    SummaryOut,
    SummaryParams,
    UpkeepOut,
    UpkeepPatch,
)
from api.json import JsonObject, reply
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import Id
from conversations.enrichment import facts, labels, summaries
from conversations.enrichment.importance import rate
from conversations.lifecycle import policy, pruning

router = PolicyRouter("curation")


@router.post("/summarize", out=SummaryOut, by_alias=True, kind="llm", limited=True)
def summarize(request: Request, body: SummarizeBody) -> HttpResponse:
    """Summarise a day, week or month of a conversation. The summary is reused until the underlying messages change."""
    return reply(presenters.summary(summaries.summarize(request.caller, body.conversation_id, body.level, body.day)))


@router.post("/conversations/{id}/summary", out=SummaryOut, by_alias=True, kind="llm", limited=True)
def summary(request: Request, id: Id, query: Query[SummaryParams]) -> HttpResponse:
    """Summarise a day, week or month of a conversation. The summary is reused until the underlying messages change."""
    return reply(presenters.summary(summaries.summarize(request.caller, id, query.level, query.day)))


@router.post("/labels/suggest", out=SuggestionsOut, kind="llm", writes=False, limited=True)
def suggest(request: Request, body: ConversationIdBody) -> HttpResponse:
    """Suggest up to five labels for a conversation, without changing the conversation."""
    return reply(presenters.labels(labels.suggest(request.caller, body.conversation_id)))


@router.post("/conversations/{id}/suggest-labels", out=list[SuggestionOut], kind="llm", writes=False, limited=True)
def suggest_labels(request: Request, id: Id) -> HttpResponse:
    """Suggest up to five labels for a conversation, as a plain list, without changing the conversation."""
    return reply(presenters.label_suggestions(labels.suggest(request.caller, id)))


@router.post("/conversations/{id}/facts", out={200: ExtractionOut, 202: ExtractionOut}, kind="llm")
def extract_facts(request: Request, id: Id) -> HttpResponse:
    """Extract facts from the messages added since the last extraction.

    The status is 202 while messages remain to be read.
    """
    progress = facts.request(request.caller, id)
    return reply(presenters.extraction(progress), 200 if progress.state == "done" else 202)


@router.get("/conversations/{id}/facts", out=FactsOut, limited=True)
def list_facts(request: Request, id: Id, query: Query[FactsParams]) -> HttpResponse:
    """List a conversation's facts by turn, with the extraction's progress."""
    progress = facts.progress(request.caller, id)
    page = facts.of_conversation(request.caller, progress.conversation, limit=query.limit, cursor=query.cursor)
    items = [presenters.fact(row) for row in page.items]
    return reply({**presenters.extraction(progress), "items": items, "next_cursor": page.next_cursor})


@router.post("/messages/{id}/importance", out=RatedOut, kind="llm", limited=True)
def importance(request: Request, id: Id) -> HttpResponse:
    """Rate a message's importance and store the score."""
    return reply(presenters.rating(rate(request.caller, id)))


@router.post("/prune/dry-run", out=PruneSuggestionsOut, kind="read")
def dry_run(request: Request, body: PruneBody | None = None) -> HttpResponse:
    """List conversations that could be archived, and why. Nothing is archived."""
    options = body or PruneBody()
    suggestions = _suggest(request, options)
    return reply({"suggestions": suggestions, "total": len(suggestions)})


@router.get("/prune/suggestions", out=list[PruneSuggestionOut])
def prune_suggestions(request: Request, query: Query[PruneParams]) -> HttpResponse:
    """List conversations that could be archived, as a plain list."""
    return reply(_suggest(request, query))


@router.post("/prune/execute", out=ArchivedOut)
def execute(request: Request, body: ConversationIdsBody) -> HttpResponse:
    """Archive the given conversations: all of them or none."""
    archived = pruning.execute(request.caller, body.conversation_ids)
    return reply({"archived": len(archived), "conversation_ids": [str(row.id) for row in archived]})


@router.get("/upkeep", out=UpkeepOut)
def fetch_upkeep(request: Request) -> HttpResponse:
    """Show the lifecycle policy for unused conversations and the report of its last run."""
    return reply(presenters.upkeep(*policy.get(request.caller)))


@router.patch("/upkeep", out=UpkeepOut)
def patch_upkeep(request: Request, body: UpkeepPatch) -> HttpResponse:
    """Change the lifecycle policy for unused conversations. The change takes effect at the next run."""
    return reply(presenters.upkeep(*policy.change(request.caller, _upkeep_columns(body))))


@router.post("/prune/undo", out=RestoredOut, resumable=True)
def undo(request: Request, body: ConversationIdsBody) -> HttpResponse:
    """Make the given archived conversations active again: all of them or none."""
    restored = pruning.undo(request.caller, body.conversation_ids)
    return reply({"restored": len(restored), "conversation_ids": [str(row.id) for row in restored]})


def _suggest(request: Request, options: PruneBody | PruneParams) -> list[JsonObject]:
    suggestions = pruning.suggestions(request.caller, options.threshold_days, options.importance_threshold)
    return [presenters.prune_suggestion(suggestion) for suggestion in suggestions]


def _upkeep_columns(body: UpkeepPatch) -> dict[str, Any]:
    columns = body.required_changes()
    if "pruning" in columns:
        rule = columns.pop("pruning") or PruningBody(mode="off")
        columns["pruning"] = rule.mode
        columns["pruning_days"] = rule.threshold_days
        columns["pruning_importance"] = rule.importance_threshold
    return columns
