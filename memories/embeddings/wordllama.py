"""The default embedder: WordLlama, which ships with a 256-dimension model and runs offline on the CPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from memories.embeddings.base import Vectors
from somamemory import deadline

# The maximum number of characters tokenized at a time. Without a limit, a batch of long texts would take up gigabytes.
MAX_TEXTS, MAX_CHARACTERS = 64, 65_536
TOKENS = 4_096  # tokens whose vectors are summed at a time; the vectors take up 4 MB


class WordLlamaEmbedder:
    """Embeds a text as the average vector of its tokens, scaled to length 1.

    The vector of a text without known tokens is all zeros.
    """

    provider = "wordllama"
    model = "l2_supercat"
    dimension = 256
    in_process = True

    def embed(self, texts: Sequence[str]) -> Vectors:
        with _loading:  # only the first call waits for the model to load; the model is not modified afterwards
            model = _model()
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for batch in _batches(texts):
            deadline.check()
            encodings = model.tokenizer.encode_batch_fast([texts[at] for at in batch], add_special_tokens=False)
            for at, encoding in zip(batch, encodings, strict=True):
                vectors[at] = _average(model.embedding, encoding.ids)
        return vectors


_loading = threading.Lock()


@cache
def _model() -> Any:
    """Return the model, which takes up 33 MB and is shared by all embedders."""
    with _logging_unchanged():
        import wordllama  # imported here because it takes half a second, and many commands do not embed anything

    # Without this path, the loader would look for the packaged tokenizer in the wrong folder.
    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    model.tokenizer.no_padding()
    # Disable the tokenizer's cache. It treats a whole text as one word, so each thread would cache up to 10,000 texts
    # of 7 KB, including those of erased tenants.
    model.tokenizer.model._resize_cache(0)
    return model


@contextmanager
def _logging_unchanged() -> Iterator[None]:
    """Prevent an import from configuring the root logger, which belongs to the program that embeds the service.

    `logging.basicConfig` does nothing if the root logger has a handler.
    """
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


def _batches(texts: Sequence[str]) -> Iterator[range]:
    """Yield batches of texts to tokenize together, as ranges of positions in `texts`."""
    start = characters = 0
    for at, text in enumerate(texts):
        if at > start and (at - start == MAX_TEXTS or characters + len(text) > MAX_CHARACTERS):
            yield range(start, at)
            start, characters = at, 0
        characters += len(text)
    if texts:
        yield range(start, len(texts))


def _average(embedding: Vectors, tokens: Sequence[int]) -> Vectors:
    total = np.zeros(embedding.shape[1], dtype=np.float32)
    ids = np.asarray(tokens, dtype=np.int32)
    for start in range(0, len(ids), TOKENS):
        total += embedding[ids[start : start + TOKENS]].sum(axis=0, dtype=np.float32)
    total /= max(len(ids), 1)
    if length := float(np.linalg.norm(total)):
        total /= length
    return total
