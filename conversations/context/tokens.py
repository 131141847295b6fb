"""Count and cut text by tokens, with a real tokenizer that works without a network.

The tokenizer is that of Llama 2 (32,000 tokens), which is installed with the embedding model. The vocabularies of
today's models are larger and make fewer tokens of the same text, so a context that fits by this count fits theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

_loading = Lock()


def count(texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text."""
    if not texts:
        return []
    return [len(encoding.ids) for encoding in _loaded().encode_batch(list(texts), add_special_tokens=False)]


def cut(text: str, max_tokens: int) -> str:
    """Return the beginning of a text, at most so many tokens of it."""
    ends = [end for _, end in _loaded().encode(text, add_special_tokens=False).offsets]
    kept = max_tokens
    while kept > 0:
        # Once the text is cut, its last word may be split into other tokens than before.
        beginning = text[: ends[kept - 1]] if kept < len(ends) else text
        if count([beginning])[0] <= max_tokens:
            return beginning
        kept -= 1
    return ""


def _loaded() -> Any:
    with _loading:
        return _tokenizer()


@cache
def _tokenizer() -> Any:
    import wordllama  # takes half a second, so only processes that count tokens pay for it
    from tokenizers import Tokenizer

    folder = Path(wordllama.__file__).parent / "tokenizers"
    tokenizer = Tokenizer.from_file(str(folder / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
