"""The pages of the admin console: the models, the dashboard and the explorer on one site."""

from __future__ import annotations

from console import (  # noqa: F401 - admin registers the models
    admin,
    conversation_page,
    dashboard,
    deleted_page,
    example_data,
    explorer,
    job_page,
    second_factor_page,
    similar_memories,
    slow_page,
)
from console.oauth import authorize_page
from console.playground import pages as playground
from console.site import site

__all__ = ["site"]

site.figures = dashboard.figures
site.pages = [
    ("explorer/", "explorer", explorer.page),
    ("explorer/map/", "explorer_map", explorer.map_cells),
    ("explorer/search/", "explorer_search", explorer.search),
    ("explorer/memory/", "explorer_memory", explorer.memory),
    ("similar/", "similar_memories", similar_memories.answer),
    ("playground/", "playground", playground.search_page),
    ("playground/context/", "playground_context", playground.context_page),
    ("example/", "example", example_data.change),
    ("export/<slug:slug>/<uuid:id>/", "conversation_export", conversation_page.export),
    ("jobs/<uuid:id>/progress/", "job_progress", job_page.progress),
    ("slow-searches/", "slow_searches", slow_page.page),
    ("deleted/", "deleted_conversations", deleted_page.page),
    ("second-factor/", "second_factor", second_factor_page.page),
    ("oauth/authorize/", "oauth_authorize", authorize_page.page),
]
