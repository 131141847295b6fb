"""Routes for proposals to supersede facts."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query

from api import throttle
from api.enrichment import presenters
from api.enrichment.schemas import ProposalOut, ProposalParams, ProposalsOut
from api.json import reply
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import Id
from conversations.enrichment import proposals

router = PolicyRouter("curation")


@router.get("/proposals", out=ProposalsOut, limited=True)
def list_proposals(request: Request, query: Query[ProposalParams]) -> HttpResponse:
    """List proposals to replace an older fact with a newer one.

    The newest proposals come first. By default, only open proposals are listed.
    """
    throttle.charge(request, query.limit, per=100)
    page = proposals.page(request.caller, query.state, query.limit, query.cursor)
    return reply({"items": [presenters.proposal(item) for item in page.items], "next_cursor": page.next_cursor})


@router.post("/proposals/{id}/accept", out=ProposalOut, limited=True)
def accept_proposal(request: Request, id: Id) -> HttpResponse:
    """Accept a proposal: the older fact is then valid only until the newer one takes effect."""
    return reply(presenters.proposal(proposals.accept(request.caller, id)))


@router.post("/proposals/{id}/reject", out=ProposalOut, limited=True)
def reject_proposal(request: Request, id: Id) -> HttpResponse:
    """Reject a proposal: both facts remain valid."""
    return reply(presenters.proposal(proposals.reject(request.caller, id)))


@router.post("/proposals/{id}/undo", out=ProposalOut, limited=True)
def undo_proposal(request: Request, id: Id) -> HttpResponse:
    """Undo a decision, including an automatic one. The proposal is then open again."""
    return reply(presenters.proposal(proposals.undo(request.caller, id)))
