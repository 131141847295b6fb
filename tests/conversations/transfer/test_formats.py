"""Conversation files: the content read from each format, and the errors for unreadable parts."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from conversations.transfer import formats
from conversations.transfer.formats import simple, splitting, text
from conversations.transfer.formats.base import Broken, Imported
from conversations.transfer.formats.splitting import Element
from somamemory import deadline
from somamemory.errors import DeadlineExceeded
from tests.support.conversation_files import chatgpt, claude, file_of, grown, node


def read(content: bytes | str, source: str = "auto", name: str = "", most_bytes: int | None = None) -> list[Any]:
    raw = content.encode() if isinstance(content, str) else content
    return list(formats.read(io.BytesIO(raw), source, name, most_bytes))


def one(content: bytes | str, **more: Any) -> Imported:
    [found] = read(content, **more)
    assert isinstance(found, Imported), found
    return found


def nested(levels: int, inner: Any = 0) -> Any:
    return functools.reduce(lambda value, _: [value], range(levels), inner)


def ours(**message: Any) -> dict[str, Any]:
    """Return our own export of a conversation with one message."""
    return {"format": simple.FORMAT, "id": "i", "messages": [{"role": "user", "content": "a", **message}]}


def reason(content: bytes | str, **more: Any) -> str:
    [found] = read(content, **more)
    assert isinstance(found, Broken), found
    return found.reason


def said(found: Imported) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in found.messages]


# --- ChatGPT -----------------------------------------------------------------------------------------------------


def test_chatgpts_conversation_is_the_branch_it_ends_at() -> None:
    found = one(file_of(chatgpt()))

    assert said(found) == [
        ("user", "[image: file-service://file-abc123 1024x768]\n\nWhat is this animal? 🐜\n\n[file: animal.png]"),
        ("assistant", "```python\nprint(4 ** 2)\n```"),
        ("tool", "16"),
        ("assistant", "An aardvark, которому нравятся муравьи."),
    ]
    assert (found.source, found.source_id, found.label) == (
        "chatgpt",
        "6f1c1f0e-1111-4000-8000-000000000001",
        "Animals 🐜",
    )


def test_nodes_without_a_message_are_left_out_and_counted() -> None:
    assert one(file_of(chatgpt())).left_out == {"empty": 1, "hidden": 1, "thoughts": 1, "other branches": 1}


def test_chatgpts_messages_keep_their_time_their_model_and_their_tool() -> None:
    first, call, result, _ = one(file_of(chatgpt())).messages

    assert first.timestamp == datetime(2023, 11, 14, 22, 15, 0, 250000, tzinfo=UTC)
    assert call.metadata == {"source_id": "call", "model": "gpt-4o", "recipient": "python"}
    assert result.metadata == {"source_id": "result", "tool": "python"}


def test_without_a_current_node_the_latest_leaf_ends_the_conversation() -> None:
    source = {**chatgpt(), "current_node": None}

    assert said(one(file_of(source)))[-1] == ("assistant", "An aardvark, которому нравятся муравьи.")


def test_a_cyclic_tree_is_reported() -> None:
    source = chatgpt()
    source["mapping"]["root"]["parent"] = "a2"

    assert "cycle" in reason(file_of(source))


def test_a_tree_with_a_missing_message_is_reported() -> None:
    source = chatgpt()
    del source["mapping"]["call"]

    assert "'call' is missing" in reason(file_of(source))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"content_type": "tether_quote", "url": "https://a.b", "title": "T", "text": "Q"}, "T\n\nhttps://a.b\n\nQ"),
        ({"content_type": "multimodal_text", "parts": [{"content_type": "audio_transcription", "text": "Hi"}]}, "Hi"),
        ({"content_type": "system_error", "name": "Timeout", "text": "Too long"}, "Timeout\n\nToo long"),
        ({"content_type": "code", "language": "unknown", "text": "x"}, "```\nx\n```"),
        ({"content_type": "text", "parts": [{"content_type": "new_kind"}]}, "[new_kind]"),
    ],
)  # fmt: skip
def test_every_kind_of_content_gives_its_words(content: Any, words: str) -> None:
    source = {**chatgpt(), "mapping": {"a": node("a", None, [], "assistant", content)}, "current_node": "a"}

    assert said(one(file_of(source))) == [("assistant", words)]


# --- Claude ------------------------------------------------------------------------------------------------------


def test_claudes_messages_have_their_attachments_and_tools() -> None:
    found = one(file_of(claude()))

    assert said(found) == [
        ("user", "Where do beans grow best?\n\n[file: soil.txt]\nClay and sand\n\n[file: bed.jpg]"),
        (
            "assistant",
            'Let me look.\n\n[tool: web_search]\n{\n  "query": "beans sun"\n}\n\n'
            "[result: web_search]\nSix hours of sun.\n\nIn full sun.",
        ),
    ]
    assert (found.source, found.label) == ("claude", "Garden plans")
    assert found.messages[0].timestamp == datetime(2025, 3, 1, 9, 30, 0, 100000, tzinfo=UTC)
    assert found.left_out == {"empty": 1, "thoughts": 1}


def test_deep_arguments_of_a_tool_are_not_indented() -> None:
    """600 bytes of indentation before each of the numbers would need 60 MB."""
    source = claude()
    deep = nested(300, [0] * 100_000)
    source["chat_messages"][1]["content"] = [{"type": "tool_use", "name": "n", "input": deep}]

    (found,) = read(json.dumps(source))

    assert isinstance(found, Imported)
    assert len(found.messages[1].content) < 400_000


def test_the_arguments_of_a_tool_are_shown() -> None:
    source = claude()
    source["chat_messages"][1]["content"] = [{"type": "tool_use", "name": "n", "input": {"n": 10**30, "e": "é"}}]

    assert '"n": 1000000000000000000000000000000,\n  "e": "é"' in said(one(file_of(source)))[1][1]


def test_an_older_export_of_claude_has_only_the_text() -> None:
    source = claude()
    source["chat_messages"] = [{"uuid": "m", "text": "Hello", "sender": "human", "created_at": "2024-01-01T00:00:00Z"}]

    assert said(one(file_of(source))) == [("user", "Hello")]


# --- Simple forms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        {"messages": [{"sender": "human", "content": [{"text": "Hi"}]}, {"role": "ai", "text": "Hello"}]},
    ],
)  # fmt: skip
def test_simple_forms_are_read(source: Any) -> None:
    assert said(one(file_of(source))) == [("user", "Hi"), ("assistant", "Hello")]


SAID = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@pytest.mark.parametrize(
    "content",
    [json.dumps(SAID), json.dumps(SAID, indent=2), "\n".join(map(json.dumps, SAID))],
    ids=["list", "list over many lines", "lines"],
)
def test_a_file_of_messages_is_one_conversation(content: str) -> None:
    assert said(one(content)) == [("user", "Hi"), ("assistant", "Hello")]


def test_an_invalid_message_in_a_file_of_messages_is_reported_with_its_position() -> None:
    valid, invalid = json.dumps(SAID[0]), '{"role": }'

    assert reason(f"[{valid}, {invalid}]").startswith("item 2")
    assert reason(f"{valid}\n{invalid}\n").startswith("line 2")


def test_a_file_of_messages_that_is_too_long_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MAX_ELEMENT_BYTES", 60)

    assert "longer than" in reason(json.dumps(SAID))


def test_messages_of_model_apis_keep_their_tool_calls_and_results() -> None:
    calls = [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
    found = one(
        file_of(
            [
                {"role": "user", "name": "ada", "content": "Does it rain?"},
                {"role": "assistant", "content": None, "tool_calls": calls},
                {"role": "tool", "tool_call_id": "call_1", "content": ""},
                {"role": "assistant", "content": "I try again.", "tool_calls": calls},
                {"role": "tool", "tool_call_id": "call_1", "content": "Yes"},
            ]
        )
    )

    assert [(message.content, message.more) for message in found.messages] == [
        ("Does it rain?", {"name": "ada"}),
        ("", {"tool_calls": calls}),
        ("", {"tool_call_id": "call_1"}),
        ("I try again.", {"tool_calls": calls}),
        ("Yes", {"tool_call_id": "call_1"}),
    ]
    assert found.left_out == {}


@pytest.mark.parametrize("kind", ["image", "image_url", "input_image"])
def test_an_image_in_a_message_is_shown_as_one(kind: str) -> None:
    content = [{"type": "text", "text": "Look:"}, {"type": kind, kind: {"url": "data:,"}}]

    assert said(one(file_of([{"role": "user", "content": content}]))) == [("user", "Look:\n\n[image]")]


def test_a_single_object_over_many_lines_is_one_conversation() -> None:
    assert one(json.dumps(claude(), indent=2)).source == "claude"


def test_conversations_may_be_members_of_an_object() -> None:
    assert [item.source for item in read(json.dumps({"conversations": [claude(), chatgpt()]}))] == ["claude", "chatgpt"]


def test_a_conversation_without_an_id_keeps_its_own_while_it_grows() -> None:
    short = {"messages": [{"role": "user", "content": "Hi"}]}
    longer = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}

    assert one(file_of(short)).source_id == one(file_of(longer)).source_id


def test_an_unknown_role_is_reported() -> None:
    assert "'narrator'" in reason(file_of({"messages": [{"role": "narrator", "content": "Once"}]}))


def test_a_named_source_takes_no_other_form() -> None:
    assert "the 'claude' format" in reason(file_of(chatgpt()), source="claude")


def test_a_message_without_a_time_has_that_of_the_message_before_it() -> None:
    source = chatgpt()
    source["mapping"]["result"]["message"]["create_time"] = None

    times = [message.timestamp for message in one(file_of(source)).messages]

    assert None not in times
    assert times[2] == times[1]


def test_a_first_message_without_a_time_has_that_of_the_next_one() -> None:
    first, second = {"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi", "timestamp": 1.7e9}

    found = one(file_of([first, second])).messages

    assert found[0].timestamp == found[1].timestamp


# --- Broken files ------------------------------------------------------------------------------------------------


def test_a_broken_conversation_is_reported_with_its_position_and_the_rest_is_imported() -> None:
    good = json.dumps(claude())
    found = read(f'[{good}, {{"uuid": 3, "chat_messages": []}}, {{"title": tru}}, {json.dumps(chatgpt())}]')

    assert [type(item) for item in found] == [Imported, Broken, Broken, Imported]
    assert found[1].place.startswith("item 2 (byte ")
    assert "uuid is missing" in found[1].reason
    assert "is not valid JSON" in found[2].reason


def test_the_complete_part_of_a_truncated_file_is_read() -> None:
    whole = file_of(claude(), chatgpt())
    found = read(whole[:-300])

    assert isinstance(found[0], Imported)
    assert (found[1].reason, len(found)) == ("the file ends in the middle of it", 2)


def test_a_list_that_never_ends_is_reported_behind_its_conversations() -> None:
    assert [type(item) for item in read(file_of(claude())[:-1])] == [Imported, Broken]


def test_an_invalid_line_does_not_affect_the_others() -> None:
    found = read("\n".join([json.dumps(claude()), '{"uuid": "x', json.dumps(chatgpt()), ""]))

    assert [type(item) for item in found] == [Imported, Broken, Imported]
    assert found[1].place == "line 2"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "contains no conversations"),
        ("{}", "not a conversation in a known format"),
        ("[[[[", "ends in the middle"),
        (" \n", "is empty"),
        (b"\xff\xfe\x00", "neither JSON nor UTF-8 text"),
        ('["a", 1]', "contains no conversations"),
        ('[{"mapping": {}}]', "conversation_id is missing"),
        ('[{"messages": [{"role": "user", "content": "a\\u0000b"}]}]', "NUL"),
        ('[{"messages": [{"role": "user", "content": "a\\ud800b"}]}]', "unpaired surrogate"),
        ('[{"messages": [{"role": "user", "content": "a", "metadata": {"n": 1e999}}]}]', "not finite"),
        ('[{"messages": [{"role": "user", "content": "a", "timestamp": "soon"}]}]', "is not a valid time"),
        ('[{"messages": [{"role": "user", "content": "a"}], "folder": "../up"}]', "its folder"),
        ('[{"messages": [{"role": "user", "content": NaN}]}]', "NaN"),
        ('[{"messages": [], "n": 1' + "0" * 5_000 + "}]", "outside the 64-bit range"),
        (json.dumps(ours() | {"importance_score": 10**400}), "importance_score must be"),
        (json.dumps(ours(timestamp=253_402_300_799.9)), "is not a valid time"),
        (json.dumps(ours(name="a\0")), "NUL"),
        (json.dumps(ours(name="\ud800")), "unpaired surrogate"),
        (json.dumps(ours(tool_call_id="a" * 256)), "too long"),
        (json.dumps(ours(tool_calls=[{"id": "\0"}])), "NUL"),
        (json.dumps(ours(tool_calls=[{"id": 2**63}])), "outside the 64-bit range"),
        (json.dumps(ours(tool_calls=[{}] * 101)), "too long"),
        (json.dumps(ours(tool_calls=[{"a": nested(40)}])), "nested deeper than 32 levels"),
        (json.dumps(ours(content_parts=[{"type": "text"}])), 'must have a "text"'),
        (json.dumps(ours(content_parts=[{"text": "a"}])), 'must have a "type"'),
        (json.dumps(ours(metadata={"a": "x" * 11_000_000})), "larger than 10485760 bytes"),
    ],
)
def test_content_that_cannot_be_stored_is_reported(content: str | bytes, words: str) -> None:
    assert words in reason(content)


def test_nothing_that_a_file_may_hold_breaks_the_reader() -> None:
    odd: list[Any] = [[1], {"a": 1}, 10**400, nested(900)]
    shapes: list[Any] = [None, 1, "x", [], {}, {"mapping": 1}, {"mapping": {"a": 1}, "current_node": "a"}]
    messages: list[Any] = [{}, 1, {"content": [1, {}], "sender": "human"}, {"author": {}, "content": {}}]
    shapes += [{"chat_messages": [message], "uuid": "u"} for message in messages]
    shapes += [{"mapping": {"a": {"message": message}}, "id": "i"} for message in messages]
    shapes += [{"messages": [message]} for message in [*messages, [], {"role": 1}]]
    for value in odd:
        shapes += [ours(**{name: value}) for name in ("name", "metadata", "tool_calls", "timestamp")]
        shapes += [claude() | {"chat_messages": [{"sender": "human", "content": [{"type": value}]}]}]
        blocks = [{"type": "tool_use", "input": value}, {"type": "tool_use", "name": value}]
        shapes += [claude() | {"chat_messages": [{"sender": "human", "content": blocks, "attachments": [value]}]}]
        content = {"content_type": value, "parts": ["a"]}
        leaf = {"message": {"author": {"role": "user"}, "create_time": value, "content": content}}
        shapes += [{"id": "i", "mapping": {"a": leaf}}]

    for shape in shapes:
        for item in read(json.dumps([shape])):
            assert isinstance(item, Broken | Imported)


NAMES = ("mapping", "chat_messages", "messages", "role", "content", "message", "author", "parts", "id", "text")
LEAVES = st.none() | st.booleans() | st.floats() | st.text()


@bounded(deadline=None)
@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner)))
def test_any_json_is_read_or_reported(value: Any) -> None:
    for item in read(json.dumps([value])):
        assert isinstance(item, Broken | Imported)


# --- ZIP files ---------------------------------------------------------------------------------------------------


def zipped(**members: bytes) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return raw.getvalue()


def test_the_archive_of_an_export_is_read_as_it_comes() -> None:
    found = read(zipped(conversations__json=file_of(chatgpt()), user__json=b"{}"))

    assert [item.source for item in found] == ["chatgpt"]


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked() -> None:
    assert "unpacks to more" in reason(zipped(conversations__json=b" " * 10_000), most_bytes=1_000)


@pytest.mark.parametrize("value", [b"0", b"{}", b'{"":0}'])
def test_a_conversation_that_needs_much_more_memory_than_its_size_is_refused(value: bytes) -> None:
    members = b",".join([value] * formats.MAX_VALUES)

    assert "more than 2,000,000 commas" in reason(b'{"conversations":[' + members + b"]}")


def test_an_archive_that_chooses_the_memory_of_its_reader_is_refused() -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("conversations.json", b"[]")

    assert "deflate" in reason(raw.getvalue())


@pytest.mark.parametrize("damage", [lambda raw: raw[:-30], lambda raw: raw[:40] + b"\xff" * 20 + raw[60:]])
def test_a_damaged_archive_is_reported(damage: Any) -> None:
    assert any(isinstance(item, Broken) for item in read(damage(zipped(conversations__json=file_of(chatgpt())))))


def test_an_archive_with_damaged_compressed_data_is_reported() -> None:
    raw = bytearray(zipped(conversations__json=file_of(chatgpt())))
    first = 30 + len("conversations.json")  # the compressed data follows the local header and the name
    raw[first] |= 0b110  # a reserved block type of deflate

    assert "cannot be unpacked" in reason(bytes(raw))


def test_an_archive_with_a_damaged_name_is_reported() -> None:
    raw = zipped(**{"chät.html": b"", "conversations__json": file_of(chatgpt())})

    assert "cannot be unpacked" in reason(raw.replace("ä".encode(), b"\xff\xff"))


# --- Markdown and text -------------------------------------------------------------------------------------------


def test_markdown_is_split_at_speakers() -> None:
    found = one("# Beans\n\n## User\n\nWhere?\n\n## Assistant\n\nIn the sun.\n\n### Notes\n\nSix hours.\n", name="x.md")

    assert found.label == "Beans"
    assert said(found) == [("user", "Where?"), ("assistant", "In the sun.\n\n### Notes\n\nSix hours.")]


def test_a_title_is_found_in_a_line_of_any_length() -> None:
    found = one("# Beans" + " " * 1_000_000 + "x" + " " * 1_000_000 + "\n\n## User\n\nWhere?\n", name="x.md")

    assert found.label.startswith("Beans")
    assert said(found) == [("user", "Where?")]


def test_a_broken_conversation_in_our_markdown_is_reported_with_its_line() -> None:
    mark = text.mark("conversation", {})

    assert [item.place for item in read(f"{mark}\n\n\n{mark}\n")] == [
        "conversation 1 (line 1)",
        "conversation 2 (line 4)",
    ]


def test_bold_names_begin_messages_too() -> None:
    found = one("**User:** Where?\n\n**ChatGPT:** In the sun.\n")

    assert said(found) == [
        ("user", "Where?"),
        ("assistant", "In the sun."),
    ]


def test_plain_text_is_split_at_names() -> None:
    found = one("Human: Where?\nor when?\nAI: In spring: soon.\n", name="beans.txt")

    assert found.label == "beans"
    assert said(found) == [("user", "Where?\nor when?"), ("assistant", "In spring: soon.")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tea.md", "# Tea\n\n## User\n\nGreen?\n\n## Assistant\n\nBlack.\n"),
        ("tea.md", "# User\n\nGreen?\n\n# Assistant\n\nBlack.\n"),
        ("tea.txt", "User:\nGreen?\nAssistant:\nBlack.\n"),
    ],
)
def test_a_text_with_windows_line_endings_is_split_at_speakers(name: str, content: str) -> None:
    found = one(content.replace("\n", "\r\n"), name=name)

    assert found.label.lower() == "tea"
    assert said(found) == [("user", "Green?"), ("assistant", "Black.")]


@pytest.mark.parametrize(
    "content", ["[ ] Buy milk\n[x] Buy tea", "[Ada](https://example.org) is here", "[[Ada]] is here", "{Ada} is here"]
)
def test_a_text_that_begins_with_a_bracket_is_not_json(content: str) -> None:
    assert said(one(content)) == [("user", content)]


def test_a_file_that_cannot_be_text_is_never_stored_as_text() -> None:
    [found] = formats.read(io.BytesIO(b"<html>502 Bad Gateway</html>"), may_be_text=False)

    assert isinstance(found, Broken)


def test_a_text_without_speakers_is_attributed_to_the_user() -> None:
    assert said(one("Note: buy beans.\nSoon.")) == [("user", "Note: buy beans.\nSoon.")]


# --- Splitting ---------------------------------------------------------------------------------------------------


@bounded(deadline=None)
@given(st.lists(st.recursive(st.text(max_size=30) | st.integers(), lambda inner: st.lists(inner, max_size=4)).map(
    lambda value: {"value": value}), max_size=6), st.integers(1, 40))  # fmt: skip
def test_an_array_is_split_the_same_with_any_read_size(items: list[Any], chunk: int) -> None:
    raw = json.dumps(items).encode()
    scan = splitting._Scan()
    found = [piece for at in range(0, len(raw), chunk) for piece in scan.feed(raw[at : at + chunk])]

    assert [json.loads(piece.raw) for piece in found if isinstance(piece, Element)] == items
    assert list(scan.end()) == []


def test_a_conversation_that_is_too_long_is_reported_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MAX_ELEMENT_BYTES", 2_000)
    monkeypatch.setattr(splitting, "CHUNK_BYTES", 500)
    long = grown(chatgpt(), "x" * 20_000)
    scan = splitting._Scan()
    small = {"uuid": "u", "chat_messages": []}
    raw = file_of(small, long, small)
    most = 0
    found = []
    for at in range(0, len(raw), 500):
        found += list(scan.feed(raw[at : at + 500]))
        most = max(most, len(scan.buffer))

    assert [type(item) for item in found] == [Element, Broken, Element]
    assert most < 4_000


def test_long_lines_are_reported_and_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MAX_ELEMENT_BYTES", 1_000)
    raw = b'{"a": 1}\n{"b": "' + b"x" * 5_000 + b'"}\n{"c": 3}\n'

    assert [type(piece) for piece in splitting.lines(io.BytesIO(raw))] == [Element, Broken, Element]


def test_reading_an_item_that_unpacks_to_many_bytes_ends_at_the_deadline() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("conversations.json", "[[" + "[]," * 1_000_000 + "0]]")

    with deadline.within(0.05), pytest.raises(DeadlineExceeded):
        read(archive.getvalue())
