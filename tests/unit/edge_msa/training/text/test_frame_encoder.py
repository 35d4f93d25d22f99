from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.config.training import MsmConfig
from edge_msa.data.contextual_features import contains_context, dropped_frames_notes
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.join import join_train_splits
from edge_msa.data.tasks import MOSI
from edge_msa.evaluation.reproduction.corruption import drop_frames
from edge_msa.training.missing_modalities import draw_missing
from edge_msa.training.tensors import SplitTensors
from edge_msa.training.text import frame_encoder
from edge_msa.training.text.frame_encoder import TextFrameEncoder, text_frames
from tests.tolerances import assert_close_to_scale
from tests.unit.edge_msa.training.text.toy_text import make_encoder_input, make_table_input

WORDS = ("i", "love", "it", "not", "at", "all")
CPU = torch.device("cpu")


def random_texts(count: int, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    rng = np.random.default_rng(seed)
    words = [[str(word) for word in rng.choice(WORDS, 8)] for _ in range(count)]
    return [" ".join(item) for item in words], words


def split_of(frames: Frames, texts: list[str]) -> Split:
    names = tuple(map(str, range(len(texts))))
    return Split(names, names, np.zeros(len(texts), np.float32), {"language": frames}, tuple(texts))


def explained_variance(features: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of the targets' variance that a linear model finds in the features of other samples."""
    half = len(features) // 2
    inputs = np.concatenate([features, np.ones((len(features), 1))], axis=1).astype(np.float64)
    weights = np.linalg.lstsq(inputs[:half], targets[:half], rcond=1e-6)[0]
    residual = targets[half:] - inputs[half:] @ weights
    return float(1 - residual.var() / targets[half:].var())


@pytest.mark.case("E3")
def test_dropped_words_leave_no_trace_in_the_other_frames(toy_encoder: Path) -> None:
    texts, words = random_texts(400)
    frames = text_frames(make_encoder_input(toy_encoder))(texts)
    kept = np.ones(frames.valid.shape, np.bool_)
    kept[:, 1:5] = False  # after [CLS]: the first four of eight words
    loves = np.array([item[:4].count("love") for item in words], np.float64)
    before = frames.keep(kept).take()[:, [0, *range(5, 10)]].mean(axis=1)
    after = np.where(kept[..., None], frames.take(), 0)[:, [0, *range(5, 10)]].mean(axis=1)
    assert explained_variance(after, loves) > 0.5  # frames that are dropped after encoding
    assert explained_variance(before, loves) < 0.05


@pytest.mark.case("E3")
def test_frames_do_not_depend_on_the_dropped_words(toy_encoder: Path) -> None:
    frames = text_frames(make_encoder_input(toy_encoder))(["i love it all", "i not it all"])
    kept = np.ones(frames.valid.shape, np.bool_)
    kept[:, 2] = False
    one, other = frames.keep(kept).take()
    assert_close_to_scale(one, other)
    assert not one[2].any()
    assert one[[0, 1, 3, 4, 5]].any(axis=1).all()


@pytest.mark.case("E3")
def test_training_and_evaluation_hide_the_words(toy_encoder: Path) -> None:
    texts, _ = random_texts(6)
    changed = [text.replace("love", "not") for text in texts]
    splits = [split_of(text_frames(make_encoder_input(toy_encoder))(item), item) for item in (texts, changed)]
    config = MsmConfig(inter=0.0, intra=1.0, ratios=(0.5,))
    batches = []
    for split in splits:
        tensors = SplitTensors(split, {"language": 16}, CPU)
        visible = {"language": draw_missing(tensors.valid, config, seed=0, epoch=0)["language"]}
        for row, text in enumerate(texts):
            visible["language"][row, 1:9] &= torch.tensor([word != "love" for word in text.split()])
        batches.append(tensors.batch(torch.arange(6), visible))
    assert_close_to_scale(batches[0].frames["language"], batches[1].frames["language"])
    dropped = [drop_frames(split, 0.9, seed=0).modalities["language"] for split in splits]
    masked = [item.encoder.hide(item.ids, ~item.valid) for item in dropped if item.encoder and item.ids is not None]
    for item, ids in zip(dropped, masked, strict=True):
        np.testing.assert_array_equal(item.ids, ids)  # no dropped word is left
        assert item.valid.sum() < 2 * len(texts)


@pytest.mark.case("E3")
def test_special_tokens_are_dropped_but_not_replaced(toy_encoder: Path) -> None:
    text_input = make_encoder_input(toy_encoder)
    frames = text_frames(text_input)(["i love it"])
    hidden = frames.keep(np.array([[False, False, True, True, False]]))
    assert frames.ids is not None
    assert hidden.ids is not None
    unknown = text_input.tokenizer.unknown
    assert hidden.ids.tolist() == [[frames.ids[0, 0], unknown, *frames.ids[0, 2:].tolist()]]
    assert hidden.valid.tolist() == [[False, False, True, True, False]]


def test_rows_of_a_table_are_dropped() -> None:
    frames = text_frames(make_table_input())(["good film", "bad film"])
    kept = np.ones(frames.valid.shape, np.bool_)
    kept[:, 0] = False
    assert frames.valid.shape == (2, 2)
    one, other = frames.keep(kept).take()
    np.testing.assert_array_equal(one, other)


def test_stored_features_of_an_encoder_are_recognized(toy_encoder: Path) -> None:
    texts, _ = random_texts(50)
    encoded = text_frames(make_encoder_input(toy_encoder))(texts)
    stored = Frames(encoded.valid, values=encoded.take())
    assert contains_context(stored)
    assert not contains_context(encoded)
    for frames, count in ((stored, 1), (encoded, 0)):
        notes = dropped_frames_notes(Dataset("a", MOSI, {"test": split_of(frames, texts)}, "a"))
        assert len([note for note in notes if "robustness to missing words is overstated" in note]) == count
    assert not contains_context(stored.select(np.arange(49)))  # 490 frames are too few to tell
    ids = np.random.default_rng(0).integers(0, 6, encoded.valid.shape)
    vectors = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    assert not contains_context(Frames(encoded.valid, values=vectors[ids]))


def test_vectors_of_whole_texts_contain_no_context_of_other_frames() -> None:
    values = np.random.default_rng(0).normal(size=(600, 2, 4)).astype(np.float32)
    valid = np.array([[True, False]] * 600)
    assert not contains_context(Frames(valid, values=values))


@pytest.mark.case("F27")
def test_frames_beyond_the_memory_limit_are_stored_in_a_file(
    toy_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, _ = random_texts(100)
    rows = np.random.default_rng(0).permutation(100)
    expected = TextFrameEncoder(make_encoder_input(toy_encoder)).frames(texts).take(rows)
    monkeypatch.setattr(frame_encoder, "_MEMORY_LIMIT", 3 * 10 * 16 * 4)
    small = TextFrameEncoder(make_encoder_input(toy_encoder))
    np.testing.assert_array_equal(small.frames(texts).take(rows), expected)
    assert small._store.bytes_in_memory == 3 * 10 * 16 * 4


def test_texts_are_encoded_once_and_in_a_fixed_order(toy_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, _ = random_texts(100)
    text_input = make_encoder_input(toy_encoder)
    encoded: list[int] = []
    forward = type(text_input.text_encoder).forward

    def counted(self: object, ids: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        encoded.append(len(ids))
        return forward(self, ids, valid)  # type: ignore[arg-type]

    monkeypatch.setattr(type(text_input.text_encoder), "forward", counted)
    frames = TextFrameEncoder(text_input).frames([*texts, *texts, ""])
    late = frames.take(np.array([150, 3]))
    np.testing.assert_array_equal(late, frames.take()[[150, 3]])
    assert sum(encoded) == len(set(texts))
    assert not frames.valid[-1].any()


def test_split_is_encoded_without_the_others(toy_encoder: Path) -> None:
    texts, _ = random_texts(100)
    encoder = TextFrameEncoder(make_encoder_input(toy_encoder))
    encoder.frames(texts)
    small = encoder.frames(texts[:4])
    small.take()
    assert encoder._store.bytes_in_memory == 4 * 10 * 16 * 4


def test_joined_splits_still_hide_words(toy_encoder: Path) -> None:
    encoder = TextFrameEncoder(make_encoder_input(toy_encoder))
    datasets = [
        Dataset(str(length), MOSI, {"train": split_of(encoder.frames(texts), texts)}, str(length))
        for length, texts in ((1, ["i love it"]), (2, ["not at all i love", "it"]))
    ]
    joined = join_train_splits(datasets[0], datasets[1:]).split("train").modalities["language"]
    assert joined.encoder is encoder
    expected = encoder.frames(["i love it", "not at all i love", "it"])
    np.testing.assert_array_equal(joined.take(), expected.take())
    np.testing.assert_array_equal(joined.valid, expected.valid)
