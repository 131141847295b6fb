"""Run a sentence-embedding model in ONNX format from a local folder, such as an exported Sentence Transformers model.

The folder must contain `model.onnx` or `onnx/model.onnx`, `tokenizer.json` and `config.json`. Pooling, normalisation
and the maximum length come from the files that Sentence Transformers writes (`1_Pooling/config.json`, `modules.json`,
`sentence_bert_config.json`). The `onnx` extra installs the runtime.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from memories.embeddings.base import Vectors
from somamemory import deadline
from somamemory.errors import ConfigurationError

THREADS = 2  # threads for one batch
TEXTS = 64  # texts tokenized at once
BATCH_TOKENS = 4_096  # tokens, including padding, that the model embeds in one call
MAX_LENGTH = 512  # tokens of one text that are embedded; the rest is ignored
CHARACTERS = 16 * MAX_LENGTH  # characters of one text to tokenize; more would matter only if tokens were very long
MEAN, CLS, MAX = "pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_max_tokens"


class OnnxEmbedder:
    """Embeds texts with the model in a folder. Embedding generations record the folder as the model's name."""

    provider = "onnx"
    in_process = True

    def __init__(self, folder: str) -> None:
        if not folder:
            raise ConfigurationError(
                "if SOMA_EMBEDDING_PROVIDER is onnx, SOMA_EMBEDDING_MODEL must be the path to a model folder"
            )
        self.model = folder
        place = Path(folder)
        self.dimension = int(_read(place / "config.json")["hidden_size"])
        self._pooling = _pooling(place)
        self._normalises = any("Normalize" in module["type"] for module in _read(place / "modules.json", []))
        self._tokenizer = _tokenizer(place)
        self._session = _session(place)
        self._inputs = {entry.name for entry in self._session.get_inputs()}

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for first in range(0, len(texts), TEXTS):
            cut = [text[:CHARACTERS] for text in texts[first : first + TEXTS]]
            tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(cut)]
            for batch in _batches([len(ids) for ids in tokens]):
                deadline.check()
                vectors[[first + at for at in batch]] = self._of_tokens([tokens[at] for at in batch])
        return vectors

    def _of_tokens(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        ids = np.zeros((len(tokens), max(map(len, tokens))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, numbers in enumerate(tokens):
            ids[row, : len(numbers)], mask[row, : len(numbers)] = numbers, 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (states, *_) = self._session.run(None, {name: given[name] for name in given if name in self._inputs})
        vectors = pooled(states, mask, self._pooling)
        if self._normalises:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


def pooled(states: NDArray[np.float32], mask: NDArray[np.int64], pooling: str) -> Vectors:
    """Combine the states of each text's tokens into one vector per text."""
    if states.ndim == 2:  # the model has already pooled the states
        return states.astype(np.float32)
    if pooling == CLS:
        return states[:, 0].astype(np.float32)
    weights = mask[:, :, np.newaxis].astype(np.float32)
    if pooling == MAX:
        return np.asarray(np.where(weights > 0, states, -np.inf).max(axis=1), dtype=np.float32)
    return np.asarray((states * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1), dtype=np.float32)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield batches of texts to embed together, as positions in `lengths`.

    The texts in a batch have similar lengths. Empty texts are skipped.
    """
    batch: list[int] = []
    for at in sorted((at for at, length in enumerate(lengths) if length), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[at] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


def _pooling(folder: Path) -> str:
    settings = _read(folder / "1_Pooling" / "config.json", {MEAN: True})
    chosen = [name for name, value in settings.items() if name.startswith("pooling_mode_") and value is True]
    if len(chosen) != 1 or chosen[0] not in (MEAN, CLS, MAX):
        raise ConfigurationError(f"{folder}/1_Pooling/config.json must select exactly one of mean, cls and max pooling")
    return str(chosen[0])


def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    length = _read(folder / "sentence_bert_config.json", {}).get("max_seq_length") or MAX_LENGTH
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library does not raise more specific errors
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(int(length), MAX_LENGTH))
    return tokenizer


def _session(folder: Path) -> Any:
    paths = [folder / "model.onnx", folder / "onnx" / "model.onnx"]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ConfigurationError(f"{folder} contains neither model.onnx nor onnx/model.onnx; export the model to it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.enable_cpu_mem_arena = False  # the arena would never release the memory used by the largest batch
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors have no common base class
        raise ConfigurationError(f"cannot load {path}: {error}") from error


def _read(path: Path, default: Any = None) -> Any:
    """Return the content of a JSON file, or the default if there is one and the file is missing.

    Raises ConfigurationError if the file cannot be read.
    """
    if default is not None and not path.exists():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
