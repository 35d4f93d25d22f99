"""Text encoders that read earlier utterances, in training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.config.recipes import text_recipe
from edge_msa.config.students import TextRecipe, TextStage
from edge_msa.data.dataset import Split
from edge_msa.data.tasks import MOSI
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import UsageError
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import TextModel
from edge_msa.training.context import Hardware
from edge_msa.training.text import train
from edge_msa.training.text.frame_encoder import TextFrameEncoder
from edge_msa.training.text.initial_encoders import select_layers
from edge_msa.training.text.teacher_outputs import compute_outputs
from edge_msa.training.text.text_input import TextInput
from edge_msa.training.text.train import Corpus, TextObjective, predict_texts
from tests.unit.edge_msa.training.text.toy_text import make_encoder_input, make_table_input

TEXTS = ("i love it", "not at all", "it", "love")
EARLIER = (("not",), (), ("love", "i love it at all", "at all"), ("it",))


@pytest.fixture(scope="module")
def text_input(toy_encoder: Path) -> TextInput:
    base = make_encoder_input(toy_encoder)
    return TextInput(dataclasses.replace(base.tokenizer, context=2), base.text_encoder.eval())


@pytest.fixture(scope="module")
def model(text_input: TextInput) -> TextModel:
    config = TextRecipe(width=8, hidden=8).network_config(text_input.text_encoder.dim, MOSI)
    torch.manual_seed(0)
    return TextModel(text_input.text_encoder, Student(config)).eval()


def words(tokenizer: TextTokenizer, ids: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> str:
    return " ".join(tokenizer.vocabulary[token] for token in ids)


def test_the_newest_utterances_follow_the_text(text_input: TextInput) -> None:
    tokenizer = text_input.tokenizer
    own = tokenizer.ids(TEXTS)
    read = [words(tokenizer, ids) for ids in tokenizer.append_earlier(own, EARLIER)]
    assert read[0] == "[CLS] i love it [SEP] not [SEP]"
    assert read[1] == "[CLS] not at all [SEP]"
    assert read[2] == "[CLS] it [SEP] at all [SEP] i love it at all [SEP]"
    short = dataclasses.replace(tokenizer, max_tokens=9)
    assert words(short, short.append_earlier(own, EARLIER)[2]) == "[CLS] it [SEP] at all [SEP] at all [SEP]"


def test_a_text_without_words_stays_absent(text_input: TextInput) -> None:
    tokenizer = text_input.tokenizer
    assert [len(ids) for ids in tokenizer.append_earlier(tokenizer.ids([""]), [("love",)])] == [0]


def test_only_the_current_text_becomes_frames(text_input: TextInput) -> None:
    encoder = TextFrameEncoder(text_input)
    alone, read = encoder.frames(TEXTS), encoder.frames(TEXTS, EARLIER)
    np.testing.assert_array_equal(read.lengths, alone.lengths)
    changed = np.abs(read.take()[:, : alone.length] - alone.take()).max(axis=(1, 2)) > 1e-4
    assert changed.tolist() == [True, False, True, True]
    np.testing.assert_allclose(read.alone().take()[:, : alone.length], alone.take(), atol=1e-6)


def test_hidden_words_are_those_of_the_current_text(text_input: TextInput) -> None:
    frames = TextFrameEncoder(text_input).frames(TEXTS, EARLIER)
    kept = frames.keep(np.zeros_like(frames.valid))
    assert kept.ids is not None
    assert frames.ids is not None
    tokenizer = text_input.tokenizer
    assert words(tokenizer, kept.ids[0][kept.ids[0] >= 0]) == "[CLS] [UNK] [UNK] [UNK] [SEP] not [SEP]"


def test_predictions_depend_on_earlier_texts_only(model: TextModel, text_input: TextInput) -> None:
    read = predict_texts(model, text_input, TEXTS, EARLIER)[:, 0]
    alone = predict_texts(model, text_input, TEXTS)[:, 0]
    assert (np.abs(read - alone) > 1e-6).tolist() == [True, False, True, True]
    np.testing.assert_allclose(compute_outputs(model, text_input, TEXTS, EARLIER).predictions[:, 0], read, atol=1e-6)
    beyond = tuple(("love at all", *texts) if len(texts) > 1 else texts for texts in EARLIER)
    np.testing.assert_array_equal(predict_texts(model, text_input, TEXTS, beyond)[:, 0], read)


def test_training_drops_the_context_of_some_texts(
    model: TextModel, text_input: TextInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 200
    corpus = Corpus(TEXTS[:1] * count, np.zeros(count, np.float32), earlier=EARLIER[:1] * count)
    valid = Split(("v",), ("v",), np.zeros(1, np.float32), {}, ("it",))
    recipe = TextRecipe(context=2, context_dropout=0.25, augment=1.0, batch_size=count)
    seen: list[tuple[list[int], list[int]]] = []

    def predict(_model: object, ids: torch.Tensor, valid: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        seen.append((valid.sum(dim=1).tolist(), own.sum(dim=1).tolist()))
        return torch.zeros(len(ids), 1)

    objective = TextObjective(
        model,
        text_input,
        corpus,
        valid,
        MOSI,
        recipe,
        TextStage(epochs=1, learning_rate=1e-3),
        0,
        Hardware("cpu").start(),
    )
    monkeypatch.setattr(TextModel, "forward", predict)
    monkeypatch.setattr(train, "TransformerTextEncoder", ())  # computes all texts at once
    objective.begin(0)
    objective(torch.arange(count))
    lengths, own = seen[0]
    without = [length == current for length, current in zip(lengths, own, strict=True)]
    assert 0.15 < np.mean(without) < 0.35
    assert set(own) == {5}
    assert set(lengths) == {5, 7}


def test_context_needs_an_encoder_that_separates_texts(toy_encoder: Path) -> None:
    with pytest.raises(UsageError, match=r"text\.context must be 0 for an embedding table, whose rows do not depend"):
        text_recipe({}, "table", context=2)
    with pytest.raises(UsageError, match=r"text\.context"):
        text_recipe({}, "encoder", context=9)
    base = make_encoder_input(toy_encoder)
    plain = TextInput(dataclasses.replace(base.tokenizer, special=False), base.text_encoder)
    with pytest.raises(UsageError, match=r"text\.context needs an encoder whose tokenizer ends each text"):
        select_layers(plain, "plain", TextRecipe(context=1), None)


def test_a_table_ignores_earlier_texts() -> None:
    tokenizer = make_table_input().tokenizer
    own = tokenizer.ids(["good film"])
    np.testing.assert_array_equal(tokenizer.append_earlier(own, [("bad",)])[0], own[0])
