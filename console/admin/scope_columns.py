"""Columns that describe the permissions of a key or a connected app."""

from __future__ import annotations

from unfold.decorators import display

from console import scope_words
from console.models import OAuthGrant
from tenants.models import ApiKey


class ScopeColumns:
    @display(description="scopes")
    def scope_verbs(self, row: ApiKey | OAuthGrant) -> str:
        return scope_words.verbs(row.scopes)

    @display(description="scopes")
    def scope_descriptions(self, row: ApiKey | OAuthGrant) -> str:
        return scope_words.descriptions(row.scopes)

    @display(description="namespaces")
    def allowed_namespaces(self, row: ApiKey | OAuthGrant) -> str:
        return ", ".join(row.namespaces) or "all"
