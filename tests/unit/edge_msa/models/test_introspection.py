from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from edge_msa.models.almt import AhlAttention, Almt, AlmtConfig, ModalityEmbedding
from edge_msa.models.almt_layers import join_heads, split_heads
from edge_msa.models.hrlf import AttentionLayer, Hrlf, HrlfConfig, HrlfEncoder
from edge_msa.models.introspection import (
    GUIDED,
    almt_attention,
    almt_mean_tokens,
    hrlf_attention,
    joint_representation,
    student_attention,
)
from edge_msa.models.student import Student, StudentConfig
from edge_msa.models.student_encoder import StudentEncoder, find_gaps
from tests.tolerances import assert_close_to_scale

DIMS = {"language": 6, "audio": 5, "vision": 3}
LENGTHS = {"language": 7, "audio": 11, "vision": 9}
Inputs = tuple[dict[str, Tensor], dict[str, Tensor]]


@pytest.fixture
def inputs() -> Inputs:
    """Three samples: one without audio, others with gaps and padding."""
    generator = torch.Generator().manual_seed(1)
    frames = {name: torch.randn(3, LENGTHS[name], dim, generator=generator) for name, dim in DIMS.items()}
    valid = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in frames.items()}
    valid["audio"][1] = False
    valid["vision"][0, 5:] = False
    valid["language"][2, 1] = False
    return {name: values * valid[name][..., None] for name, values in frames.items()}, valid


def randomized(network: nn.Module) -> nn.Module:
    """A network without constant tensors: initial biases, norms and tokens of 0 or 1 could hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return network.eval()


def almt(*, share_ahl: bool = False) -> Almt:
    return cast("Almt", randomized(Almt(AlmtConfig(DIMS, LENGTHS, tokens=4, share_ahl=share_ahl))))


def calls(
    network: nn.Module, kind: type[nn.Module], inputs: Inputs
) -> list[tuple[nn.Module, tuple[Tensor, ...], Tensor]]:
    """(module, inputs, output) of every call of modules of a kind, in order."""
    recorded: list[tuple[nn.Module, tuple[Tensor, ...], Tensor]] = []
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda module, args, output: recorded.append((module, args, output)))
    with torch.no_grad():
        network(*inputs)
    return recorded


def test_almt_embedding_weights_reproduce_the_embeddings(inputs: Inputs) -> None:
    network = almt()
    weights = almt_attention(network, *inputs).embedding
    recorded_calls = calls(network, ModalityEmbedding, inputs)
    assert len(recorded_calls) == len(weights) == 3
    for (module, (projected,), output), weight in zip(recorded_calls, weights.values(), strict=True):
        embedding = cast("ModalityEmbedding", module)
        tokens, sequence = embedding.sequence(projected)
        attention, mlp = embedding.encoder.blocks()[0]
        attended = weight @ split_heads(attention.fn.to_v(attention.norm_v(sequence)))
        again = mlp(tokens + attention.fn.to_out(join_heads(attended)))
        assert_close_to_scale(again, output)
        assert_close_to_scale(weight.sum(dim=3), torch.ones(weight.shape[:3]))


@pytest.mark.parametrize("share_ahl", [False, True])
def test_ahl_weights_reproduce_the_ahl_outputs(inputs: Inputs, *, share_ahl: bool) -> None:
    network = almt(share_ahl=share_ahl)
    weights = almt_attention(network, *inputs).guided
    recorded_calls = calls(network, AhlAttention, inputs)
    assert len(recorded_calls) == 3
    for scale, (module, (_, audio, vision), output) in enumerate(recorded_calls):
        ahl = cast("AhlAttention", module)
        attended = weights["audio"][:, scale] @ split_heads(ahl.to_v_ta(audio))
        attended = attended + weights["vision"][:, scale] @ split_heads(ahl.to_v_tv(vision))
        assert_close_to_scale(ahl.to_out(join_heads(attended)), output)
    for name in GUIDED:
        assert weights[name].shape == (3, 3, 8, 4, 4)
        assert_close_to_scale(weights[name].sum(dim=4), torch.ones(3, 3, 8, 4))


def test_hrlf_weights_with_max_pooling_sum_to_one(inputs: Inputs) -> None:
    network = cast("Hrlf", randomized(Hrlf(HrlfConfig(DIMS, d=8, heads=2, layers=1, pooling="max"))))
    for name, weight in hrlf_attention(network, *inputs).items():
        assert weight.shape == (3, 2, inputs[0][name].shape[1])
        assert_close_to_scale(weight.sum(dim=2), torch.ones(3, 2))


@pytest.mark.parametrize("layers", [1, 2])
def test_hrlf_weights_reproduce_the_last_layer_outputs(inputs: Inputs, layers: int) -> None:
    network = cast("Hrlf", randomized(Hrlf(HrlfConfig(DIMS, d=8, heads=2, layers=layers))))
    weights = hrlf_attention(network, *inputs)
    last = [cast("AttentionLayer", cast("HrlfEncoder", part).layers[-1]) for part in network.encoders.values()]
    recorded_calls = [call for call in calls(network, AttentionLayer, inputs) if call[0] in last]
    for (module, (queries, hidden, extent), output), weight in zip(recorded_calls, weights.values(), strict=True):
        layer = cast("AttentionLayer", module)
        value = layer.value(hidden)
        by_head = value.view(*value.shape[:2], layer.heads, -1).transpose(1, 2)
        attended = weight[:, :, None] @ by_head
        middle = queries + layer.project(attended.transpose(1, 2).flatten(2))
        again = middle + layer.narrow(torch.relu(layer.widen(layer.forward_norm(middle))))
        assert_close_to_scale(again, output)
        assert_close_to_scale(weight.sum(dim=2), torch.ones(weight.shape[:2]))
        assert not weight.masked_select(~extent[:, None].expand_as(weight)).any()


def test_student_weights_reproduce_the_tokens(inputs: Inputs) -> None:
    frames, valid = inputs
    config = StudentConfig(DIMS, width=8, blocks=2, hidden=10, gap_frames=("language",))
    network = cast("Student", randomized(Student(config)))
    weights = student_attention(network, frames, valid)
    valid = {**valid, "language": valid["language"] | find_gaps(valid["language"])}
    assert valid["language"][2, 1]
    with torch.no_grad():
        tokens, _ = network.encode(frames, valid)
    scores: dict[nn.Module, str] = {cast("StudentEncoder", network.encoders[name]).score: name for name in weights}
    inputs_of = {scores[module]: args[0] for module, args, _ in calls(network, nn.Conv1d, inputs) if module in scores}
    for name, features in inputs_of.items():
        weight = weights[name]
        packed = torch.zeros_like(weight)
        for row, mask in enumerate(valid[name]):
            packed[row, :, : int(mask.sum())] = weight[row, :, mask]
            assert not weight[row, :, ~mask].any()
        assert_close_to_scale(packed @ features.transpose(1, 2), tokens[name])


def test_frames_of_one_row_share_its_weight(inputs: Inputs) -> None:
    frames, valid = inputs
    network = cast("Student", randomized(Student(StudentConfig(DIMS, width=8, blocks=2, hidden=10, stride=3))))
    for name, weight in student_attention(network, frames, valid).items():
        assert weight.shape == (*weight.shape[:2], frames[name].shape[1])
        for row, mask in enumerate(valid[name]):
            assert not weight[row, :, ~mask].any()
            attended, count = weight[row, :, mask], int(mask.sum())
            rows = torch.cat([attended[:, :1], *(attended[:, at : at + 3] for at in range(1, count - 2, 3))], dim=1)
            assert not attended[:, rows.shape[1] :].any()  # frames of an incomplete row
            if count:
                assert_close_to_scale(attended.sum(dim=1), torch.ones(len(attended)))
            for at in range(1, rows.shape[1], 3):
                assert (rows[:, at : at + 3] == rows[:, at : at + 1]).all()


@pytest.mark.parametrize("model", ["hrlf", "almt", "student"])
def test_prediction_is_linear_in_the_representation(inputs: Inputs, model: str) -> None:
    hrlf = cast("Hrlf", randomized(Hrlf(HrlfConfig(DIMS, d=8, heads=2))))
    student = cast("Student", randomized(Student(StudentConfig(DIMS, width=8, blocks=2, hidden=10))))
    teacher = almt()
    networks: dict[str, tuple[Hrlf | Almt | Student, nn.Module]] = {
        "hrlf": (hrlf, hrlf.classifier),
        "almt": (teacher, teacher.regression_layer),
        "student": (student, student.fusion.output),
    }
    network, last = networks[model]
    with torch.no_grad():
        assert_close_to_scale(last(joint_representation(network, *inputs)), network(*inputs))


def test_almt_mean_tokens_are_those_of_the_embeddings(inputs: Inputs) -> None:
    network = almt()
    means = almt_mean_tokens(network, *inputs)
    assert list(means) == ["language", "audio", "vision", "hyper-modality"]
    embedded = [output.mean(dim=1) for _, _, output in calls(network, ModalityEmbedding, inputs)]
    for name, expected in zip(DIMS, embedded, strict=True):
        assert_close_to_scale(means[name], expected.expand(3, -1))


def test_introspection_removes_its_hooks(inputs: Inputs) -> None:
    network = almt()
    almt_attention(network, *inputs)
    joint_representation(network, *inputs)
    assert not any(module._forward_hooks for module in network.modules())


def test_absent_modalities_have_weights_of_their_own_shape() -> None:
    network = cast("Almt", randomized(Almt(AlmtConfig({"language": 6, "audio": 5}, {"language": 7, "audio": 11}))))
    frames = {"language": torch.randn(2, 7, 6)}
    weights = almt_attention(network, frames, {"language": torch.ones(2, 7, dtype=torch.bool)})
    assert list(weights.embedding) == ["language", "audio"]
    assert weights.embedding["audio"].shape == (2, 8, 8, 8 + 11)
    assert weights.guided["vision"].shape == (2, 3, 8, 8, 8)
