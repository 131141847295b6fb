"""Transactions that run again after a collision with another writer."""

from __future__ import annotations

import uuid

import pytest
from django.db import IntegrityError

from conversations.models import Chore
from somamemory.db.collisions import COLLISION, retrying
from somamemory.errors import Conflict
from tests.conftest import Api


def test_a_row_that_breaks_a_rule_of_the_table_is_not_tried_again(api: Api) -> None:
    runs = []

    def work() -> None:
        runs.append(1)
        Chore.all_tenants.create(tenant=api.tenant, conversation_id=uuid.uuid4(), kind=Chore.Kind.FACTS, turn=-1)

    with pytest.raises(IntegrityError):
        retrying(work)
    assert len(runs) == 1


def test_a_row_that_already_exists_each_time_is_reported_as_a_conflict(api: Api) -> None:
    runs, id = [], uuid.uuid4()
    Chore.all_tenants.create(tenant=api.tenant, conversation_id=id, kind=Chore.Kind.FACTS)

    def work() -> None:
        runs.append(1)
        Chore.all_tenants.create(tenant=api.tenant, conversation_id=id, kind=Chore.Kind.FACTS)

    with pytest.raises(Conflict):
        retrying(work)
    assert len(runs) == COLLISION.attempts
