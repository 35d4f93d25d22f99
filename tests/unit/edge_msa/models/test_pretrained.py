from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from edge_msa.console import command_messages
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import MOSI
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.models.encoder_layers import Layers
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.text.frame_encoder import text_frames
from edge_msa.training.text.text_input import TextInput
from edge_msa.workflows.data import encode_data, encode_with
from tests.tolerances import assert_close_to_scale, relative_error


def one_split(texts: tuple[str, ...]) -> Split:
    ids = tuple(map(str, range(len(texts))))
    audio = Frames(np.ones((len(texts), 3), np.bool_), values=np.ones((len(texts), 3, 2), np.float32))
    return Split(ids, ids, np.zeros(len(texts), np.float32), {"audio": audio}, texts)


def frames_of(folder: Path, texts: list[str], *, max_tokens: int = 16, layers: Layers | None = None) -> Frames:
    loaded = load_encoder(str(folder), layers=layers)
    tokenizer = TextTokenizer(loaded.tokenizer, max_tokens, special=True)
    return text_frames(TextInput(tokenizer, TransformerTextEncoder(loaded.model)))(texts)


def test_tokens_have_features_and_padding_has_none(toy_encoder: Path) -> None:
    frames = frames_of(toy_encoder, ["I love it", "not"])
    values, valid = frames.take(), frames.valid
    assert values.shape == (2, 5, 16)  # [CLS] i love it [SEP]
    assert valid.sum(axis=1).tolist() == [5, 3]
    assert not values[~valid].any()
    assert np.abs(values[valid]).sum(axis=1).min() > 0


def test_features_do_not_depend_on_the_batch(toy_encoder: Path) -> None:
    alone = frames_of(toy_encoder, ["not"]).take()
    together = frames_of(toy_encoder, ["i love it at all", "not", "it"]).take()
    assert_close_to_scale(together[1, :3], alone[0])


def test_weights_of_half_precision_become_float32(toy_encoder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(toy_encoder, tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    halves = {name: value.astype(np.float16) for name, value in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))
    assert {str(value.dtype) for value in load_encoder(str(folder)).model.parameters()} == {"torch.float32"}
    assert relative_error(frames_of(folder, ["I love it"]).take(), frames_of(toy_encoder, ["I love it"]).take()) < 0.01


def test_long_texts_are_truncated(toy_encoder: Path) -> None:
    assert frames_of(toy_encoder, ["i love it not at all"], max_tokens=4).valid.shape == (1, 4)


def test_fewer_layers_change_the_features(toy_encoder: Path) -> None:
    whole, first = (frames_of(toy_encoder, ["i love it"], layers=layers).take() for layers in (None, 1))
    assert first.shape == whole.shape
    assert relative_error(first, whole) > 1e-3
    with pytest.raises(UsageError, match=r"--layers must be from 1 to 2 .* got 3"):
        load_encoder(str(toy_encoder), layers=3)


def test_layers_are_chosen_by_index(toy_encoder: Path) -> None:
    whole, chosen = load_encoder(str(toy_encoder)).model, load_encoder(str(toy_encoder), layers=(1,)).model
    assert chosen.config.num_hidden_layers == 1
    last = whole.encoder.layer[1].state_dict()
    assert all(torch.equal(value, last[name]) for name, value in chosen.encoder.layer[0].state_dict().items())
    both = frames_of(toy_encoder, ["i love it"], layers=(0, 1)).take()
    np.testing.assert_array_equal(both, frames_of(toy_encoder, ["i love it"]).take())
    with pytest.raises(UsageError, match=r"--layers must be layers from 0 to 1 for .* got 0,2"):
        load_encoder(str(toy_encoder), layers=(0, 2))


def test_language_frames_are_replaced(toy_encoder: Path) -> None:
    dataset = Dataset("said", MOSI, {"train": one_split(("i love it", " "))}, "said")
    split = encode_with(load_encoder(str(toy_encoder)), dataset, max_tokens=8).split("train")
    assert list(split.modalities) == ["language", "audio"]
    assert split.modalities["language"].valid.any(axis=1).tolist() == [True, False]
    assert split.texts == ("i love it", " ")


def test_path_without_an_encoder_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot load an encoder"):
        load_encoder(str(tmp_path))
    with pytest.raises(UsageError, match="neither a folder nor a model name"):
        load_encoder(str(tmp_path / "nothing"))


def test_damaged_weights_raise_an_error(toy_encoder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(toy_encoder, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"cannot load an encoder from .*copy"):
        load_encoder(str(copy))


def test_missing_transformers_names_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'edge-msa\[text\]'"):
        load_encoder("some/name")


def test_file_without_texts_raises_an_error(toy_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no texts"):
        encode_data("synthetic", output=tmp_path / "out.npz", encoder=str(toy_encoder))


@pytest.mark.case("F25")
def test_loading_prints_nothing_unless_verbose(
    toy_encoder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # A checkpoint of a masked language model has weights that the encoder does not use, which transformers reports.
    shutil.copytree(toy_encoder, tmp_path / "copy")
    weights = load_file(toy_encoder / "model.safetensors")
    save_file({**weights, "cls.predictions.bias": np.zeros(3, np.float32)}, tmp_path / "copy" / "model.safetensors")
    for verbose in (False, True, False):
        caplog.clear()
        with command_messages(details=verbose):
            load_encoder(str(tmp_path / "copy"))
        printed = "".join(capfd.readouterr()) + caplog.text
        assert ("predictions.bias" in printed) == verbose
        assert verbose or not printed


@pytest.mark.case("F25")
def test_weights_that_are_not_in_the_file_raise_an_error(toy_encoder: Path, tmp_path: Path) -> None:
    # transformers would use random values and only report it.
    shutil.copytree(toy_encoder, tmp_path / "copy")
    weights = load_file(toy_encoder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layer.1." not in name}
    save_file(kept, tmp_path / "copy" / "model.safetensors")
    with pytest.raises(UsageError, match=r"copy has no weights for encoder\.layer\.1\..* and \d+ more"):
        load_encoder(str(tmp_path / "copy"))
    kept = {name: value for name, value in weights.items() if "pooler" not in name}  # frames do not depend on it
    save_file(kept, tmp_path / "copy" / "model.safetensors")
    load_encoder(str(tmp_path / "copy"))


def test_encoded_data_names_the_encoder_and_its_weights(toy_encoder: Path) -> None:
    dataset = Dataset("said", MOSI, {"train": one_split(("i love it", " "))}, "said")
    features = [
        encode_with(load_encoder(str(toy_encoder), layers=layers), dataset, max_tokens=8).features["language"]
        for layers in (None, None, 1)
    ]
    assert {source.extractor for source in features} == {toy_encoder.name}
    assert features[0] == features[1] != features[2]
    assert features[0].version.startswith("sha256 ")
