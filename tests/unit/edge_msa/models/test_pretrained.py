from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import MOSI
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.text.text_input import TextInput
from edge_msa.workflows.data import encode_language, encoded


def one_split(texts: tuple[str, ...]) -> Split:
    ids = tuple(map(str, range(len(texts))))
    audio = Frames(np.ones((len(texts), 3), np.bool_), values=np.ones((len(texts), 3, 2), np.float32))
    return Split(ids, ids, np.zeros(len(texts), np.float32), {"audio": audio}, texts)


def frames_of(folder: Path, texts: list[str], *, max_tokens: int = 16, layers: int | None = None) -> Frames:
    loaded = load_encoder(str(folder), layers=layers)
    return TextInput(
        TextTokenizer(loaded.tokenizer, max_tokens, special=True), TransformerTextEncoder(loaded.model)
    ).frames(texts)


def test_every_token_has_features_and_padding_none(toy_encoder: Path) -> None:
    frames = frames_of(toy_encoder, ["I love it", "not"])
    values, valid = frames.take(), frames.valid
    assert values.shape == (2, 5, 16)  # [CLS] i love it [SEP]
    assert valid.sum(axis=1).tolist() == [5, 3]
    assert not values[~valid].any()
    assert np.abs(values[valid]).sum(axis=1).min() > 0


def test_features_do_not_depend_on_who_shares_the_batch(toy_encoder: Path) -> None:
    alone = frames_of(toy_encoder, ["not"]).take()
    together = frames_of(toy_encoder, ["i love it at all", "not", "it"]).take()
    np.testing.assert_allclose(together[1, :3], alone[0], atol=1e-6)


def test_long_utterances_lose_their_end(toy_encoder: Path) -> None:
    assert frames_of(toy_encoder, ["i love it not at all"], max_tokens=4).valid.shape == (1, 4)


def test_fewer_layers_are_another_encoder(toy_encoder: Path) -> None:
    whole, first = (frames_of(toy_encoder, ["i love it"], layers=layers).take() for layers in (None, 1))
    assert first.shape == whole.shape
    assert not np.allclose(first, whole)
    with pytest.raises(UsageError, match=r"--layers is 3.*1 to 2"):
        load_encoder(str(toy_encoder), layers=3)


def test_language_is_replaced_and_silence_is_missing(toy_encoder: Path) -> None:
    dataset = Dataset("said", MOSI, {"train": one_split(("i love it", " "))}, "said")
    split = encoded(dataset, load_encoder(str(toy_encoder)), max_tokens=8).split("train")
    assert list(split.modalities) == ["language", "audio"]
    assert split.modalities["language"].valid.any(axis=1).tolist() == [True, False]
    assert split.texts == ("i love it", " ")


def test_what_holds_no_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no encoder"):
        load_encoder(str(tmp_path))
    with pytest.raises(UsageError, match="no folder, and no name on a hub"):
        load_encoder(str(tmp_path / "nothing"))


def test_damaged_weights_are_named(toy_encoder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(toy_encoder, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UsageError, match="copy holds no encoder that transformers can load"):
        load_encoder(str(copy))


def test_where_nothing_can_be_written_is_told_before_anything_is_encoded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist: create it"):
        encode_language("synthetic", tmp_path / "no" / "out.npz", "nowhere")


def test_without_transformers_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'edge-msa\[language\]'"):
        load_encoder("some/name")


def test_a_file_without_texts_is_refused(toy_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not say what was said"):
        encode_language("synthetic", tmp_path / "out.npz", str(toy_encoder))
