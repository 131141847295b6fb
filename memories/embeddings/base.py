"""The protocol of embedders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into vectors of `dimension` float32 numbers."""

    provider: str
    model: str
    dimension: int

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return an array of shape (len(texts), dimension); a text without words may have a zero row.

        Raises EmbedderUnavailable (try again later) or EmbedderRefused (retrying these texts is useless).
        """
        ...
