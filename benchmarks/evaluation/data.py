"""Read conversations with questions and their evidence: LoCoMo, REALTALK, and two formats for other data.

A JSON file is one of these:

- LoCoMo as published: samples with `conversation` and `qa`, as a list or one per file
- a REALTALK chat as published: `session_1`, `session_2`, ... and `qa`
- `{"conversations": [{"name": ..., "turns": [TURN, ...], "questions": [QUESTION, ...]}]}`

A TURN has `id`, `text`, and optionally `speaker`, `session` and `date`. A QUESTION has `question` and `evidence`, a
list of ids. A folder with `memories.jsonl` (one TURN per line) and `questions.jsonl` (one QUESTION per line) is a
conversation.

A file with several conversations is a set, named after the file. Single conversations in the same folder form a set,
named after the folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
MEMORIES, QUESTIONS = "memories.jsonl", "questions.jsonl"
_SESSION = re.compile(r"session_(\d+)")
_TURN = re.compile(r"D\d+:\d+")


class UnknownFormat(ValueError):
    """A file is in none of the supported formats."""


@dataclass(frozen=True)
class Turn:
    id: str
    text: str
    speaker: str = ""
    session: str = ""
    date: str = ""

    @property
    def spoken(self) -> str:
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


@dataclass(frozen=True)
class Question:
    """A question, and the ids of the turns that contain the answer."""

    text: str
    evidence: frozenset[str]


@dataclass(frozen=True)
class Conversation:
    name: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


def read(place: Path) -> dict[str, list[Conversation]]:
    """Return the conversations in a file, or in a folder and its subfolders, grouped by the name of their set.

    Raises UnknownFormat if a file is in none of the supported formats, or if there are no files.
    """
    sets: dict[str, list[Conversation]] = {}
    for path in [place] if place.is_file() else sorted([*place.rglob("*.json"), *place.rglob(MEMORIES)]):
        if path.name == MEMORIES:
            sets.setdefault(path.parent.parent.name, []).append(_lines(path.parent))
            continue
        conversations = _document(path)
        name = path.stem if len(conversations) > 1 or place.is_file() else path.parent.name
        sets.setdefault(name, []).extend(conversations)
    if not sets:
        raise UnknownFormat(f"{place} contains neither JSON files nor folders with {MEMORIES}")
    return sets


def _document(path: Path) -> list[Conversation]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, list):
            return [_locomo(sample) for sample in content]
        if "conversations" in content:
            return [_plain(item["name"], item["turns"], item["questions"]) for item in content["conversations"]]
        return [_locomo(content)] if "conversation" in content else [_realtalk(path.stem, content)]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnknownFormat(f"{path} is in none of the supported formats ({error!r}); remove or convert it") from error


def _lines(folder: Path) -> Conversation:
    memories, questions = (
        [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines() if line.strip()]
        for name in (MEMORIES, QUESTIONS)
    )
    return _plain(folder.name, memories, questions)


def _plain(name: str, turns: Iterable[Json], questions: Iterable[Json]) -> Conversation:
    read = [
        Turn(str(turn["id"]), turn["text"], turn.get("speaker", ""), str(turn.get("session", "")), turn.get("date", ""))
        for turn in turns
    ]
    return _conversation(name, read, ((item["question"], map(str, item["evidence"])) for item in questions))


def _locomo(sample: Json) -> Conversation:
    """Read a LoCoMo sample. An image's caption is part of the text, as in the paper."""
    turns = [
        Turn(
            turn["dia_id"],
            turn["text"] + (f" [image: {turn['blip_caption']}]" if turn.get("blip_caption") else ""),
            turn["speaker"],
            session,
            date,
        )
        for session, date, turns in _sessions(sample["conversation"])
        for turn in turns
    ]
    return _conversation(sample["sample_id"], turns, _asked(sample["qa"]))


def _realtalk(name: str, chat: Json) -> Conversation:
    turns = [
        Turn(turn["dia_id"], turn["clean_text"], turn["speaker"], session, turn.get("date_time") or date)
        for session, date, turns in _sessions(chat)
        for turn in turns
    ]
    return _conversation(name, turns, _asked(chat["qa"]))


def _sessions(content: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Json]]]:
    """Yield the sessions with their dates, ordered by their numbers."""
    matches = [match for key in content if (match := _SESSION.fullmatch(key))]
    for match in sorted(matches, key=lambda match: int(match[1])):
        yield match[1], content.get(f"{match[0]}_date_time") or "", content[match[0]] or []


def _asked(questions: Iterable[Json]) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield questions and their evidence. Some of the published ids are joined, as in "D8:6; D9:17"."""
    for item in questions:
        yield item["question"], _TURN.findall(json.dumps(item.get("evidence") or []))


def _conversation(name: str, turns: list[Turn], asked: Iterable[tuple[str, Iterable[str]]]) -> Conversation:
    """Return the conversation with the questions that have evidence in it. Turns without text are skipped."""
    spoken = tuple(turn for turn in turns if turn.text.strip())
    ids = {turn.id for turn in spoken}
    questions = (Question(text, frozenset(ids.intersection(evidence))) for text, evidence in asked)
    return Conversation(name, spoken, tuple(question for question in questions if question.evidence))
