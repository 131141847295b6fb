"""The default embedder: WordLlama, which ships with a 256-dimension model and runs offline on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from memories.embeddings.base import Vectors


class WordLlamaEmbedder:
    provider = "wordllama"
    model = "l2_supercat"
    dimension = 256
    in_process = True

    def __init__(self) -> None:
        self._loading = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        with self._loading:  # only the first call waits; the model itself is read-only
            model = self._model
        with np.errstate(invalid="ignore"):  # a text without known words has length 0, so its row becomes 0
            vectors = model.embed(list(texts), norm=True)
        return np.ascontiguousarray(np.nan_to_num(vectors), dtype=np.float32)

    @cached_property
    def _model(self) -> Any:
        import wordllama  # takes half a second; commands that embed nothing should not pay for it

        # Without this path, the loader looks for the packaged tokenizer in the wrong folder.
        return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
