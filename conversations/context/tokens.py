"""Count and truncate text by tokens, with a real tokenizer that works offline.

It is the Llama 2 tokenizer (with a vocabulary of 32,000 tokens), which is installed with the embedding model. Newer
models have larger vocabularies and need fewer tokens for the same text, so a context that fits according to this
tokenizer also fits according to theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, partial
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

from somamemory import deadline

LONGEST_TOKEN = 16  # characters
# No token continues after a space (only runs of spaces form tokens), so the counts of a text's words add up. Most texts
# consist of the same common words, and looking up a count takes far less time than counting.
_WORD = re.compile(" ( *[^ ]*)")
# The tokenizer does not treat these as text.
_SPECIAL = re.compile("\u2581|</?s>|<unk>")
# Longer texts are counted as a whole, because dividing them would make other threads wait.
LONGEST_DIVIDED = 20_000
# The counts of short words, which use up to 2 MB.
MAX_WORDS, LONGEST_WORD = 10_000, 32
_counts: dict[str, int] = {}
_WORDS_IN_BATCH, _TEXTS_IN_BATCH = 512, 32
_loading = Lock()


def count(texts: Sequence[str]) -> list[int]:
    """Return the number of tokens in each text."""
    words = [_words(text) for text in texts]
    known = {word: _counts.get(word) for word in chain.from_iterable(words)}
    counted = {word: number for word, number in known.items() if number is not None}
    counted |= _counted([word for word in known if word not in counted])
    return [sum(map(counted.__getitem__, of_text)) for of_text in words]


def _words(text: str) -> list[str]:
    """Divide a text into parts whose tokens can be counted separately. The first space before a part is left out."""
    if not text:
        return []
    if len(text) > LONGEST_DIVIDED or _SPECIAL.search(text):
        return [text]
    return _WORD.findall(f" {text}")


def _counted(words: Sequence[str]) -> dict[str, int]:
    """Count the tokens in these words, and keep the counts of the short ones."""
    short = _encoded([word for word in words if len(word) <= LONGEST_WORD], _WORDS_IN_BATCH)
    if len(_counts) + len(short) > MAX_WORDS:
        _counts.clear()
    if len(short) <= MAX_WORDS:
        _counts.update(short)
    return short | _encoded([word for word in words if len(word) > LONGEST_WORD], _TEXTS_IN_BATCH)


def _encoded(words: Sequence[str], batch: int) -> dict[str, int]:
    """Count the tokens in these words, in batches.

    Other threads wait while the encodings of a batch are created and freed.
    """
    if not words:
        return {}
    encode = partial(_loaded().encode_batch_fast, add_special_tokens=False)
    counts: list[int] = []
    for at in range(0, len(words), batch):
        deadline.check()  # a batch of long texts takes about a second
        # An empty word is a space at the end of a text. The tokenizer adds the space before each word.
        counts += map(len, encode([word or "\u2581" for word in words[at : at + batch]]))
    return dict(zip(words, counts, strict=True))


def cut(text: str, max_tokens: int) -> str:
    """Return the beginning of a text, at most `max_tokens` tokens long."""
    # Unlike `encode`, `encode_batch` lets other threads run.
    encodings = _loaded().encode_batch([text[: (max_tokens + 1) * LONGEST_TOKEN]], add_special_tokens=False)
    ends = [end for _, end in encodings[0].offsets]
    kept = max_tokens
    while kept > 0:
        # Truncating the text may change how its last word is tokenised.
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
    import wordllama  # imported here because it takes half a second, and only some processes count tokens
    from tokenizers import Tokenizer

    folder = Path(wordllama.__file__).parent / "tokenizers"
    tokenizer = Tokenizer.from_file(str(folder / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # The tokenizer treats a whole text as one word, and each thread would cache up to 10,000 texts of 7 KB.
    tokenizer.model._resize_cache(0)
    return tokenizer
