"""A hundred scripted changes: searches return the current memory, and `as_of` returns the old one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pytest
from django.utils import timezone

from conversations.context.assemble import assemble_context
from conversations.context.types import ContextRequest
from memories import addresses, services
from memories.models import Memory
from memories.new_memory import NewMemory
from memories.search import as_of
from memories.search.query import Search
from tenants.caller import Caller
from tests.conftest import drain

pytestmark = pytest.mark.django_db

PEOPLE = ["Ada", "Boris", "Chloe", "Dario", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas"]
# The first statement, the later one, the question, and ten values for each statement.
TOPICS = [
    (
        "{} lives in {}",
        "{} moved to {}",
        "Where does {} live now?",
        "Zurich Paris Oslo Rome Vienna Lisbon Kyiv Riga Ghent Turin",
        "Bern Lyon Malmo Milan Graz Porto Lviv Vilnius Bruges Genoa",
    ),
    (
        "{} drinks {} in the morning",
        "{} prefers {} in the morning now",
        "What does {} like to drink in the morning?",
        "coffee cocoa milk juice mate cola chai water espresso latte",
        "tea matcha rooibos kefir lemonade broth tonic soda cider punch",
    ),
    (
        "{} works as a {}",
        "{} changed jobs and is a {} now",
        "What is the job of {}?",
        "teacher baker nurse pilot lawyer chef tailor miner actor cook",
        "gardener potter doctor sailor judge brewer weaver farmer writer clerk",
    ),
    (
        "{} drives a {}",
        "{} sold the car and drives a {}",
        "Which car does {} drive?",
        "Volvo Fiat Skoda Seat Mazda Honda Kia Opel Dacia Lada",
        "Tesla Saab Audi Jeep Lexus Toyota Rover Smart Citroen Ford",
    ),
    (
        "{} plays the {}",
        "{} gave that up and plays the {}",
        "Which instrument does {} play?",
        "piano flute guitar drums harp organ banjo tuba oboe lute",
        "violin trumpet cello horn viola lyre zither clarinet bassoon sitar",
    ),
    (
        "{} goes swimming on {}",
        "{} goes swimming on {} from now on",
        "When does {} go swimming?",
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday Monday Tuesday Friday",
        "Friday Sunday Saturday Monday Tuesday Thursday Wednesday Sunday Thursday Monday",
    ),
    (
        "The dog of {} is called {}",
        "{} has renamed the dog to {}",
        "What is the name of the dog of {}?",
        "Rex Bello Luna Max Nala Pluto Rocky Simba Toby Waldo",
        "Bruno Charlie Daisy Finn Jack Kira Lotte Milo Oscar Penny",
    ),
    (
        "{} pays with {}",
        "{} now pays with {} only",
        "How does {} pay?",
        "cash cheques Visa PayPal coins vouchers Mastercard transfer Twint credit",
        "card invoice Amex Klarna notes points Maestro Wise Bitcoin debit",
    ),
    (
        "{} learns {}",
        "{} stopped and learns {} instead",
        "Which language does {} learn?",
        "Spanish Latin Greek Dutch Czech Irish Thai Hindi Urdu Malay",
        "Korean Arabic Hebrew Danish Polish Welsh Khmer Bengali Persian Tagalog",
    ),
    (
        "{} eats {} for lunch",
        "{} eats {} for lunch these days",
        "What does {} eat for lunch?",
        "pizza steak pasta burgers sushi curry kebab ham eggs soup",
        "salad tofu rice lentils beans quinoa falafel cheese porridge noodles",
    ),
]


@dataclass(frozen=True)
class Change:
    """A changed statement."""

    key: str
    before: str
    after: str
    question: str


def scripted_changes() -> list[Change]:
    return [
        Change(
            f"{person}/{topic}",
            before.format(person, old.split()[at]),
            after.format(person, new.split()[at]),
            question.format(person),
        )
        for topic, (before, after, question, old, new) in enumerate(TOPICS)
        for at, person in enumerate(PEOPLE)
    ]


CHANGES = scripted_changes()


def searched_texts(caller: Caller, change: Change, moment: datetime | None = None) -> list[str]:
    search = Search(change.question, top_k=5, as_of=moment, shown=False)
    return [hit.memory.payload["text"] for hit in as_of.search(caller, search).hits]


def context_texts(caller: Caller, change: Change) -> list[str]:
    context = assemble_context(caller, ContextRequest(change.question, budget=200, namespaces=("default",)))
    return [item.message.payload["text"] for item in context.items]


def store_changes(caller: Caller) -> datetime:
    """Store the first statements, then the later ones. Return a time in between."""
    old = [NewMemory(None, {"text": change.before}, key=addresses.key(f"{change.key}/1")) for change in CHANGES]
    services.store_many(caller, old)
    then = timezone.now()
    new = [
        NewMemory(
            None,
            {"text": change.after},
            key=addresses.key(f"{change.key}/2"),
            supersedes=[addresses.key(f"{change.key}/1")],
        )
        for change in CHANGES
    ]
    services.store_many(caller, new)
    drain()
    return then


def test_searches_return_the_current_statement_and_searches_as_of_the_past_the_old_one(caller: Caller) -> None:
    then = store_changes(caller)

    current = [
        change
        for change in CHANGES
        if change.after in (hits := searched_texts(caller, change)) and change.before not in hits
    ]
    past = [
        change
        for change in CHANGES
        if change.before in (hits := searched_texts(caller, change, then)) and change.after not in hits
    ]

    assert len(CHANGES) == Memory.objects.for_tenant(caller.tenant).filter(valid_to__isnull=False).count() == 100
    assert len(current) >= 95
    assert len(past) == 100


def test_contexts_contain_the_current_statement(caller: Caller) -> None:
    store_changes(caller)

    current = [
        change
        for change in CHANGES
        if change.after in (texts := context_texts(caller, change)) and change.before not in texts
    ]

    assert len(current) >= 95
