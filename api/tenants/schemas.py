"""Request and response schemas for tenants, their keys and their audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.schemas import Body, Cursor, Fraction, Instant, Limit, NamespaceName, OwnerId, Params, Patch, Text

Tier = Literal["free", "standard", "premium"]
Quota = Annotated[int, Field(ge=0, lt=2**63)]


class Quotas(Patch):
    """Null means no limit. Omitted fields are left unchanged."""

    memories: Quota | None = None
    bytes: Quota | None = None
    keys: Quota | None = None
    requests_per_day: Quota | None = None
    llm_tokens_per_day: Quota | None = None
    llm_tokens_per_month: Quota | None = None
    llm_cents_per_month: Quota | None = None


class Policies(Patch):
    """A tenant's policies. Omitted fields are left unchanged."""

    auto_label: Fraction | None = None
    extract_facts: bool = False
    history_days: Annotated[int, Field(ge=0, le=36_500)] | None = None


ShortText = Annotated[Text, Field(max_length=64)]


class PageParams(Params):
    limit: Limit = 50
    cursor: Cursor | None = None


class AuditParams(PageParams):
    action: ShortText = ""
    actor: ShortText = ""
    target: Annotated[Text, Field(max_length=2048)] = ""
    since: Instant | None = None
    until: Instant | None = None


class TenantBody(Body):
    slug: Annotated[str, Field(max_length=63)]
    name: Annotated[Text, Field(max_length=255)] = ""
    tier: Tier = "standard"
    quotas: Quotas = Field(default_factory=Quotas)
    policies: Policies = Field(default_factory=Policies)


class TenantPatch(Body):
    """Omitted fields are left unchanged."""

    name: Annotated[Text, Field(max_length=255)] | None = None
    tier: Tier | None = None
    active: bool | None = None
    quotas: Quotas = Field(default_factory=Quotas)
    policies: Policies = Field(default_factory=Policies)


class QuotasOut(BaseModel):
    memories: int | None
    bytes: int | None
    keys: int | None
    requests_per_day: int | None
    llm_tokens_per_day: int | None
    llm_tokens_per_month: int | None
    llm_cents_per_month: int | None


class PoliciesOut(BaseModel):
    auto_label: float | None
    extract_facts: bool
    history_days: int | None


class TenantOut(BaseModel):
    slug: str
    name: str
    active: bool
    tier: Tier
    quotas: QuotasOut
    policies: PoliciesOut
    created_at: str


class Used(BaseModel):
    used: int
    quota: int | None


class UsageOut(BaseModel):
    slug: str
    memories: Used
    bytes: Used
    keys: Used
    requests_per_day: Used
    llm_tokens_per_day: Used
    llm_tokens_per_month: Used
    llm_cents_per_month: Used


class AuditOut(BaseModel):
    id: int
    at: str
    actor: str
    action: str
    namespace: str
    target: str
    request_id: str
    address: str
    before_hash: str | None
    after_hash: str | None
    sealed: bool


class AuditPageOut(BaseModel):
    items: list[AuditOut]
    next_cursor: str | None


class ErasedOut(BaseModel):
    slug: str
    id: str
    erased_at: str
    rows: dict[str, int]
    elsewhere: dict[str, int]
    total: int
    complete: bool
    missing: list[str]


class TenantsOut(BaseModel):
    items: list[TenantOut]
    next_cursor: str | None


Scope = Literal["read", "write", "delete", "admin"]


class KeyBody(Body):
    name: Annotated[str, Field(max_length=255)] = ""
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)] = ["read", "write", "delete"]
    namespaces: Annotated[list[NamespaceName], Field(max_length=100)] = Field(default_factory=list)
    user_id: OwnerId | None = None
    expires_at: Instant | None = None
    secret: Annotated[str, Field(max_length=512)] | None = None


class RotateBody(Body):
    overlap_hours: Annotated[int, Field(ge=0, le=720)] = 24


class KeyOut(BaseModel):
    prefix: str
    name: str
    scopes: list[str]
    namespaces: list[str]
    user_id: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class IssuedKeyOut(KeyOut):
    key: str


class KeysOut(BaseModel):
    items: list[KeyOut]
    next_cursor: str | None
