"""The embedder protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Converts texts into vectors of `dimension` float32 numbers."""

    provider: str
    model: str
    dimension: int
    in_process: bool  # whether the embedder runs in this process, without using the network

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return an array of shape (len(texts), dimension). The row of a text without words may be all zeros.

        Raises EmbedderUnavailable (retry later) or EmbedderRefused (retrying the same input will not help).
        """
        ...
