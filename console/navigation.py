"""The sidebar, with the entries that the user can access."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse


def style(request: HttpRequest) -> str:
    return static("console/console.css")


def script(request: HttpRequest) -> str:
    return static("console/alpine_data.js")


def page_script(request: HttpRequest) -> str:
    return static("console/page.js")


def keyboard_script(request: HttpRequest) -> str:
    return static("console/keyboard.js")


def icon(request: HttpRequest) -> str:
    return static("console/icon.svg")


def account(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the links in the signed-in user's menu."""
    return [
        {"title": "Change password", "link": reverse("admin:password_change")},
        {"title": "Second factor", "link": reverse("admin:second_factor")},
    ]


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    return [
        {
            "items": [
                _item("Dashboard", "monitoring", "index"),
                _item("Explorer", "explore", "explorer", "memories.view_memory"),
                _item("Playground", "science", "playground", "memories.view_memory"),
            ]
        },
        _group(
            "Memory",
            _item("Memories", "neurology", "memories_memory_changelist", "memories.view_memory"),
            _item("Conversations", "forum", "conversations_conversation_changelist", "conversations.view_conversation"),
            _item("Links", "share", "graph_link_changelist", "graph.view_link"),
        ),
        _group(
            "Tenants",
            _item("Tenants", "apartment", "tenants_tenant_changelist", "tenants.view_tenant"),
            _item("API keys", "key", "tenants_apikey_changelist", "tenants.view_apikey"),
            *([_item("Connected apps", "link", "console_oauthgrant_changelist")] if settings.OAUTH_URL else []),
            _item("Audit", "history_edu", "tenants_auditevent_changelist", "tenants.view_auditevent"),
        ),
        _group(
            "Index",
            _item("Failed rows", "error", "memories_vectorembedding_changelist", "memories.view_vectorembedding"),
            _item("Jobs", "pending_actions", "memories_job_changelist", SUPERUSER),
            _item("Slow searches", "speed", "slow_searches", SUPERUSER),
            _item("Generations", "layers", "memories_embeddinggeneration_changelist", SUPERUSER),
        ),
        _group(
            "Staff",
            _item("Users", "person", "auth_user_changelist", SUPERUSER),
            _item("Groups", "group", "auth_group_changelist", SUPERUSER),
        ),
    ]


SUPERUSER = "superuser"


def _group(title: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "items": list(items)}


def _item(title: str, icon: str, view: str, permission: str = "") -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse(f"admin:{view}"), "permission": _allows(permission)}


def _allows(permission: str) -> Callable[[HttpRequest], bool]:
    def allowed(request: HttpRequest) -> bool:
        user: Any = request.user
        if permission == SUPERUSER:
            return bool(user.is_superuser)
        return not permission or bool(user.has_perm(permission))

    return allowed
