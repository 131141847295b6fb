"""Example data for a first visit: memories with links, and a conversation. It can be loaded and removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import reverse

import conversations.services
import graph.services
from console import staff
from console.model_admin import report_outcome
from conversations import lookup
from conversations.messages import NewMessage
from conversations.services import NewConversation
from graph.services import NewLink
from memories import coordinates, selectors, services
from memories.new_memory import NewMemory
from tenants.caller import Caller
from tenants.models import Tenant

NAMESPACE = "somamemory-example"
EXTERNAL_ID = "somamemory-example"
MARK = {"example": True}
QUESTION = "What must I not cook for Ada?"
# (coordinate, text, importance)
MEMORIES = (
    ((1, 1), "Ada is allergic to shellfish.", 9.0),
    ((1, 2), "Ada drinks her coffee without sugar.", 3.0),
    ((1, 3), "Ada moved from Bern to Lisbon in March.", 6.0),
    ((1, 4), "Ada's sister Grace lives in Alfama.", 4.0),
    ((2, 1), "The invoice for October was paid on the 5th.", 2.0),
    ((2, 2), "The release of version 2 is planned for December.", 7.0),
    ((2, 3), "Version 2 needs a database migration.", 8.0),
    ((3, 1), "The train to Porto leaves at 9:30 from Oriente.", 5.0),
    ((3, 2), "The tile museum is closed on Mondays.", 3.0),
    ((3, 3), "A tasca near the castle serves grilled sardines.", 4.0),
)
LINKS = (((1, 3), (1, 4), "near"), ((2, 2), (2, 3), "requires"), ((3, 3), (1, 1), "check"))
MESSAGES = (
    ("user", "I am planning dinner for Ada and Grace on Friday. What should I cook?"),
    ("assistant", "Ada is allergic to shellfish, so I suggest caldo verde and grilled vegetables."),
    ("user", "Good. Remember that Grace is a vegetarian."),
    ("assistant", "Noted: Grace is a vegetarian. Caldo verde works without chouriço."),
)


def load(caller: Caller) -> None:
    """Store the example. A second call changes only the memories' versions."""
    memories = [
        NewMemory(coordinates.of(at), {"text": text}, namespace=NAMESPACE, metadata=MARK, importance=importance)
        for at, text, importance in MEMORIES
    ]
    links = [NewLink(coordinates.of(a), coordinates.of(b), kind, namespace=NAMESPACE) for a, b, kind in LINKS]
    begin = datetime.now(UTC) - timedelta(days=1)
    said = [
        NewMessage(role, content, timestamp=begin + timedelta(minutes=number))
        for number, (role, content) in enumerate(MESSAGES)
    ]
    with transaction.atomic():
        services.store_many(caller, memories)
        graph.services.link_many(caller, links)
        new = NewConversation(label="Dinner for Ada", folder="/example", messages=said, external_id=EXTERNAL_ID)
        conversations.services.create_once(caller, new)


def remove(caller: Caller) -> None:
    """Permanently remove the example and its links, but not memories that users have stored in its place."""
    there = selectors.live(caller, [NAMESPACE]).filter(
        coordinate_key__in=[coordinates.of(at).key for at, *_ in MEMORIES]
    )
    with transaction.atomic():
        own = [row.coordinate for row in there if row.metadata == MARK]
        services.delete_many(caller, NAMESPACE, own, purge=True)
        if conversation := lookup.by_external_id(caller, EXTERNAL_ID):
            conversations.services.delete(caller, conversation.id, purge=True)


def offer(request: HttpRequest, default: Tenant) -> dict[str, Any]:
    """Return what the dashboard offers: the example while a tenant is empty, then things to try with it."""
    tenant = staff.chosen_tenant(request, default)
    user: Any = request.user
    if tenant is None or not user.has_perm("memories.view_memory"):
        return {}
    caller = staff.caller(request, tenant)
    names = selectors.namespaces(caller)
    if names and NAMESPACE not in names:
        return {}
    place = {"tenant": tenant.slug, "namespace": NAMESPACE}
    conversation = lookup.by_external_id(caller, EXTERNAL_ID) if names else None
    chat = conversation and reverse(
        "admin:conversations_conversation_change", args=[conversation.id], query={"tenant": tenant.slug}
    )
    return {
        "slug": tenant.slug,
        "loaded": bool(names),
        "may_load": "write" in caller.scopes,
        "may_remove": "delete" in caller.scopes,
        "search": reverse("admin:playground", query={**place, "query": QUESTION}),
        "chat": chat,
        "map": reverse("admin:explorer", query=place),
    }


def change(request: HttpRequest) -> HttpResponse:
    """Load or remove the example in response to a POST."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    caller = staff.caller(request, staff.tenant_named(request, request.POST.get("tenant", "")))
    if request.POST.get("do") == "remove":
        with report_outcome(request, "The example data was removed."):
            remove(caller)
    elif request.POST.get("do") == "load":
        with report_outcome(request, "The example data was loaded. Try one of the three things below."):
            load(caller)
    else:
        raise PermissionDenied
    return redirect("admin:index")
