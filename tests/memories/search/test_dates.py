"""Dates in queries, texts and metadata."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from memories.models import Memory
from memories.search import analyzer, dates, hybrid
from memories.search.query import Search
from tenants.caller import Caller
from tenants.models import Tenant
from tests.conftest import Api

TODAY = date(2024, 3, 15)  # a Friday
FORMATS = ("%-d %B %Y", "%B %-d, %Y", "%d.%m.%Y", "%Y-%m-%d", "%Y/%m/%d", "%-d %b %Y", "%b. %-d, %Y", "%d-%b-%Y")


def of_query(text: str) -> list[str]:
    return [term for found in dates.of_query(text, TODAY) for term in found.terms]


# --- Reading dates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("What did Ada paint on 4 July 2023?", ["¶202307", "¶0704", "¶0705"]),
        ("on July 4th, 2023", ["¶202307", "¶0704", "¶0705"]),
        ("on the 4th of July", ["¶07", "¶0704", "¶0705"]),
        ("on 2023-07-04T13:56:00Z", ["¶202307", "¶0704", "¶0705"]),
        ("31.12.2023, 22:42", ["¶202312", "¶1231", "¶0101"]),
        ("22:30 May 5, 2023", ["¶202305", "¶0505", "¶0506"]),
        ("12/31/2023", ["¶202312", "¶1231", "¶0101"]),
        ("31/12/2023", ["¶202312", "¶1231", "¶0101"]),
        ("March-15-2024", ["¶202403", "¶0315", "¶0316"]),
        ("on Tuesday, 4 July 2023", ["¶202307", "¶0704", "¶0705"]),
        ("last Tuesday the 4th of July", ["¶07", "¶0704", "¶0705"]),
        ("28 February", ["¶02", "¶0228", "¶0229"]),
        ("July 4-6, 2023", ["¶202307", "¶0704", "¶0705"]),
        ("July 4\N{EN DASH}6, 2023", ["¶202307", "¶0704", "¶0705"]),
        ("4-6 July 2023", ["¶202307", "¶0704", "¶0705"]),
        ("in July of 2023", ["¶202307"]),
        ("the invoice of 07/2023", ["¶202307"]),
        ("13/2023", ["¶2023"]),
        ("Sept. 2023", ["¶202309"]),
        ("camping in july", ["¶07"]),
        ("the camping trip in May", ["¶05"]),
        ("this May", ["¶05"]),
        ("what happened in march", ["¶03"]),
        ("What has changed since May?", ["¶05"]),
        ("at the end of may", ["¶05"]),
        ("before May", ["¶05"]),
        ("in mid-May", ["¶05"]),
        ("early may", ["¶05"]),
        ("between May and July", ["¶05", "¶07"]),
        ("the March meeting", ["¶03"]),
        ("on march 10", ["¶03", "¶0310", "¶0311"]),
        ("by 10 march", ["¶03", "¶0310", "¶0311"]),
        ("the 10th of may", ["¶05", "¶0510", "¶0511"]),
        ("march 10 meeting", ["¶03", "¶0310", "¶0311"]),
        ("on monday, march 10 at noon", ["¶03", "¶0310", "¶0311"]),
        ("a birthday march 10 at noon", ["¶03", "¶0310", "¶0311"]),
        ("my birthday is 10 may", ["¶05", "¶0510", "¶0511"]),
        ("may 10th", ["¶05", "¶0510", "¶0511"]),
        ("10 may 2023", ["¶202305", "¶0510", "¶0511"]),
        ("the October concert", ["¶10"]),
        ("the summer of 2022", ["¶2022"]),
        ("In July 4.5 million came.", ["¶07"]),
        ("between 3 May 2023 and 7 June 2023", ["¶202305", "¶0503", "¶0504", "¶202306", "¶0607", "¶0608"]),
    ],
)
def test_dates_are_found(text: str, terms: list[str]) -> None:
    assert of_query(text) == terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("What did I buy today?", ["¶202403", "¶0315", "¶0316"]),
        ("yesterday", ["¶202403", "¶0314", "¶0315"]),
        ("Yesterday's plan", ["¶202403", "¶0314", "¶0315"]),
        ("20 days ago", ["¶202402", "¶0224", "¶0225"]),
        ("on Monday", ["¶202403", "¶0311", "¶0312"]),
        ("last Friday", ["¶202403", "¶0308", "¶0309"]),
        ("this month", ["¶202403"]),
        ("last month", ["¶202402"]),
        ("this year", ["¶2024"]),
        ("Last year", ["¶2023"]),
    ],
)
def test_relative_dates_are_counted_from_today(text: str, terms: list[str]) -> None:
    assert of_query(text) == terms


@pytest.mark.parametrize(
    "text",
    [
        "May I march with June in the parade?",
        "What could this may cause?",
        "10 may be enough",
        "Every 4th may fail",
        "I march 10 miles",
        "the march",
        "songs by June Carter",
        "What did April say about the end of May Sarton's novel?",
        "31 June 2023",
        "29 February 2023",
        "the bus at 8:30 may be late",
        "version 3.2023.1",
        "build 10.1.2019.4",
        "build 2019.10.1.4",
        "page 12 March",
        "Covid-19 May",
        "call 555-2023-19 about 20231 boxes",
        "10 decades",
        "1 mayor",
        "Monday mornings",
        "an article in USA Today about the song Yesterday",
        "4 \N{LATIN SMALL LETTER LONG S}ept",
        "\N{ARABIC-INDIC DIGIT FOUR} july",
        "",
    ],
)
def test_other_texts_contain_no_date(text: str) -> None:
    assert of_query(text) == []


def test_only_the_first_dates_of_a_query_count() -> None:
    assert of_query("in 2021, 2022, 2023 and 2024") == ["¶2021", "¶2022", "¶2023"]


@given(day=st.dates(date(1900, 1, 1), date(2099, 12, 30)), style=st.sampled_from(FORMATS))
def test_a_day_in_a_query_matches_this_day_in_any_format(day: date, style: str) -> None:
    in_query = set(of_query(f"What happened on {day.strftime('%-d %B %Y')}?"))
    next_day = day + timedelta(days=1)
    assert in_query - {f"¶{next_day:%m%d}"} <= set(dates.of_text(f"It is due on {day.strftime(style)}."))


@given(text=st.text(st.sampled_from("0123456789./- ,JanMarchMay¶today"), max_size=60))
def test_any_text_can_be_searched_for_dates(text: str) -> None:
    terms = [*of_query(text), *dates.of_text(text), *dates.of_memory(TODAY, [text])]
    assert all(map(dates.is_date, terms))


# --- The date of a memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "terms"),
    [
        ("1:56 pm on 8 May, 2023", ["¶2023", "¶202305", "¶05", "¶0508"]),
        ("2023-05-08T23:56:00-08:00", ["¶2023", "¶202305", "¶05", "¶0508"]),
        (1_683_554_160, ["¶2023", "¶202305", "¶05", "¶0508"]),
        (1_683_554_160_000, ["¶2023", "¶202305", "¶05", "¶0508"]),
        ("1683554160", ["¶2023", "¶202305", "¶05", "¶0508"]),
        ("1683554160000", ["¶2023", "¶202305", "¶05", "¶0508"]),
        ("1683554160.482319", ["¶2023", "¶202305", "¶05", "¶0508"]),
        ("May 2023", ["¶2023", "¶202305", "¶05"]),
        ("5/2023", ["¶2023", "¶202305", "¶05"]),
        ("2023-05", ["¶2023", "¶202305", "¶05"]),
        ("2023", ["¶2023"]),
    ],
)
def test_a_field_determines_the_date_of_a_memory(field: Any, terms: list[str]) -> None:
    assert dates.of_memory(TODAY, ["soon", None, field, "2021-01-01"]) == terms


@pytest.mark.parametrize(
    "field", [True, 12, -1e30, float("nan"), float("inf"), 10**400, "8 May", "12", "1e9", "9" * 90, "x" * 200, {}, []]
)
def test_a_field_without_a_date_is_ignored(field: Any) -> None:
    assert dates.of_memory(TODAY, [field]) == ["¶2024", "¶202403", "¶03", "¶0315"]


def test_dates_are_stored_between_the_text_and_the_context() -> None:
    column = analyzer.index_terms("Ada paints on 4 July", "the blue boat", date=["¶2023"])
    assert column == "ada paint 4 juli §00 ¶2023 ¶07 ¶0704 blue boat"


# --- Search ------------------------------------------------------------------------------------------------------


def found(api: Api, query: str, **more: Any) -> list[str]:
    return [memory["coord"] for memory in api.search(query, **more)]


@pytest.fixture
def paintings(api: Api) -> Api:
    for number, day in enumerate(("2023-05-08", "2023-07-04", "2023-10-13"), start=1):
        api.store(str(10 * number), "Ada painted a boat", metadata={"date": day})
    return api


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query",
    ["What did Ada paint on 4 July 2023?", "Ada's painting of July 2023", "what did ada paint in july", "07/04/2023"],
)
def test_a_memory_of_the_date_in_the_query_comes_first(paintings: Api, query: str) -> None:
    assert found(paintings, query)[0] == "20.0"


@pytest.mark.django_db
def test_a_day_counts_at_least_as_much_as_the_day_after_it(api: Api) -> None:
    for number in range(5):
        api.store(str(10 * number), "Ada painted a boat", metadata={"date": "2023-07-04"})
    api.store("100", "Ada painted a boat", metadata={"date": "2023-07-05"})
    scores = {memory["coord"]: memory["score"] for memory in api.search("Ada on 4 July 2023", top_k=10)}
    assert scores["0.0"] >= scores["100.0"]


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["Ada on 4 July and 5 July 2023", "Ada on 5 July and 4 July 2023"])
def test_the_later_of_two_days_counts_at_least_as_much_as_the_day_after_it(api: Api, query: str) -> None:
    for number, day in enumerate(("04", "04", "04", "04", "05", "06")):
        api.store(str(10 * number), "Ada painted a boat", metadata={"date": f"2023-07-{day}"})
    scores = {memory["coord"]: memory["score"] for memory in api.search(query, top_k=10)}
    assert scores["40.0"] >= scores["50.0"]


@pytest.mark.django_db
def test_a_memory_without_a_date_field_has_the_date_on_which_it_was_stored(paintings: Api) -> None:
    paintings.store("40", "Ada painted a boat")
    assert found(paintings, "What did Ada paint today?")[0] == "40.0"
    assert found(paintings, f"What did Ada paint on {timezone.now():%-d %B %Y}?")[0] == "40.0"


@pytest.mark.django_db
def test_a_replaced_memory_keeps_the_date_on_which_it_was_created(api: Api) -> None:
    api.store("10", "Ada painted a boat")
    Memory.all_tenants.update(created_at=datetime(2023, 7, 4, 12, tzinfo=UTC))
    api.store("10", "Ada painted a ship")
    replaced = Memory.all_tenants.get().terms
    api.patch("/memories/10", {"metadata": {"colour": "red"}})
    assert replaced == Memory.all_tenants.get().terms == "ada paint ship §00 ¶2023 ¶202307 ¶07 ¶0704"


@pytest.mark.django_db
def test_a_date_in_the_text_counts_as_well(paintings: Api) -> None:
    paintings.store("40", "Ada must paint a boat by 24/12/2025")
    assert found(paintings, "What must Ada paint by December 24th?")[0] == "40.0"


@pytest.mark.django_db
def test_a_patched_date_counts_at_once(paintings: Api) -> None:
    paintings.patch("/memories/10", {"metadata": {"date": "2022-11-11"}})
    assert found(paintings, "What did Ada paint in November 2022?")[0] == "10.0"


@pytest.mark.django_db
def test_a_message_has_the_date_of_its_timestamp(api: Api) -> None:
    messages = [
        {"role": "user", "content": "I painted a boat", "timestamp": f"2023-{month}-04T10:00:00Z"}
        for month in ("05", "07", "10")
    ]
    assert api.post("/api/v1/conversations", {"messages": messages}).status_code == 201
    first, *_ = api.search("What did I paint in July 2023?", namespace="conversations")
    assert first["created_at"].startswith("2023-07")


@pytest.mark.django_db
def test_numbers_in_a_date_are_words_only_if_no_memory_has_this_date(paintings: Api, caller: Caller) -> None:
    def terms(query: str) -> list[str]:
        stats = hybrid.search(caller, Search(query)).stats
        return list(stats.frequency) if stats else []

    assert terms("3 boats on 4 July 2023") == ["3", "boat", "juli", "¶202307", "¶0704"]
    assert terms("3 boats on 4 July 1987") == ["3", "boat", "4", "juli", "1987"]


@pytest.mark.django_db
def test_a_year_without_a_month_remains_a_word_if_a_memory_contains_it(api: Api) -> None:
    api.store("10", "The budget for 2025: four million", metadata={"date": "2026-01-10"})
    api.store("20", "In 2026, the budget rises to five million because we hire ten", metadata={"date": "2026-01-10"})
    assert found(api, "What is the budget for 2026?") == ["20.0", "10.0"]


@pytest.mark.django_db
def test_the_relevance_does_not_depend_on_capital_letters_in_a_date(paintings: Api) -> None:
    for query in ("What did Ada paint in July 2023?", "What did Ada paint in July on Monday?"):
        [known, *_] = paintings.search(query)
        [lower, *_] = paintings.search(query.replace("July", "july").replace("Monday", "monday"))
        assert known["relevance"] == lower["relevance"] > 0.9


@pytest.mark.django_db
def test_keyword_searches_match_words_only(paintings: Api) -> None:
    assert found(paintings, "4 July 2023", mode="keyword") == []


@pytest.mark.django_db
def test_a_search_of_the_past_uses_the_dates_as_well(paintings: Api) -> None:
    then = timezone.now()
    paintings.patch("/memories/20", {"metadata": {"date": "2022-11-11"}})
    assert found(paintings, "What did Ada paint in July 2023?", as_of=then.isoformat())[0] == "20.0"


@pytest.mark.django_db
def test_relative_dates_in_a_search_of_the_past_are_counted_from_that_time(api: Api) -> None:
    now = timezone.now()
    Tenant.objects.update(created_at=now - timedelta(days=20))
    for number, days in enumerate((1, 11, 31), start=1):
        day = now - timedelta(days=days)
        api.store(str(10 * number), "Ada painted a boat", metadata={"date": f"{day:%Y-%m-%d}"})
    Memory.all_tenants.update(updated_at=now - timedelta(days=20))
    then = now - timedelta(days=10)
    assert found(api, "What did Ada paint yesterday?")[0] == "10.0"
    assert found(api, "What did Ada paint yesterday?", as_of=then.isoformat())[0] == "20.0"


@pytest.mark.django_db
def test_other_tenants_dates_are_invisible(paintings: Api, stranger: Api) -> None:
    stranger.store("1", "Ada painted a boat")
    [alone] = [memory["score"] for memory in stranger.search("boat")]
    [dated] = [memory["score"] for memory in stranger.search("boat in July 2023 ")]
    assert found(stranger, "What did Ada paint in July 2023?") == ["1.0"]
    assert alone >= dated


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["What did I say yesterday?", "What did we discuss 1 day ago?", "my messages of last year"]
)
def test_a_query_that_only_names_a_time_finds_what_was_said_then(api: Api, query: str) -> None:
    now = timezone.now()
    moments = (now - timedelta(days=500), now.replace(year=now.year - 1, month=6, day=5), now - timedelta(days=1), now)
    messages = [
        {"role": "user", "content": content, "timestamp": moment.isoformat()}
        for content, moment in zip(("tulips", "a red boat", "the blue kettle", "two lemons"), moments, strict=True)
    ]
    assert api.post("/api/v1/conversations", {"messages": messages}).status_code == 201
    wanted = "a red boat" if "year" in query else "the blue kettle"
    response = api.post("/api/v1/context/assemble", {"query": query, "context_budget": 1000})
    assert wanted in [message["content"] for message in response.json()]
