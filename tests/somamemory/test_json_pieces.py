"""JSON in pieces equals the encoder's output, and every piece is short."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somamemory import json_pieces
from somamemory.json_pieces import JsonPieces

SORTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner))


@given(value=VALUES, piece=st.integers(1, 20), batch=st.integers(1, 4))
def test_the_pieces_equal_the_output_of_the_encoder(value: object, piece: int, batch: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "PIECE", piece)
        patch.setattr(json_pieces, "BATCH", batch)

        assert "".join(JsonPieces(json.dumps, ", ", ": ").of(value)) == json.dumps(value)
        assert "".join(JsonPieces(SORTED.encode, ",", ":", sort_keys=True).of(value)) == SORTED.encode(value)


@given(value=VALUES, most=st.integers(0, 40))
def test_indented_json_is_the_beginning_of_the_output_of_the_encoder(value: object, most: int) -> None:
    assert json_pieces.indented(value, most) == json.dumps(value, indent=2, ensure_ascii=False)[:most]


def test_the_beginning_of_deep_json_does_not_need_the_rest() -> None:
    value: list[object] = [0] * 1_000_000
    for _ in range(800):
        value = [value]

    tracemalloc.start()
    beginning = json_pieces.indented(value, 20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(beginning) == 20_000
    assert peak < 2_000_000  # the whole text would take 1.6 GB


@pytest.mark.parametrize(
    "value",
    ["a" * 1_000_000, [1] * 300_000, {"text": ["lorem"] * 100_000}, {str(number): number for number in range(50_000)}],
    ids=["text", "numbers", "texts", "members"],
)
def test_no_piece_of_a_large_document_is_long(value: object) -> None:
    pieces = list(JsonPieces(json.dumps, ", ", ": ").of(value))

    assert "".join(pieces) == json.dumps(value)
    assert max(map(len, pieces)) <= 2 * json_pieces.PIECE
