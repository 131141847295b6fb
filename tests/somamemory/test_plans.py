"""PostgreSQL uses the intended index for each kind of query, and every index is used.

The statements are the service's own. There are 30,000 memories in three tenants, so that the planner prefers indexes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from conversations import lookup
from conversations import selectors as conversations
from conversations.enrichment import schedule
from conversations.models import Conversation
from conversations.query import ConversationQuery
from conversations.search.results import has_cold_conversations
from memories import coordinates, counts, retention, selectors
from memories.filters import parse
from memories.index import drain, generations
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from memories.search import lexical, term_index
from memories.search.candidates import Confirmation
from memories.search.selection import Selection
from memories.search.statistics import statistics
from memories.selectors import Narrowing
from somamemory.db import tenant_scope
from tenants.caller import SCOPES, Caller
from tenants.models import Tenant
from tests.conftest import GENERATION

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]

TENANTS = [uuid.UUID(int=number) for number in (71, 72, 73)]
# One in a hundred memories is semantic, deleted, expired or important. There are many kinds and users, and rare and
# frequent words.
MEMORIES = """
    INSERT INTO sfm_memories (
        id, tenant_id, namespace, coordinate_key, payload, metadata, memory_type, importance, context, terms, version,
        created_at, updated_at, expires_at, deleted_at, archived_at, user_id, agent_id, session_id
    )
    SELECT gen_random_uuid(), %s, 'n' || n %% 2, lpad(to_hex(n), 16, '0'),
        jsonb_build_object('text', 'word' || n, 'kind', 'k' || n %% 500, 'tags', jsonb_build_array(n %% 700)),
        jsonb_build_object('user', 'u' || n %% 400),
        CASE n %% 100 WHEN 1 THEN 'semantic' ELSE 'episodic' END, CASE n %% 100 WHEN 2 THEN 9 ELSE n %% 3 END, '',
        'word' || n || ' often' || n %% 7, 1,
        now() - n * interval '1 minute', now() - (n * 7919 %% 10000) * interval '1 minute',
        CASE n %% 100 WHEN 3 THEN now() - interval '40 days' END,
        CASE n %% 100 WHEN 4 THEN now() - interval '40 days' END,
        CASE n %% 100 WHEN 6 THEN now() END, 'user' || n %% 400, 'agent' || n %% 300, 'session' || n %% 900
    FROM generate_series(1, 10000) AS n
"""
OUTBOX = """
    INSERT INTO sfm_vector_embeddings (
        tenant_id, generation_id, memory_id, wanted_version, indexed_version, vector, own, due_at, attempts, error
    )
    SELECT tenant_id, %s, id, 1, 1, decode(repeat('00', 1024), 'hex'), false,
        CASE seq %% 100 WHEN 5 THEN now() END, 0, ''
    FROM sfm_memories
"""


CONVERSATIONS = """
    INSERT INTO sfm_conversations (
        id, tenant_id, number, key, label, folded_label, folder, place, status, importance, message_count, word_count,
        last_turn, metadata, created_at, updated_at, tier, archived_at, user_id, agent_id, session_id
    )
    SELECT gen_random_uuid(), %s, n, lpad(to_hex(n), 16, '0'), 'label ' || n %% 900, '', '/f' || n %% 800,
        '/f' || n %% 800 || '/', CASE n %% 100 WHEN 1 THEN 'pinned' ELSE 'active' END, 5, 1, 5, 1, '{}', now(),
        now() - n * interval '1 minute', CASE n %% 100 WHEN 2 THEN 'cold' ELSE 'active' END, NULL,
        'user' || n %% 400, 'agent' || n %% 300, 'session' || n %% 900
    FROM generate_series(1, 10000) AS n
"""


@pytest.fixture(scope="module", autouse=True)
def filled(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        Tenant.objects.bulk_create(Tenant(id=id, slug=f"plans-{id.int}") for id in TENANTS)
        EmbeddingGeneration.objects.create(
            id=GENERATION, provider="wordllama", model="l2_supercat", dimension=256, collection="plans", state="active"
        )
        with connection.cursor() as cursor:
            cursor.executemany(MEMORIES, [[tenant] for tenant in TENANTS])
            cursor.execute(OUTBOX, [GENERATION])
            # Not only statistics: index-only scans need the visibility map that VACUUM creates.
            cursor.executemany(CONVERSATIONS, [[tenant] for tenant in TENANTS])
            cursor.execute("VACUUM (ANALYZE) sfm_memories, sfm_vector_embeddings, sfm_conversations")
        yield
        VectorEmbedding.all_tenants.filter(tenant__in=TENANTS).delete()
        Memory.all_tenants.filter(tenant__in=TENANTS).delete()
        Conversation.all_tenants.filter(tenant__in=TENANTS).delete()
        EmbeddingGeneration.objects.all().delete()
        Tenant.objects.filter(id__in=TENANTS).delete()
        connection.close()


@pytest.fixture
def whose() -> Caller:
    return Caller(tenant=Tenant.objects.get(id=TENANTS[0]), actor="key:test", scopes=frozenset(SCOPES))


def plans(ask: Callable[[], object]) -> str:
    """Return PostgreSQL's plan for each statement that `ask` sends."""
    explained: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if re.match(r"SELECT|UPDATE|DELETE|WITH", sql) and not many and "sfm_" in sql:
            execute("EXPLAIN " + sql, params, many, context)
            explained.extend(row[0] for row in context["cursor"].fetchall())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        ask()
    return "\n".join(explained)


def listed(whose: Caller, filters: dict[str, Any] | None = None, **narrowing: Any) -> Callable[[], object]:
    order = narrowing.pop("order", "coordinate")
    where = Narrowing(filters=parse(filters) if filters else None, **narrowing)
    return lambda: selectors.list_memories(whose, "n1", where, order=order)


def words(whose: Caller, *terms: str) -> None:
    stats = statistics(whose.tenant, ["n1"], terms)
    lexical.matches(Selection.of(selectors.live(whose, ["n1"])), ["n1"], stats, whose.tenant)


def talks(whose: Caller, query: ConversationQuery) -> Callable[[], object]:
    return lambda: conversations.list_conversations(whose, query)


# The queries that need each index.
QUESTIONS: dict[str, list[Callable[[Caller], Callable[[], object]]]] = {
    "sfm_memories_address": [
        lambda whose: lambda: selectors.get_many(whose, "n1", [coordinates.from_key(f"{7:016x}")]),
        lambda whose: listed(whose),
        lambda whose: listed(whose, prefix=coordinates.from_key(f"{7:016x}")),
    ],
    "sfm_memories_created": [
        lambda whose: listed(whose, order="-created_at"),
        lambda whose: listed(whose, created_after=timezone.now() - timedelta(minutes=60)),
        lambda whose: listed(whose, {"created_at": {"gte": (timezone.now() - timedelta(minutes=60)).isoformat()}}),
    ],
    "sfm_memories_updated": [
        lambda whose: listed(whose, order="-updated_at"),
        lambda whose: listed(whose, updated_after=timezone.now() - timedelta(minutes=60)),
    ],
    "sfm_memories_type": [
        lambda whose: listed(whose, memory_type="semantic"),
        lambda whose: listed(whose, {"memory_type": "semantic"}, order="-created_at"),
        lambda whose: lambda: counts.stats(whose),
    ],
    "sfm_memories_importance": [
        lambda whose: listed(whose, {"importance": {"gte": 9}}),
        lambda whose: listed(whose, {"importance": 9}),
    ],
    "sfm_memories_payload": [
        lambda whose: listed(whose, {"kind": "k7"}),
        lambda whose: listed(whose, {"kind": {"in": ["k7", "k8", "k9"]}}),
        lambda whose: listed(whose, {"tags": {"contains": 7}}),
        lambda whose: listed(whose, {"kind": "k7", "text": {"icontains": "w"}}, order="-created_at"),
    ],
    "sfm_memories_metadata": [
        lambda whose: listed(whose, {"metadata.user": "u7"}),
    ],
    "sfm_memories_user": [
        lambda whose: listed(whose, user_id="user7"),
        lambda whose: listed(whose, {"user_id": "user7"}),
    ],
    "sfm_memories_agent": [lambda whose: listed(whose, agent_id="agent7")],
    "sfm_memories_session": [lambda whose: listed(whose, session_id="session7")],
    "sfm_memories_terms": [
        lambda whose: lambda: words(whose, "word77"),
    ],
    "sfm_memories_sample": [
        lambda whose: lambda: term_index.postgresql_sample(connection, whose.tenant, ["n1"]),
    ],
    "sfm_memories_expiry": [lambda whose: retention.purge],
    "sfm_memories_deleted": [lambda whose: retention.purge],
    "sfm_memories_archived": [
        lambda whose: lambda: list(selectors.live(whose, ["n1"]).filter(archived_at__isnull=False)),
    ],
    "sfm_embeddings_queue": [
        lambda whose: lambda: drain._take(generations.active(), 256),
    ],
    "sfm_embeddings_waiting": [
        lambda whose: lambda: counts._index_stats(whose, 0, timezone.now()),
    ],
    "sfm_embeddings_memory": [
        lambda whose: (
            lambda: retention.remove(whose, [Memory(seq=-1, id=uuid.uuid4(), coordinate_key=coordinates.of([7]).key)])
        ),
    ],
    "sfm_conversations_updated": [lambda whose: lambda: conversations.list_conversations(whose, ConversationQuery())],
    "sfm_conversations_status": [
        lambda whose: lambda: conversations.list_conversations(whose, ConversationQuery(pinned=True)),
    ],
    "sfm_conversations_label": [lambda whose: lambda: conversations.count(whose, ConversationQuery(label="label 7"))],
    "sfm_conversations_place": [lambda whose: lambda: conversations.count(whose, ConversationQuery(folder="f7"))],
    "sfm_conversations_user": [lambda whose: talks(whose, ConversationQuery(user_id="user7"))],
    "sfm_conversations_agent": [lambda whose: talks(whose, ConversationQuery(agent_id="agent7"))],
    "sfm_conversations_session": [lambda whose: talks(whose, ConversationQuery(session_id="session7"))],
    "sfm_conversations_summarise": [lambda whose: schedule._due],
    "sfm_conversations_tier": [lambda whose: lambda: has_cold_conversations(whose.tenant)],
    "sfm_conversations_key": [
        lambda whose: lambda: lookup.by_key(whose.tenant, [Memory(coordinate_key=f"{7:016x}")]),
    ],
    "sfm_memories_id_key": [
        lambda whose: (
            lambda: Confirmation(Selection.of(selectors.live(whose, ["n1"])), Narrowing(), {}, 1.0).of(
                [uuid.uuid4() for _ in range(100)]
            )
        ),
    ],
}


@pytest.mark.parametrize(
    ("index", "number"), [(index, number) for index, asked in QUESTIONS.items() for number in range(len(asked))]
)
def test_the_question_is_answered_by_its_index(whose: Caller, index: str, number: int) -> None:
    plan = plans(QUESTIONS[index][number](whose))

    assert index in plan, plan


# Scheduled work, which serves all tenants.
CROSSING = {"sfm_memories_expiry", "sfm_memories_deleted", "sfm_embeddings_queue", "sfm_conversations_summarise"}


@pytest.mark.row_level_security
def test_row_level_security_leaves_each_question_its_index(whose: Caller, walled: None) -> None:
    tenant_scope.enter(whose.tenant.id)

    for index in QUESTIONS.keys() - CROSSING:
        for question in QUESTIONS[index]:
            plan = plans(question(whose))
            assert index in plan, plan


def test_no_table_that_grows_has_an_index_that_no_question_uses() -> None:
    """Unique indexes are excluded, because they are needed in any case."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisunique "
            "AND indrelid IN ('sfm_memories'::regclass, 'sfm_vector_embeddings'::regclass, "
            "'sfm_conversations'::regclass)"
        )
        there = {row[0] for row in cursor.fetchall()}

    assert there <= set(QUESTIONS), there - set(QUESTIONS)


def test_the_counts_of_a_tenant_are_read_from_an_index_alone(whose: Caller) -> None:
    assert "Index Only Scan using sfm_memories_type" in plans(lambda: counts.stats(whose))


def test_nothing_that_is_asked_reads_a_table_from_end_to_end(whose: Caller) -> None:
    for asked in QUESTIONS.values():
        for question in asked:
            plan = plans(question(whose))
            assert not re.search(r"Seq Scan on sfm_(memories|vector_embeddings)", plan), plan
