"""Local models in ONNX format, with a tiny model that maps the words "ada", "tea" and "kettle" to fixed states."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from memories import embeddings
from memories.embeddings.onnx import BATCH_TOKENS, OnnxEmbedder
from somamemory.errors import ConfigurationError

# One Gather node: the states of the tokens 0 to 3 are (0, 0), (3, 4), (0, 2) and (6, 0).
MODEL = """
CAg6vgEKIgoFdGFibGUKCWlucHV0X2lkcxIGc3RhdGVzIgZHYXRoZXISBHRpbnkqLwgECAIQAUIFdGFibGVKIAAAAAAAAAAAAABAQAAAgEAAAAAAAAAA
QAAAwEAAAAAAWh0KCWlucHV0X2lkcxIQCg4IBxIKCgMSAWIKAxIBdFoiCg5hdHRlbnRpb25fbWFzaxIQCg4IBxIKCgMSAWIKAxIBdGIeCgZzdGF0ZXMS
FAoSCAESDgoDEgFiCgMSAXQKAggCQgQKABAN
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(base64.b64decode(MODEL))
    tokenizer = Tokenizer(WordLevel({"?": 0, "ada": 1, "tea": 2, "kettle": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    write(tmp_path / "config.json", {"hidden_size": 2})
    return tmp_path


def write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def test_a_text_is_embedded_as_the_mean_of_its_tokens(folder: Path) -> None:
    vectors = OnnxEmbedder(str(folder)).embed(["ada tea", "kettle", ""])
    assert vectors.tolist() == [[1.5, 3.0], [6.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(("pooling", "vector"), [("cls_token", [3.0, 4.0]), ("max_tokens", [3.0, 4.0])])
def test_pooling_follows_the_configuration_of_the_model(folder: Path, pooling: str, vector: list[float]) -> None:
    write(folder / "1_Pooling" / "config.json", {f"pooling_mode_{pooling}": True, "pooling_mode_mean_tokens": False})
    assert OnnxEmbedder(str(folder)).embed(["ada tea", "kettle kettle kettle"])[0].tolist() == vector


def test_a_model_that_normalises_returns_vectors_of_length_one(folder: Path) -> None:
    write(folder / "modules.json", [{"type": "sentence_transformers.models.Normalize"}])
    np.testing.assert_allclose(OnnxEmbedder(str(folder)).embed(["ada"]), [[0.6, 0.8]], rtol=1e-6)


def test_tokens_after_the_maximum_length_are_ignored(folder: Path) -> None:
    write(folder / "sentence_bert_config.json", {"max_seq_length": 2})
    assert OnnxEmbedder(str(folder)).embed(["kettle kettle ada"]).tolist() == [[6.0, 0.0]]


def test_texts_of_any_length_and_number_keep_their_order(folder: Path) -> None:
    texts = ["ada " * (1 + number * 37 % 400) if number % 2 else "tea" for number in range(BATCH_TOKENS // 40)]
    assert OnnxEmbedder(str(folder)).embed(texts)[:, 0].tolist() == [
        3.0 if number % 2 else 0.0 for number in range(len(texts))
    ]


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_folder_without_a_model_is_refused(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ConfigurationError, match=missing):
        OnnxEmbedder(str(folder))


def test_unknown_pooling_is_refused(folder: Path) -> None:
    write(folder / "1_Pooling" / "config.json", {"pooling_mode_lasttoken": True})
    with pytest.raises(ConfigurationError, match="mean, cls and max"):
        OnnxEmbedder(str(folder))


def test_the_settings_select_a_folder_and_must_not_contradict_the_model(folder: Path) -> None:
    embeddings.made.cache_clear()
    assert embeddings.made("onnx", str(folder)).dimension == 2
    with pytest.raises(ConfigurationError, match="2 dimensions"):
        embeddings.made("onnx", str(folder), 3)
    with pytest.raises(ConfigurationError, match="SOMA_EMBEDDING_MODEL"):
        embeddings.made("onnx")
