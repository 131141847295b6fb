"""docs/explanation/asvs.md has a row with evidence or a reason for each requirement of levels 1 and 2."""

from __future__ import annotations

import re
from collections import Counter

from testing.processes import HOME

PAGE = (HOME / "docs" / "explanation" / "asvs.md").read_text()
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+) \| (.+?) \| (.+?) \| (.*?) \|$", PAGE, re.MULTILINE)
STATUSES = ("met", "not applicable", "open")
# The numbers of ASVS 5.0.0, in which "1.2.1-3,5" means 1.2.1, 1.2.2, 1.2.3 and 1.2.5.
NUMBERS = """
    1.1.1-2 1.2.1-9 1.3.1-11 1.4.1-3 1.5.1-2
    2.1.1-3 2.2.1-3 2.3.1-4 2.4.1
    3.2.1-2 3.3.1-4 3.4.1-6 3.5.1-5 3.7.1-2
    4.1.1-3 4.2.1 4.3.1-2 4.4.1-4
    5.1.1 5.2.1-3 5.3.1-2 5.4.1-3
    6.1.1-3 6.2.1-12 6.3.1-4 6.4.1-4 6.5.1-5 6.6.1-3 6.8.1-4
    7.1.1-3 7.2.1-4 7.3.1-2 7.4.1-5 7.5.1-2 7.6.1-2
    8.1.1-2 8.2.1-3 8.3.1 8.4.1
    9.1.1-3 9.2.1-4
    10.1.1-2 10.2.1-2 10.3.1-4 10.4.1-11 10.5.1-5 10.6.1-2 10.7.1-3
    11.1.1-2 11.2.1-3 11.3.1-3 11.4.1-4 11.5.1 11.6.1
    12.1.1-3 12.2.1-2 12.3.1-4
    13.1.1 13.2.1-5 13.3.1-2 13.4.1-5
    14.1.1-2 14.2.1-4 14.3.1-3
    15.1.1-3 15.2.1-3 15.3.1-7
    16.1.1 16.2.1-5 16.3.1-4 16.4.1-3 16.5.1-3
    17.1.1 17.2.1-4 17.3.1-2
"""


def numbers() -> list[str]:
    found = []
    for word in NUMBERS.split():
        section, _, spans = word.rpartition(".")
        for span in spans.split(","):
            first, _, last = span.partition("-")
            found += [f"{section}.{number}" for number in range(int(first), int(last or first) + 1)]
    return found


def named(cell: str) -> list[str]:
    """Return the files named in a cell."""
    names = re.findall(r"`([\w./-]+)`", cell)
    return [name for name in names if ("/" in name or "." in name) and not name.startswith("/")]


def proves(name: str) -> bool:
    return name.startswith(("tests/", "docs/", "deploy/", "requirements/")) or "/" not in name


def test_every_requirement_has_one_row_in_its_order() -> None:
    assert len(numbers()) == 253
    assert [number for number, *_ in ROWS] == numbers()


def test_a_requirement_is_described_in_few_words() -> None:
    assert [text for _, text, _, _ in ROWS if len(text.split()) > 12] == []


def test_a_status_is_one_of_three() -> None:
    assert {status for _, _, status, _ in ROWS} == set(STATUSES)


def test_the_totals_are_right() -> None:
    totals = Counter(status for _, _, status, _ in ROWS)

    assert dict(re.findall(r"^\| (met|not applicable|open) \| (\d+) \|", PAGE, re.MULTILINE)) == {
        status: str(totals[status]) for status in STATUSES
    }


def test_requirements_that_are_met_name_existing_files() -> None:
    files = {number: named(cell) for number, _, status, cell in ROWS if status == "met"}

    assert [number for number, names in files.items() if not names] == []
    assert [name for names in files.values() for name in names if not (HOME / name).exists()] == []


def test_requirements_that_are_met_name_a_test_a_page_or_a_configuration() -> None:
    unproved = [number for number, _, status, cell in ROWS if status == "met" and not any(map(proves, named(cell)))]

    assert unproved == []


def test_open_requirements_have_a_reason_and_a_remedy() -> None:
    silent = [
        number for number, _, status, cell in ROWS if status == "open" and not re.search(r"remedy: |see \d", cell)
    ]

    assert silent == []


def test_requirements_that_do_not_apply_have_a_reason() -> None:
    assert [number for number, _, status, cell in ROWS if status == "not applicable" and len(cell.split()) < 3] == []
