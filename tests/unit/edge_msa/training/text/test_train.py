from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edge_msa.config.students import TextRecipe, TextStage
from edge_msa.data.tasks import MOSI, Task
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import TextModel, TransformerTextEncoder
from edge_msa.training.context import Hardware
from edge_msa.training.loop import _parameter_groups
from edge_msa.training.text import train
from edge_msa.training.text.text_input import TextInput
from edge_msa.training.text.train import Corpus, TextObjective, fit_text_model, predict_texts
from tests.tolerances import assert_close_to_scale
from tests.unit.edge_msa.training.text.toy_text import (
    LABELS,
    QUICK,
    STAGE,
    TEXTS,
    encoder_of,
    make_encoder_input,
    make_table_input,
    split_of,
)


def trained(corpora: dict[str, Corpus], work: Path, recipe: TextRecipe = QUICK) -> tuple[TextModel, TextInput]:
    text_input = make_table_input(recipe.dim)
    context = Hardware("cpu").start()
    valid = split_of(TEXTS, LABELS)
    result = fit_text_model(text_input, corpora, valid, MOSI, recipe, seed=0, context=context, work_dir=work)
    student = Student(result.config)
    student.load_state_dict({name: torch.from_numpy(value) for name, value in result.weights.items()})
    return TextModel(result.text_input.text_encoder, student), result.text_input


def test_text_model_learns_from_labels(tmp_path: Path) -> None:
    predictions = predict_texts(*trained({"final": Corpus(TEXTS, LABELS)}, tmp_path), ["good", "bad"])
    assert predictions[0, 0] > 1 > -1 > predictions[1, 0]


def test_unlabeled_texts_use_only_the_teachers(tmp_path: Path) -> None:
    unlabeled = Corpus(TEXTS, np.full(6, np.nan, np.float32), LABELS)
    predictions = predict_texts(*trained({"transfer": unlabeled}, tmp_path), ["good", "bad"])
    assert predictions[0, 0] > 1 > -1 > predictions[1, 0]


def test_text_model_learns_classes_from_labels_and_from_teachers(tmp_path: Path) -> None:
    task = Task("classes", ("negative", "positive"))
    labels = (LABELS > 0).astype(np.float32)
    unlabeled = np.full(6, np.nan, np.float32)
    probabilities = np.stack([1 - labels, labels], axis=1) * np.float32(0.8) + np.float32(0.1)
    for name, corpus in (("labels", Corpus(TEXTS, labels)), ("teachers", Corpus(TEXTS, unlabeled, probabilities))):
        text_input = make_table_input(QUICK.dim)
        valid = split_of(TEXTS, labels)
        recipe = QUICK.updated({"class_weights": "balanced"}, where="text")
        corpora = {"final" if name == "labels" else "transfer": corpus}
        work, context = tmp_path / name, Hardware("cpu").start()
        result = fit_text_model(text_input, corpora, valid, task, recipe, seed=0, context=context, work_dir=work)
        student = Student(result.config)
        student.load_state_dict({key: torch.from_numpy(value) for key, value in result.weights.items()})
        model = TextModel(result.text_input.text_encoder, student)
        predictions = predict_texts(model, result.text_input, ["good", "bad"])
        assert predictions.argmax(axis=1).tolist() == [1, 0]


def test_a_final_stage_that_raises_the_validation_error_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = Corpus(TEXTS, LABELS), Corpus(TEXTS, -LABELS)
    expected = predict_texts(*trained({"transfer": good}, tmp_path / "one"), TEXTS)
    recipe = QUICK.updated({"final": {"learning_rate": 0.5, "epochs": 1, "teacher_share": 0.0}}, where="text")
    kept = trained({"transfer": good, "final": bad}, tmp_path / "two", recipe)
    assert np.array_equal(predict_texts(*kept, TEXTS), expected)
    assert "the final stage does not lower the validation error" in caplog.text


def test_resumed_training_gives_identical_weights(tmp_path: Path) -> None:
    corpora = {"transfer": Corpus(TEXTS, LABELS), "final": Corpus(TEXTS, LABELS)}
    recipe = TextRecipe(
        dim=8,
        width=8,
        hidden=8,
        unknown_rate=0.2,
        transfer=TextStage(epochs=2, learning_rate=1e-2),
        final=TextStage(epochs=2, learning_rate=1e-2),
    )
    once, _ = trained(corpora, tmp_path / "once", recipe)
    trained({"transfer": corpora["transfer"]}, tmp_path / "twice", recipe)
    twice, _ = trained(corpora, tmp_path / "twice", recipe)
    for name, value in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], value, rtol=0, atol=0)


def test_encoder_is_trained_with_frozen_word_embeddings(toy_encoder: Path, tmp_path: Path) -> None:
    loaded = load_encoder(str(toy_encoder))
    tokenizer = TextTokenizer(loaded.tokenizer, 16, special=True)
    text_encoder = TransformerTextEncoder(loaded.model)
    before = {name: value.clone() for name, value in text_encoder.state_dict().items()}
    corpora = {"final": Corpus(("i love it", "not at all"), np.array([2.0, -2.0], np.float32))}
    recipe = TextRecipe(width=8, hidden=8, final=TextStage(epochs=2, learning_rate=1e-3))
    valid = split_of(("love", "not"), np.array([2.0, -2.0], np.float32))
    context = Hardware("cpu").start()
    fit_text_model(
        TextInput(tokenizer, text_encoder), corpora, valid, MOSI, recipe, seed=0, context=context, work_dir=tmp_path
    )
    after = text_encoder.state_dict()
    assert torch.equal(
        after["encoder.embeddings.word_embeddings.weight"], before["encoder.embeddings.word_embeddings.weight"]
    )
    changed = "encoder.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(after[changed], before[changed])


def test_predictions_do_not_depend_on_the_batch(toy_encoder: Path) -> None:
    text_input = make_encoder_input(toy_encoder)
    torch.manual_seed(0)
    model = TextModel(text_input.text_encoder, Student(QUICK.network_config(text_input.text_encoder.dim, MOSI)))
    texts = ["i love it", "not", "at all", "i love it not at all"]
    together = predict_texts(model, text_input, texts)
    alone = np.concatenate([predict_texts(model, text_input, [text]) for text in texts])
    assert_close_to_scale(torch.from_numpy(together), torch.from_numpy(alone))


@pytest.mark.case("F27")
def test_long_texts_are_computed_in_parts_with_the_same_gradients(
    toy_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, labels = ("i love it", "not at all", "love it all", "i not it at all"), np.arange(4, dtype=np.float32)
    recipe = TextRecipe(width=8, hidden=8)
    context, tokens = Hardware("cpu").start(), []
    gradients = []
    for limit in (1024, 16):
        monkeypatch.setattr(train, "TOKENS_PER_PASS", limit)
        text_input = make_encoder_input(toy_encoder)
        text_input.text_encoder.register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0].numel()))
        torch.manual_seed(0)
        model = TextModel(text_input.text_encoder, Student(recipe.network_config(text_input.text_encoder.dim, MOSI)))
        objective = TextObjective(
            model.eval(), text_input, Corpus(texts, labels), split_of(texts, labels), MOSI, recipe, STAGE, 0, context
        )
        objective(torch.arange(4))["loss"].backward()
        gradients.append({name: item.grad for name, item in model.named_parameters() if item.grad is not None})
    assert tokens == [4 * 7] + 4 * [2 * 7]  # each part twice: forward and backward
    for name, value in gradients[0].items():
        assert_close_to_scale(gradients[1][name], value, scale=max(float(value.abs().max()), 1e-3))


def make_objective(text_input: TextInput, recipe: TextRecipe, corpus: Corpus | None = None) -> TextObjective:
    corpus = corpus or Corpus(("i love it", "not at all", "love it all", "not"), np.arange(4, dtype=np.float32))
    torch.manual_seed(0)
    model = TextModel(text_input.text_encoder, Student(recipe.network_config(text_input.text_encoder.dim, MOSI)))
    valid = split_of(("love", "not"), np.array([2.0, -2.0], np.float32))
    return TextObjective(model, text_input, corpus, valid, MOSI, recipe, STAGE, 0, Hardware("cpu").start())


def test_lower_layers_learn_slower(toy_encoder: Path) -> None:
    objective = make_objective(make_encoder_input(toy_encoder), TextRecipe(width=8, hidden=8, layer_decay=0.5))
    groups = _parameter_groups(objective)
    factor_of = {id(item): group["factor"] for group in groups for item in group["params"]}
    factors = {name: factor_of[id(item)] for name, item in objective.model.named_parameters()}
    layers = "text_encoder.encoder.encoder.layer."
    assert {factor for name, factor in factors.items() if name.startswith(layers + "1.")} == {1.0}
    assert {factor for name, factor in factors.items() if name.startswith(layers + "0.")} == {0.5}
    assert {factor for name, factor in factors.items() if ".embeddings." in name} == {0.25}
    assert {factor for name, factor in factors.items() if name.startswith("student.")} == {10.0}


def test_encoder_has_the_dropout_rate_of_the_recipe(toy_encoder: Path, tmp_path: Path) -> None:
    text_input = make_encoder_input(toy_encoder)
    corpora = {"final": Corpus(("i love it", "not at all"), np.array([2.0, -2.0], np.float32))}
    recipe = TextRecipe(width=8, hidden=8, encoder_dropout=0.25, final=TextStage(epochs=1, learning_rate=1e-3))
    context, valid = Hardware("cpu").start(), split_of(("love", "not"), np.array([2.0, -2.0], np.float32))
    fit_text_model(text_input, corpora, valid, MOSI, recipe, seed=0, context=context, work_dir=tmp_path)
    rates = [module.p for module in text_input.text_encoder.modules() if isinstance(module, nn.Dropout)]
    assert set(rates) == {0.25}
    assert len(rates) == 1 + 2 * 3  # the embeddings, and attention, its output and the output of each layer


def test_r_drop_adds_the_difference_of_two_passes(toy_encoder: Path) -> None:
    recipe = TextRecipe(width=8, hidden=8, dropout=0.5, r_drop=3.0)
    objective = make_objective(make_encoder_input(toy_encoder), recipe)
    terms = objective.train()(torch.arange(4))
    assert terms["consistency"] > 0
    torch.testing.assert_close(terms["loss"], terms["labels"] + 3 * terms["consistency"])
    without_dropout = objective.eval()(torch.arange(4))
    assert without_dropout["consistency"] < 1e-10
    plain = make_objective(make_encoder_input(toy_encoder), TextRecipe(width=8, hidden=8)).eval()(torch.arange(4))
    torch.testing.assert_close(without_dropout["labels"], plain["labels"])


def test_texts_are_changed_in_every_epoch_only_without_teachers(toy_encoder: Path) -> None:
    text_input, labels = make_encoder_input(toy_encoder), np.zeros(2, np.float32)
    texts = ("i love it all i love it", "not at all not it at")
    recipe = TextRecipe(width=8, hidden=8, augment=1.0)
    lengths = []
    text_input.text_encoder.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[1].sum().item()))
    for corpus in (Corpus(texts, labels), Corpus(texts, labels, labels)):
        objective = make_objective(text_input, recipe, corpus)
        for epoch in range(8):
            objective.begin(epoch)
            objective(torch.arange(2))
    whole = 7 + 6 + 2 * 2  # with two special tokens each
    assert len(set(lengths[:8])) > 1
    assert set(lengths[8:]) == {whole}


@pytest.mark.parametrize(("has_bf16", "count"), [(True, 1), (False, 0)])
def test_a_processor_with_bf16_is_noted_for_wide_encoders(
    has_bf16: bool, count: int, toy_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "cpu_has_bf16", lambda: has_bf16)
    encoder = encoder_of(make_encoder_input(toy_encoder))
    context = Hardware("cpu").start()
    assert train._faster_precision(encoder, context) == []
    monkeypatch.setattr(train, "_BF16_WIDTH", encoder.dim)
    assert len(train._faster_precision(encoder, context)) == count
    assert train._faster_precision(encoder, Hardware("cpu", "bf16").start()) == []
