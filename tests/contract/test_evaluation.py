"""The public evaluation reads published data unchanged, and its measures have their usual meaning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.evaluation import data, measures, run
from benchmarks.evaluation.data import Conversation, Question

SAMPLE = Path(data.__file__).parent / "sample"
SPOKEN = {"dia_id": "D1:1", "speaker": "Ada", "clean_text": "I live in Bern.", "date_time": "29.12.2023, 10:00:00"}
LATER = {"dia_id": "D2:1", "speaker": "Ben", "clean_text": "So do I.", "date_time": "30.12.2023, 10:00:00"}


def test_locomo_is_read_as_published_with_captions_and_joined_evidence(tmp_path: Path) -> None:
    turn = {"dia_id": "D1:1", "speaker": "Ada", "text": "Look!", "blip_caption": "a photo of a cat", "img_url": ["x"]}
    conversation = {
        "speaker_a": "Ada",
        "speaker_b": "Ben",
        "session_2": [turn | {"dia_id": "D2:1"}],
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [turn],
    }
    qa = [
        {"question": "What is it?", "answer": "a cat", "evidence": ["D1:1; D2:1"], "category": 1},
        {"question": "Who?", "evidence": [], "category": 5},
        {"question": "Where?", "evidence": ["D9:9"], "category": 1},
    ]
    sample = {"sample_id": "conv-26", "conversation": conversation, "qa": qa}
    path = tmp_path / "locomo10.json"
    path.write_text(json.dumps([sample, sample | {"sample_id": "conv-30"}]))

    (first, _) = data.read(path)["locomo10"]

    assert [(turn.id, turn.session) for turn in first.turns] == [("D1:1", "1"), ("D2:1", "2")]
    assert first.turns[0].spoken == "Ada: Look! [image: a photo of a cat]"
    assert first.questions == (Question("What is it?", frozenset({"D1:1", "D2:1"})),)


def test_the_chats_of_realtalk_are_one_set_with_the_name_of_their_folder(tmp_path: Path) -> None:
    chat = {
        "name": {"speaker_1": "Ada", "speaker_2": "Ben"},
        "session_10": [LATER],
        "session_2": [SPOKEN, SPOKEN | {"dia_id": "D1:2", "clean_text": ""}],
        "qa": [{"question": "Where does Ada live?", "answer": "Bern", "evidence": ["D1:1"], "category": 1}],
    }
    folder = tmp_path / "realtalk"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"Chat_{number}.json").write_text(json.dumps(chat))

    chats = data.read(tmp_path)["realtalk"]

    assert [chat.name for chat in chats] == ["Chat_1", "Chat_2"]
    assert [turn.spoken for turn in chats[0].turns] == ["Ada: I live in Bern.", "Ben: So do I."]


def test_a_file_in_no_known_format_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text('{"notes": []}')
    with pytest.raises(data.UnknownFormat, match=r"notes\.json"):
        data.read(tmp_path)


def test_the_sample_has_evidence_for_every_question() -> None:
    (conversations,) = data.read(SAMPLE).values()
    assert [len(conversation.questions) for conversation in conversations] == [5, 5]


def test_each_question_is_paired_with_one_about_another_conversation() -> None:
    conversations = [Conversation(name, (), (Question(name, frozenset("1")),) * 8) for name in ("a", "b", "c")]
    tasks = run.tasks(conversations, share=0.5)

    assert len(tasks) == 12
    assert all(task.foreign and task.foreign.text != task.name == task.question.text for task in tasks)
    assert tasks == run.tasks(conversations, share=0.5)


def test_measures_have_their_usual_meaning() -> None:
    assert measures.recall(["a", "b"], {"b", "c"}) == 0.5
    assert measures.ndcg(["a", "b"], {"a", "b"}) == 1.0
    assert measures.ndcg(["x", "a"], {"a"}) == pytest.approx(0.6309, abs=1e-4)
    assert measures.within(["a", "b", "c"], [3, 9, 4], 8) == ["a", "c"]
    assert measures.precision(answered=1.0, silent=0.8) == pytest.approx(0.8333, abs=1e-4)


def test_typos_change_one_word_of_a_question_and_are_reproducible() -> None:
    questions = tuple(
        Question(f"Where does Caroline paint her pictures in {month}?", frozenset("1")) for month in "abcdef"
    )
    conversations = [Conversation("one", (), questions)]
    asked = [task.question.text for task in run.tasks(conversations, 1.0, typos=True)]
    right = [task.question.text for task in run.tasks(conversations, 1.0)]

    for wrong, text in zip(asked, right, strict=True):
        different = [(a, b) for a, b in zip(wrong.split(), text.split(), strict=True) if a != b]
        assert [b for _, b in different] in (["paint"], ["pictures"], [])
    assert asked != right
    assert asked == [task.question.text for task in run.tasks(conversations, 1.0, typos=True)]
