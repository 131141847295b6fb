"""Count and truncate text by tokens, with a real tokenizer that works offline.

This is the Llama 2 tokenizer (a vocabulary of 32,000 tokens), which is installed with the embedding model. Newer models
have larger vocabularies and need fewer tokens for the same text, so a context that fits according to this tokenizer
also fits according to theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

BATCH = 32
LONGEST_TOKEN = 16  # characters
_loading = Lock()


def count(texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text.

    Texts are counted in batches, because other threads wait while the encodings of a batch are created and freed.
    """
    if not texts:
        return []
    encode = partial(_loaded().encode_batch_fast, add_special_tokens=False)
    batches = (list(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH))
    return [len(encoding) for batch in batches for encoding in encode(batch)]


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
