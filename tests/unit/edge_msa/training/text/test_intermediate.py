"""Distillation of hidden states and self-attention relations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_msa.config.students import IntermediateTargets, TextRecipe
from edge_msa.data.tasks import MOSI
from edge_msa.errors import UsageError
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import TextModel
from edge_msa.training.context import Hardware
from edge_msa.training.text import train
from edge_msa.training.text.intermediate import (
    IntermediateLoss,
    IntermediateTeacher,
    check_same_tokens,
    encode_with_states,
    relation_divergence,
)
from edge_msa.training.text.train import Corpus, TextObjective, fit_text_model
from tests.tolerances import assert_close_to_scale
from tests.unit.edge_msa.training.text.toy_text import (
    STAGE,
    encoder_of,
    make_encoder_input,
    make_table_input,
    make_teacher_input,
    split_of,
)

BOTH = IntermediateTargets(hidden=0.5, relations=2.0, relation_heads=2)
TEXTS = ("i love it", "not at all", "love it all", "i not it at all")
LABELS = np.arange(4, dtype=np.float32)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(scores - scores.max())
    return np.asarray(exponentials / exponentials.sum(), np.float64)


def test_relations_follow_the_equations_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    own, target = torch.randn(2, 4, 6, generator=generator), torch.randn(2, 4, 10, generator=generator)
    valid, heads = torch.tensor([[True] * 4, [True, True, False, False]]), 2
    expected = np.zeros(2)
    for text, count in enumerate((4, 2)):
        for head in range(heads):
            for token in range(count):
                rows = []
                for vectors in (own, target):
                    width = vectors.shape[2] // heads
                    part = vectors[text, :count, head * width : (head + 1) * width].double().numpy()
                    rows.append(softmax(part @ part[token] / np.sqrt(width)))
                expected[text] += (rows[1] * np.log(rows[1] / rows[0])).sum() / heads
    np.testing.assert_allclose(relation_divergence(own, target, valid, heads).numpy(), expected, rtol=1e-5)


def test_terms_of_a_text_do_not_depend_on_padding_and_gradients_are_finite(toy_encoder: Path) -> None:
    student, other = make_encoder_input(toy_encoder), make_teacher_input(toy_encoder)
    encoder, teacher = encoder_of(student).eval(), IntermediateTeacher(encoder_of(other), BOTH)
    loss = IntermediateLoss(encoder, teacher)

    def terms(texts: tuple[str, ...]) -> torch.Tensor:
        ids, valid = student.batch(student.tokenizer.ids(texts))
        result: torch.Tensor = loss(encode_with_states(encoder, ids, valid, -1), teacher(ids, valid), valid)
        return result

    together = terms(("not", "i love it at all", ""))
    assert together.shape == (3, 2)
    assert not together[2].any()
    assert_close_to_scale(together[:1], terms(("not",)))
    weights = [*encoder.parameters(), *loss.parameters()]
    gradients = [item for item in torch.autograd.grad(together.sum(), weights, allow_unused=True) if item is not None]
    assert len(gradients) > 10
    assert all(torch.isfinite(item).all() for item in gradients)


def test_a_student_that_equals_the_teacher_has_no_loss(toy_encoder: Path) -> None:
    student, other = make_encoder_input(toy_encoder), make_encoder_input(toy_encoder)
    config = BOTH.model_copy(update={"relation_layer": 1})
    encoder, teacher = encoder_of(student).eval(), IntermediateTeacher(encoder_of(other), config)
    loss = IntermediateLoss(encoder, teacher)
    ids, valid = student.batch(student.tokenizer.ids(TEXTS))
    terms = loss(encode_with_states(encoder, ids, valid, -1), teacher(ids, valid), valid)
    torch.testing.assert_close(terms, torch.zeros_like(terms), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("layers", "chosen"), [(3, 2), (12, 10), (24, 20)])
def test_relations_come_from_one_of_the_last_layers_by_default(toy_encoder: Path, layers: int, chosen: int) -> None:
    encoder = encoder_of(make_teacher_input(toy_encoder, width=8, layers=layers))
    teacher = IntermediateTeacher(encoder, IntermediateTargets(relations=1.0))
    assert encoder.layers == chosen + 1  # later layers are not computed
    assert not encoder.training
    ids, valid = make_encoder_input(toy_encoder).batch([np.array([1, 2, 3])])
    states = teacher(ids, valid)
    assert states.queries is not None
    assert not states.queries.requires_grad


def test_unusable_heads_layers_and_tokens_raise_an_error(toy_encoder: Path) -> None:
    def teacher(**settings: int) -> IntermediateTeacher:
        config = IntermediateTargets(relations=1.0, **settings)
        return IntermediateTeacher(encoder_of(make_teacher_input(toy_encoder)), config)

    with pytest.raises(UsageError, match=r"relation_layer must be .* from 0 to 2, got 3"):
        teacher(relation_layer=3)
    with pytest.raises(UsageError, match="must divide the width of the first teacher's attention, 24, got 5"):
        teacher(relation_heads=5)
    with pytest.raises(UsageError, match="must divide the width of the student's attention, 16, got 3"):
        IntermediateLoss(encoder_of(make_encoder_input(toy_encoder)), teacher(relation_heads=3))
    with pytest.raises(UsageError, match="teacher-0 splits texts differently"):
        check_same_tokens(make_table_input(), make_encoder_input(toy_encoder), TEXTS, "teacher-0")
    check_same_tokens(make_teacher_input(toy_encoder), make_encoder_input(toy_encoder), TEXTS, "teacher-0")


def test_parts_of_a_batch_have_the_gradients_of_the_whole(toy_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, context = TextRecipe(width=8, hidden=8, intermediate=BOTH), Hardware("cpu").start()
    gradients, terms = [], []
    for limit in (1024, 16):
        monkeypatch.setattr(train, "TOKENS_PER_PASS", limit)
        student = make_encoder_input(toy_encoder)
        teacher = IntermediateTeacher(encoder_of(make_teacher_input(toy_encoder)), BOTH)
        torch.manual_seed(0)
        model = TextModel(student.text_encoder, Student(recipe.network_config(16, MOSI))).eval()
        corpus, valid = Corpus(TEXTS, LABELS, LABELS), split_of(TEXTS, LABELS)
        objective = TextObjective(model, student, corpus, valid, MOSI, recipe, STAGE, 0, context, teacher)
        terms.append(objective(torch.arange(4)))
        terms[-1]["loss"].backward()
        gradients.append({name: item.grad for name, item in objective.named_parameters() if item.grad is not None})
        assert not any("teacher" in name for name in objective.state_dict())
    assert "intermediate.projection.weight" in gradients[0]
    expected = terms[0]["teachers"] + 0.5 * terms[0]["hidden"] + 2.0 * terms[0]["relations"]
    assert_close_to_scale(terms[0]["loss"], expected)
    for name, value in gradients[0].items():
        assert_close_to_scale(gradients[1][name], value, scale=max(float(value.abs().max()), 1e-3))


def test_training_brings_the_student_closer_in_the_transfer_stage_only(toy_encoder: Path, tmp_path: Path) -> None:
    stage = STAGE.model_copy(update={"epochs": 12})
    final = STAGE.model_copy(update={"epochs": 1})
    recipe = TextRecipe(width=8, hidden=8, transfer=stage, final=final, intermediate=BOTH)
    corpora = {name: Corpus(TEXTS, LABELS, LABELS) for name in ("transfer", "final")}
    result = fit_text_model(
        make_encoder_input(toy_encoder),
        corpora,
        split_of(TEXTS, LABELS),
        MOSI,
        recipe,
        seed=0,
        context=Hardware("cpu").start(),
        work_dir=tmp_path,
        teacher=IntermediateTeacher(encoder_of(make_teacher_input(toy_encoder)), BOTH),
    )
    first, *_, last, final_row = result.log
    for name in ("hidden", "relations"):
        assert float(last[name]) < 0.7 * float(first[name])
        assert name not in final_row
