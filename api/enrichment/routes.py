"""What makes much of conversations little: summaries, labels, importance, and putting away."""

from __future__ import annotations

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
from api.json import reply
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import Id
from conversations.enrichment import facts, labels, summaries
from conversations.enrichment import importance as rating
from conversations.lifecycle import policy
from conversations.lifecycle import pruning as prune
from somamemory.errors import InvalidInput

router = PolicyRouter("curation")


@router.post("/summarize", out=SummaryOut, by_alias=True, kind="llm")
def summarize(request: Request, body: SummarizeBody) -> HttpResponse:
    """The summary of a day, week or month of a conversation; made anew only when its source has changed."""
    found = summaries.summarize(request.caller, body.conversation_id, body.level, body.day)
    return reply(presenters.summary(found))


@router.post("/conversations/{id}/summary", out=SummaryOut, by_alias=True, kind="llm")
def summary(request: Request, id: Id, query: Query[SummaryParams]) -> HttpResponse:
    """The summary of a day, week or month of a conversation; made anew only when its source has changed."""
    return reply(presenters.summary(summaries.summarize(request.caller, id, query.level, query.day)))


@router.post("/labels/suggest", out=SuggestionsOut, kind="llm", writes=False)
def suggest(request: Request, body: ConversationIdBody) -> HttpResponse:
    """Up to five labels for a conversation; nothing is changed."""
    return reply(presenters.labels(labels.suggest(request.caller, body.conversation_id)))


@router.post("/conversations/{id}/suggest-labels", out=list[SuggestionOut], kind="llm", writes=False)
def suggest_labels(request: Request, id: Id) -> HttpResponse:
    """Up to five labels for a conversation, as a bare list; nothing is changed."""
    return reply(presenters.label_suggestions(labels.suggest(request.caller, id)))


@router.post("/conversations/{id}/facts", out={200: ExtractionOut, 202: ExtractionOut}, kind="llm")
def extract_facts(request: Request, id: Id) -> HttpResponse:
    """Have the facts of what has been said since the last time taken out; 202 when there is something to read."""
    found = presenters.extraction(facts.request(request.caller, id))
    return reply(found, 200 if found["state"] == "done" else 202)


@router.get("/conversations/{id}/facts", out=FactsOut)
def list_facts(request: Request, id: Id, query: Query[FactsParams]) -> HttpResponse:
    """The facts of a conversation by the turns that state them, and how far they have come."""
    found = facts.progress(request.caller, id)
    page = facts.of_conversation(request.caller, found.conversation, limit=query.limit, cursor=query.cursor)
    items = [presenters.fact(row) for row in page.items]
    return reply({**presenters.extraction(found), "items": items, "next_cursor": page.next_cursor})


@router.post("/messages/{id}/importance", out=RatedOut, kind="llm")
def importance(request: Request, id: Id) -> HttpResponse:
    """Judge how important a message is; the score becomes its importance."""
    return reply(presenters.rating(rating.rate(request.caller, id)))


@router.post("/prune/dry-run", out=PruneSuggestionsOut, kind="read")
def dry_run(request: Request, body: PruneBody | None = None) -> HttpResponse:
    """Conversations that could be archived, and what each holds; nothing is changed."""
    given = body or PruneBody()
    found = prune.suggestions(request.caller, given.threshold_days, given.importance_threshold)
    return reply({"suggestions": [presenters.prune_suggestion(each) for each in found], "total": len(found)})


@router.get("/prune/suggestions", out=list[PruneSuggestionOut])
def prune_suggestions(request: Request, query: Query[PruneParams]) -> HttpResponse:
    """Conversations that could be archived, as a bare list."""
    found = prune.suggestions(request.caller, query.threshold_days, query.importance_threshold)
    return reply([presenters.prune_suggestion(each) for each in found])


@router.post("/prune/execute", out=ArchivedOut)
def execute(request: Request, body: ConversationIdsBody) -> HttpResponse:
    """Archive all of these conversations, or none."""
    moved = prune.execute(request.caller, body.conversation_ids)
    return reply({"archived": len(moved), "conversation_ids": [str(row.id) for row in moved]})


@router.get("/upkeep", out=UpkeepOut)
def fetch_upkeep(request: Request) -> HttpResponse:
    """What is done with conversations that nobody uses any more, and what was done when somebody looked last."""
    return reply(presenters.upkeep(*policy.get(request.caller)))


@router.patch("/upkeep", out=UpkeepOut)
def patch_upkeep(request: Request, body: UpkeepPatch) -> HttpResponse:
    """Change what is done; the next run goes by it."""
    given = {name: getattr(body, name) for name in body.model_fields_set}
    if not given:
        raise InvalidInput("body", "names nothing to change")
    pruning = {}
    if "pruning" in given:
        told = given.pop("pruning") or PruningBody(mode="off")
        pruning = {"pruning": told.mode, "pruning_days": told.threshold_days}
        pruning["pruning_importance"] = told.importance_threshold
    return reply(presenters.upkeep(*policy.change(request.caller, {**given, **pruning})))


@router.post("/prune/undo", out=RestoredOut)
def undo(request: Request, body: ConversationIdsBody) -> HttpResponse:
    """Make archived conversations active again: all of these, or none."""
    moved = prune.undo(request.caller, body.conversation_ids)
    return reply({"restored": len(moved), "conversation_ids": [str(row.id) for row in moved]})
