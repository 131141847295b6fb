"""A generated installation: memories, conversations, links, tenants and staff."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

if TYPE_CHECKING:
    from memories.coordinates import Coordinate
    from tenants.caller import Caller
    from tenants.models import Tenant

NAME, PASSWORD = "operator", "a walk through the pages"
STAFF, READER = "staff-of-one", "reader-of-one"  # both for the default tenant: all permissions, and read-only
BATCH = 500
KINDS = ("episodic", "semantic")
SUBJECTS = [
    "billing",
    "the garden",
    "a journey to Lisbon",
    "the release",
    "music",
    "the kitchen",
    "a proof",
    "training",
]
# fmt: off
WORDS = [
    "remembers", "promised", "asked", "moved", "cancelled", "found", "wrote", "compared", "repaired", "planned",
    "measured", "invoice", "olive", "trees", "night", "train", "deployment", "concerto", "oven", "lemma", "marathon",
    "budget", "soil", "ticket", "rollback", "score", "bread", "theorem", "pace",
]
# fmt: on


def places(chance: random.Random, count: int) -> Iterator[tuple[list[float], str, float]]:
    """Yield the coordinate, text and importance of each memory.

    On the first two axes, the coordinates form clusters by subject. The third axis is a serial number.
    """
    centres = [(chance.uniform(-80, 80), chance.uniform(-50, 50), chance.uniform(1, 9)) for _ in range(24)]
    for number in range(count):
        at = chance.randrange(len(centres))
        x, y, spread = centres[at]
        words = " ".join(chance.choices(WORDS, k=chance.randint(6, 20)))
        importance = max(0.0, min(10.0, chance.gauss(at % 8, 1.5)))
        yield [
            round(chance.gauss(x, spread), 2), round(chance.gauss(y, spread), 2), float(number)
        ], f"About {SUBJECTS[at % 8]}: {words}", round(importance, 1)  # fmt: skip


def create_installation(count: int, others: int = 6) -> None:
    """Create staff, and memories for the default tenant and a few other tenants. Requires Django to be set up.

    The last of the other tenants is suspended.
    """
    from django.core.management import call_command

    from memories import coordinates, services
    from memories.new_memory import NewMemory
    from tenants import keys
    from tenants.caller import Caller
    from tenants.models import Tenant
    from tenants.services import create_tenant, update_tenant

    call_command("migrate", verbosity=0)
    default = Caller.command(Tenant.objects.get(slug="default"))
    tenants = [default]
    for number in range(others):
        tenants.append(default.acting_for(create_tenant(default, f"tenant-{number + 1}", f"Tenant {number + 1}")))
        keys.issue(default, tenants[-1].tenant, name="its first key")
    for number, caller in enumerate(tenants):
        many = count if not number else max(10, count // (20 * number * number))
        items = [
            NewMemory(coordinates.of(place), {"text": text}, importance=importance, memory_type=KINDS[at % 5 == 0])
            for at, (place, text, importance) in enumerate(places(random.Random(number), many))
        ]  # fmt: skip
        for start in range(0, many, BATCH):
            services.store_many(caller, items[start : start + BATCH])
        create_conversations(caller, random.Random(number), max(1, many // 500))
        addresses = [item.coordinate for item in items if item.coordinate]
        link(caller, addresses)
        services.delete_many(caller, "default", addresses[many - many // 50 :])
    update_tenant(default, tenants[-1].tenant.slug, active=False)
    create_staff(default)


def create_conversations(caller: Caller, chance: random.Random, count: int) -> None:
    """Create `count` conversations of 20 messages each, and another one, which is then deleted."""
    from conversations import services
    from conversations.messages import NewMessage
    from conversations.services import NewConversation

    for number in range(count + 1):
        texts = [" ".join(chance.choices(WORDS, k=12)) for _ in range(20)]
        messages = [NewMessage(("user", "assistant")[at % 2], text) for at, text in enumerate(texts)]
        label = f"Talk {number + 1}" if number < count else "A talk to restore"
        new = NewConversation(label=label, folder=SUBJECTS[number % 8].split()[-1], messages=messages)
        created = services.create(caller, new)
    services.delete(caller, created.id)


def link(caller: Caller, addresses: Sequence[Coordinate]) -> None:
    """Link some of the first 4,000 addresses to addresses that follow them."""
    from graph import services
    from graph.services import NewLink

    links = [
        NewLink(addresses[at], addresses[at + step], kind, round(1 / step, 2))
        for at in range(0, min(len(addresses), 4000) - 60, 4)
        for step, kind in ((4, "follows"), (8, "explains"), (24, "related"))
    ]
    for start in range(0, len(links), BATCH):
        services.link_many(caller, links[start : start + BATCH])


def create_staff(default: Caller) -> None:
    """Create staff, a group, a connected app and a job, each of which has a page."""
    from django.contrib.auth.models import Group, Permission, User

    from console.models import OAuthClient, OAuthGrant, StaffTenant
    from memories.models import Job
    from tenants import keys

    superuser = User.objects.create_superuser(NAME, password=PASSWORD)
    for name, permissions in {
        STAFF: Permission.objects.all(),
        READER: Permission.objects.filter(codename__startswith="view_"),
    }.items():
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        user.user_permissions.set(permissions)
        StaffTenant.objects.create(user=user, tenant=default.tenant)
    Group.objects.create(name="Readers")
    OAuthGrant.objects.create(
        tenant=default.tenant,
        client=OAuthClient.objects.create(client_id="an-app", name="An app", redirect_uris=[]),
        approved_by=superuser,
        expires_at=timezone.now() + timedelta(days=1),
    )
    Job.objects.create(tenant=default.tenant, kind=Job.Kind.RECONCILE, state=Job.State.DONE)
    keys.issue(default, default.tenant, name="its first key")


def give_key(secret: str) -> None:
    """Create an operator key with this secret, because bootstrap creates a key only once."""
    from tenants import keys
    from tenants.caller import SCOPES, Caller
    from tenants.models import Tenant

    keys.issue(Caller.command(Tenant.objects.get(slug="default")), None, name="walk", scopes=SCOPES, secret=secret)


def fill(tenant: Tenant, namespace: str, count: int) -> None:
    """Add memories that a map can show, as fast as SQLite allows. They are not indexed for search.

    Beyond 100,000 memories, the rest are copies that differ only in the last digits of the coordinate's third number.
    """
    from django.db import connection

    from memories import coordinates
    from memories.models import Memory

    distinct = min(count, 100_000)
    batch = []
    for number, (place, text, importance) in enumerate(places(random.Random(count), distinct), start=1):
        key = coordinates.of(place).key
        row = Memory(tenant=tenant, namespace=namespace, coordinate_key=key, payload={"text": text})
        row.importance = importance
        batch.append(row)
        if len(batch) == 2000 or number == distinct:
            Memory.objects.for_tenant(tenant).bulk_create(batch)
            batch.clear()
    columns = [str(field.column) for field in Memory._meta.concrete_fields if field.column not in ("seq", "id")]
    values = [name if name != "coordinate_key" else "substr(coordinate_key, 1, 42) || %s" for name in columns]
    for copy in range(1, -(-count // distinct)):
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO sfm_memories (id, {', '.join(columns)}) "
                f"SELECT lower(hex(randomblob(16))), {', '.join(values)} FROM sfm_memories "
                "WHERE tenant_id = %s AND namespace = %s AND coordinate_key LIKE '%%000000' LIMIT %s",
                [f"{copy:06x}", tenant.id.hex, namespace, count - copy * distinct],
            )
