"""The default embedder: WordLlama, whose 256-dimension model is part of its package. Offline, CPU only."""

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

    def __init__(self) -> None:
        self._loading = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        with self._loading:  # only the first call waits; the model itself is read-only
            model = self._model
        with np.errstate(invalid="ignore"):  # a text without known words has length 0: its row becomes 0
            vectors = model.embed(list(texts), norm=True)
        return np.ascontiguousarray(np.nan_to_num(vectors), dtype=np.float32)

    @cached_property
    def _model(self) -> Any:
        import wordllama  # half a second; commands that embed nothing need not pay for it

        # Its loader looks for the packaged tokenizer in the wrong folder without the package's path.
        return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
