"""How many tokens a text is, by a real tokenizer that works without a network.

It is that of Llama 2, which travels with the embedding model: 32,000 tokens. Those of today's models are larger and
make fewer tokens of the same text, so a context that fits by this count fits theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

_loading = Lock()


def count(texts: Sequence[str]) -> list[int]:
    """For each text its number of tokens."""
    if not texts:
        return []
    return [len(each.ids) for each in _loaded().encode_batch(list(texts), add_special_tokens=False)]


def cut(text: str, most: int) -> str:
    """The beginning of a text, at most so many tokens of it."""
    ends = [end for _, end in _loaded().encode(text, add_special_tokens=False).offsets]
    kept = most
    while kept > 0:
        # Cut off, the last word may fall into other tokens than it did.
        beginning = text[: ends[kept - 1]] if kept < len(ends) else text
        if count([beginning])[0] <= most:
            return beginning
        kept -= 1
    return ""


def _loaded() -> Any:
    with _loading:
        return _tokenizer()


@cache
def _tokenizer() -> Any:
    import wordllama  # half a second, which those that count nothing need not pay for
    from tokenizers import Tokenizer

    folder = Path(wordllama.__file__).parent / "tokenizers"
    tokenizer = Tokenizer.from_file(str(folder / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
