from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from edge_msa.models.almt import AhlAttention, Almt, AlmtConfig, Embedding
from edge_msa.models.almt_layers import join_heads, split_heads
from edge_msa.models.hrlf import AttentionLayer, Hrlf, HrlfConfig, StreamEncoder
from edge_msa.models.internals import (
    GUIDED,
    almt_attention,
    almt_streams,
    hrlf_attention,
    read_vectors,
    student_attention,
)
from edge_msa.models.student import Student, StudentConfig
from edge_msa.models.student_encoder import Encoder

DIMS = {"language": 6, "audio": 5, "vision": 3}
LENGTHS = {"language": 7, "audio": 11, "vision": 9}
Given = tuple[dict[str, Tensor], dict[str, Tensor]]


@pytest.fixture
def given() -> Given:
    """Three samples, one without audio, frames missing in between and behind."""
    generator = torch.Generator().manual_seed(1)
    frames = {name: torch.randn(3, LENGTHS[name], dim, generator=generator) for name, dim in DIMS.items()}
    valid = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in frames.items()}
    valid["audio"][1] = False
    valid["vision"][0, 5:] = False
    valid["language"][2, 1] = False
    return {name: values * valid[name][..., None] for name, values in frames.items()}, valid


def shaken(network: nn.Module) -> nn.Module:
    """Every tensor says something: initial biases, norms and tokens would hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return network.eval()


def almt(*, share_ahl: bool = False) -> Almt:
    return cast("Almt", shaken(Almt(AlmtConfig(DIMS, LENGTHS, tokens=4, share_ahl=share_ahl))))


def calls(
    network: nn.Module, kind: type[nn.Module], given: Given
) -> list[tuple[nn.Module, tuple[Tensor, ...], Tensor]]:
    """(module, arguments, result) of every call of modules of that kind, in order."""
    found: list[tuple[nn.Module, tuple[Tensor, ...], Tensor]] = []
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda asked, args, answer: found.append((asked, args, answer)))
    with torch.no_grad():
        network(*given)
    return found


def test_almt_weights_times_values_are_what_its_embeddings_answer(given: Given) -> None:
    network = almt()
    weights = almt_attention(network, *given).embedding
    answered = calls(network, Embedding, given)
    assert len(answered) == len(weights) == 3
    for (module, (projected,), answer), weight in zip(answered, weights.values(), strict=True):
        embedding = cast("Embedding", module)
        tokens, sequence = embedding.sequence(projected)
        attention, mlp = embedding.encoder.pairs()[0]
        attended = weight @ split_heads(attention.fn.to_v(attention.norm_v(sequence)))
        again = mlp(tokens + attention.fn.to_out(join_heads(attended)))
        torch.testing.assert_close(again, answer, rtol=0, atol=1e-5)
        torch.testing.assert_close(weight.sum(dim=3), torch.ones(weight.shape[:3]))


@pytest.mark.parametrize("share_ahl", [False, True])
def test_ahl_weights_times_values_are_what_ahl_answers(given: Given, *, share_ahl: bool) -> None:
    network = almt(share_ahl=share_ahl)
    weights = almt_attention(network, *given).guided
    answered = calls(network, AhlAttention, given)
    assert len(answered) == 3
    for scale, (module, (_, audio, vision), answer) in enumerate(answered):
        ahl = cast("AhlAttention", module)
        attended = weights["audio"][:, scale] @ split_heads(ahl.to_v_ta(audio))
        attended = attended + weights["vision"][:, scale] @ split_heads(ahl.to_v_tv(vision))
        torch.testing.assert_close(ahl.to_out(join_heads(attended)), answer, rtol=0, atol=1e-5)
    for name in GUIDED:
        assert weights[name].shape == (3, 3, 8, 4, 4)
        torch.testing.assert_close(weights[name].sum(dim=4), torch.ones(3, 3, 8, 4))


def test_with_max_pooling_attention_is_the_mean_over_all_frames_that_ask(given: Given) -> None:
    network = cast("Hrlf", shaken(Hrlf(HrlfConfig(DIMS, d=8, heads=2, layers=1, pooling="max"))))
    for name, weight in hrlf_attention(network, *given).items():
        assert weight.shape == (3, 2, given[0][name].shape[1])
        torch.testing.assert_close(weight.sum(dim=2), torch.ones(3, 2))


@pytest.mark.parametrize("layers", [1, 2])
def test_hrlf_weights_times_values_are_what_its_last_layers_answer(given: Given, layers: int) -> None:
    network = cast("Hrlf", shaken(Hrlf(HrlfConfig(DIMS, d=8, heads=2, layers=layers))))
    weights = hrlf_attention(network, *given)
    last = [cast("AttentionLayer", cast("StreamEncoder", part).layers[-1]) for part in network.encoders.values()]
    answered = [call for call in calls(network, AttentionLayer, given) if call[0] in last]
    for (module, (asking, hidden, extent), answer), weight in zip(answered, weights.values(), strict=True):
        layer = cast("AttentionLayer", module)
        value = layer.value(hidden)
        by_head = value.view(*value.shape[:2], layer.heads, -1).transpose(1, 2)
        attended = weight[:, :, None] @ by_head
        asked = asking + layer.project(attended.transpose(1, 2).flatten(2))
        again = asked + layer.narrow(torch.relu(layer.widen(layer.forward_norm(asked))))
        torch.testing.assert_close(again, answer, rtol=0, atol=1e-5)
        torch.testing.assert_close(weight.sum(dim=2), torch.ones(weight.shape[:2]))
        assert not weight.masked_select(~extent[:, None].expand_as(weight)).any()


def test_student_weights_times_features_are_its_tokens(given: Given) -> None:
    frames, valid = given
    network = cast("Student", shaken(Student(StudentConfig(DIMS, width=8, blocks=2, hidden=10))))
    weights = student_attention(network, frames, valid)
    with torch.no_grad():
        tokens, _ = network.encode(frames, valid)
    scores: dict[nn.Module, str] = {cast("Encoder", network.encoders[name]).score: name for name in weights}
    asked = {scores[module]: args[0] for module, args, _ in calls(network, nn.Conv1d, given) if module in scores}
    for name, features in asked.items():
        weight = weights[name]
        packed = torch.zeros_like(weight)
        for row, mask in enumerate(valid[name]):
            packed[row, :, : int(mask.sum())] = weight[row, :, mask]
            assert not weight[row, :, ~mask].any()
        torch.testing.assert_close(packed @ features.transpose(1, 2), tokens[name], rtol=0, atol=1e-5)


def test_frames_of_one_row_share_what_the_row_is_heard(given: Given) -> None:
    frames, valid = given
    network = cast("Student", shaken(Student(StudentConfig(DIMS, width=8, blocks=2, hidden=10, stride=3))))
    for name, weight in student_attention(network, frames, valid).items():
        assert weight.shape == (*weight.shape[:2], frames[name].shape[1])
        for row, mask in enumerate(valid[name]):
            assert not weight[row, :, ~mask].any()
            attended, count = weight[row, :, mask], int(mask.sum())
            rows = torch.cat([attended[:, :1], *(attended[:, at : at + 3] for at in range(1, count - 2, 3))], dim=1)
            assert not attended[:, rows.shape[1] :].any()  # they wait for a row that is not full
            if count:
                torch.testing.assert_close(attended.sum(dim=1), torch.ones(len(attended)))
            for at in range(1, rows.shape[1], 3):
                assert (rows[:, at : at + 3] == rows[:, at : at + 1]).all()


@pytest.mark.parametrize("model", ["hrlf", "almt", "student"])
def test_the_answer_is_linear_in_the_vectors_that_are_read(given: Given, model: str) -> None:
    hrlf = cast("Hrlf", shaken(Hrlf(HrlfConfig(DIMS, d=8, heads=2))))
    student = cast("Student", shaken(Student(StudentConfig(DIMS, width=8, blocks=2, hidden=10))))
    teacher = almt()
    networks: dict[str, tuple[Hrlf | Almt | Student, nn.Module]] = {
        "hrlf": (hrlf, hrlf.classifier),
        "almt": (teacher, teacher.regression_layer),
        "student": (student, student.fusion.read),
    }
    network, last = networks[model]
    with torch.no_grad():
        torch.testing.assert_close(last(read_vectors(network, *given)), network(*given))


def test_almt_streams_are_the_mean_tokens_that_ahl_hears_and_makes(given: Given) -> None:
    network = almt()
    streams = almt_streams(network, *given)
    assert list(streams) == ["language", "audio", "vision", "hyper-modality"]
    embedded = [answer.mean(dim=1) for _, _, answer in calls(network, Embedding, given)]
    for name, expected in zip(DIMS, embedded, strict=True):
        torch.testing.assert_close(streams[name], expected.expand(3, -1))


def test_looking_leaves_no_hook_behind(given: Given) -> None:
    network = almt()
    almt_attention(network, *given)
    read_vectors(network, *given)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_modality_that_the_data_lacks_is_not_looked_at() -> None:
    network = cast("Almt", shaken(Almt(AlmtConfig({"language": 6, "audio": 5}, {"language": 7, "audio": 11}))))
    frames = {"language": torch.randn(2, 7, 6)}
    weights = almt_attention(network, frames, {"language": torch.ones(2, 7, dtype=torch.bool)})
    assert list(weights.embedding) == ["language", "audio"]
    assert weights.embedding["audio"].shape == (2, 8, 8, 8 + 11)
    assert weights.guided["vision"].shape == (2, 3, 8, 8, 8)
