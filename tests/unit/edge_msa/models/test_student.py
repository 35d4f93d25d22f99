from __future__ import annotations

import dataclasses
import json
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_msa.models.student import ModalitySizes, Student, StudentConfig, untrained_student
from edge_msa.models.student_encoder import EncoderState, StudentEncoder, compact, find_gaps
from edge_msa_runtime.inputs.gaps import pack_frames
from edge_msa_runtime.modalities import Subset
from tests.tolerances import assert_close_to_scale, relative_error

DIMS = {"language": 5, "audio": 4, "vision": 3}
LENGTHS = {"language": 9, "audio": 20, "vision": 14}


# Plain; a stride that divides none of the lengths; a GRU; both.
OVERRIDES = [
    ModalitySizes(),
    ModalitySizes(stride=3),
    ModalitySizes(recurrence="gru"),
    ModalitySizes(width=5, stride=4, recurrence="gru"),
]
with_overrides = pytest.mark.parametrize("override", OVERRIDES, ids=["plain", "stride", "gru", "all"])


def network(dims: dict[str, int] | None = None, outputs: int = 2, override: ModalitySizes | None = None) -> Student:
    torch.manual_seed(0)
    names = dims or DIMS
    config = StudentConfig(
        names,
        width=8,
        blocks=3,
        tokens=3,
        hidden=12,
        outputs=outputs,
        overrides=dict.fromkeys(names, override or ModalitySizes()),
    )
    return Student(config).eval()


def sample(count: int = 3, seed: int = 1, dims: dict[str, int] | None = None) -> tuple[dict[str, Tensor], ...]:
    """Frames, and masks with gaps; every sample has every modality."""
    generator = torch.Generator().manual_seed(seed)
    names = dims or DIMS
    frames = {name: torch.randn(count, LENGTHS[name], dim, generator=generator) for name, dim in names.items()}
    valid = {name: torch.rand(count, LENGTHS[name], generator=generator) < 0.6 for name in names}
    for mask in valid.values():
        mask[:, 3] = True
    return frames, valid


def encoder_of(student: Student, name: str) -> StudentEncoder:
    return cast("StudentEncoder", student.encoders[name])


def stream(encoder: StudentEncoder, frames: Tensor, valid: Tensor, sizes: list[int]) -> EncoderState:
    """The state after encoding the frames in chunks of these sizes, without masked frames, as on a device."""
    state, start = encoder.initial_state(len(frames)), 0
    for size in sizes:
        chunk = slice(start, start + size)
        state = encoder(*compact(frames[:, chunk], valid[:, chunk]), state)
        start += size
    assert start == frames.shape[1]
    return state


@with_overrides
@pytest.mark.parametrize("sizes", [[1] * 20, [7, 7, 6], [19, 1], [2, 18]], ids=str)
def test_chunks_give_the_tokens_of_the_whole(sizes: list[int], override: ModalitySizes) -> None:
    encoder = encoder_of(network(override=override), "audio")
    frames, valid = (part["audio"] for part in sample())
    whole = stream(encoder, frames, valid, [20])
    chunked = stream(encoder, frames, valid, sizes)
    for name, value in whole.named().items():
        assert_close_to_scale(chunked.named()[name], value)
    assert_close_to_scale(encoder.encode_whole(*compact(frames, valid)), whole.tokens)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_rows_are_complete_with_their_last_frame(count: int) -> None:
    encoder = encoder_of(network(override=ModalitySizes(stride=4)), "audio")
    frames = sample()[0]["audio"][:, :count]
    rows = (count + 3) // 4
    used = 4 * rows - 3
    every = torch.ones(3, count)
    tokens = encoder.encode_whole(frames, every)
    assert_close_to_scale(tokens, encoder.encode_whole(frames[:, :used], every[:, :used]))
    last = frames.clone()
    last[:, used - 1] += 1
    assert relative_error(tokens, encoder.encode_whole(last, every)) > 1e-4


@with_overrides
def test_chunks_give_the_prediction_of_the_whole(override: ModalitySizes) -> None:
    student = network(override=override)
    frames, valid = sample()
    sizes = {"language": [4, 4, 1], "audio": [8, 12], "vision": [1, 13]}
    tokens = {name: stream(encoder_of(student, name), frames[name], valid[name], sizes[name]).tokens for name in DIMS}
    assert_close_to_scale(student.fusion(tokens, torch.ones(3, 3)), student(frames, valid))


@with_overrides
def test_masked_frames_do_not_change_the_state(override: ModalitySizes) -> None:
    encoder = encoder_of(network(override=override), "audio")
    frames, valid = (part["audio"] for part in sample())
    before = encoder(*compact(frames, valid), encoder.initial_state(3))
    after = encoder(torch.full((3, 6, 4), 1e3), torch.zeros(3, 6), before)
    for name, value in before.named().items():
        assert_close_to_scale(after.named()[name], value, rtol=1e-6)


@with_overrides
def test_padding_in_a_chunk_is_ignored(override: ModalitySizes) -> None:
    encoder = encoder_of(network(override=override), "audio")
    frames = sample()[0]["audio"]
    prefix = (torch.arange(20) < 12).float().expand(3, -1)
    expected = encoder(frames[:, :12], torch.ones(3, 12), encoder.initial_state(3))
    actual = encoder(frames, prefix, encoder.initial_state(3))
    for name, value in expected.named().items():
        assert_close_to_scale(actual.named()[name], value)


def test_masked_frames_equal_removed_frames() -> None:
    student = network()
    frames, valid = sample(count=1)
    kept = {name: rows[:, valid[name][0]] for name, rows in frames.items()}
    whole = {name: torch.ones(rows.shape[:2], dtype=torch.bool) for name, rows in kept.items()}
    assert_close_to_scale(student(frames, valid), student(kept, whole))


@pytest.mark.parametrize("subset", [subset for subset in Subset if subset is not Subset.LAV])
def test_masked_modality_equals_an_omitted_one(subset: Subset) -> None:
    student = network()
    frames, valid = sample()
    masked = {name: mask & (name in subset.modalities) for name, mask in valid.items()}
    rest = {name: frames[name] for name in subset.modalities}, {name: valid[name] for name in subset.modalities}
    prediction = student(frames, masked)
    assert_close_to_scale(prediction, student(*rest))
    assert relative_error(prediction, student(frames, valid)) > 1e-4


def test_samples_of_a_batch_can_lack_different_modalities() -> None:
    student = network()
    frames, valid = sample()
    valid["audio"][0] = False
    valid["language"][1] = False
    together = student(frames, valid)
    for row in range(3):
        alone = {name: rows[row : row + 1] for name, rows in frames.items()}
        masks = {name: mask[row : row + 1] for name, mask in valid.items()}
        assert_close_to_scale(together[row : row + 1], student(alone, masks))


def test_fusion_without_availability_equals_that_with_all_available() -> None:
    student = network()
    tokens = {name: torch.randn(3, 3, 8) for name in DIMS}
    available = torch.ones(3, 3)
    assert_close_to_scale(student.fusion(tokens), student.fusion(tokens, available))
    del tokens["audio"]
    available[:, 1] = 0
    assert_close_to_scale(student.fusion(tokens), student.fusion(tokens, available))


def test_modality_of_zeros_differs_from_an_absent_one() -> None:
    student = network()
    frames, valid = sample()
    zeros = student(frames | {"vision": torch.zeros_like(frames["vision"])}, valid)
    absent = student(frames, valid | {"vision": torch.zeros_like(valid["vision"])})
    assert relative_error(zeros, absent) > 1e-4


def test_masked_frames_do_not_change_the_prediction() -> None:
    student = network()
    frames, valid = sample()
    changed = {name: torch.where(valid[name][..., None], rows, 100.0) for name, rows in frames.items()}
    assert_close_to_scale(student(changed, valid), student(frames, valid))


def test_later_frames_do_not_change_earlier_tokens() -> None:
    encoder = encoder_of(network(), "vision")
    frames = sample()[0]["vision"]
    early = encoder(frames[:, :8], torch.ones(3, 8), encoder.initial_state(3))
    other = torch.cat([frames[:, :8], frames[:, 8:] + 5], dim=1)
    state = stream(encoder, other[:, :8], torch.ones(3, 8, dtype=torch.bool), [3, 5])
    assert_close_to_scale(state.tokens, early.tokens)


def test_order_of_frames_matters() -> None:
    student = network()
    frames, valid = sample()
    full = {name: torch.ones_like(mask) for name, mask in valid.items()}
    reversed_frames = frames | {"language": frames["language"].flip(1)}
    assert relative_error(student(frames, full), student(reversed_frames, full)) > 1e-4


@with_overrides
def test_gradients_reach_every_weight(override: ModalitySizes) -> None:
    student = network(override=override).train()
    frames, valid = sample()
    valid["language"][0] = False  # so that the default query is used as well
    student(frames, valid).sum().backward()
    without_gradient = [
        name for name, weight in student.named_parameters() if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert without_gradient == []


def test_network_without_language_predicts() -> None:
    dims = {"audio": 4, "vision": 3}
    frames, valid = sample(dims=dims)
    assert network(dims)(frames, valid).shape == (3, 2)


def test_prediction_without_valid_frames_is_finite() -> None:
    student = network()
    frames, valid = sample()
    nothing = {name: torch.zeros_like(mask) for name, mask in valid.items()}
    assert torch.isfinite(student(frames, nothing)).all()


@with_overrides
def test_state_survives_conversion_to_names(override: ModalitySizes) -> None:
    state = encoder_of(network(override=override), "audio").initial_state(2)
    optional = (["hidden"] if override.recurrence else []) + (["pending", "phase"] if override.stride else [])
    assert list(state.named()) == ["conv0", "conv1", "conv2", "peak", "mass", "tokens", *optional]
    width = override.width or 8
    assert [tuple(conv.shape) for conv in state.convs] == [(2, width, 2), (2, width, 4), (2, width, 8)]
    again = EncoderState.from_named(state.named())
    assert all(value is state.named()[name] for name, value in again.named().items())


def test_overrides_survive_json() -> None:
    overrides = {"language": ModalitySizes(width=24, blocks=1, recurrence="gru"), "vision": ModalitySizes(stride=2)}
    config = StudentConfig(DIMS, width=8, overrides=overrides, gap_frames=("language", "vision"))
    torch.manual_seed(0)
    student = Student(config).eval()
    widths = {name: tuple(encoder_of(student, name).initial_state(1).tokens.shape) for name in DIMS}
    assert widths == {"language": (1, 4, 24), "audio": (1, 4, 8), "vision": (1, 4, 8)}
    assert [len(encoder_of(student, name).blocks) for name in DIMS] == [1, 3, 3]
    again = StudentConfig(**json.loads(json.dumps(dataclasses.asdict(config))))
    assert again == config
    frames, valid = sample()
    assert student(frames, valid).shape == (3, 1)


def test_compacting_keeps_the_order_of_frames() -> None:
    frames = torch.arange(1.0, 9.0).reshape(2, 4, 1)
    valid = torch.tensor([[False, True, False, True], [True, True, True, False]])
    packed, prefix = compact(frames, valid)
    assert packed[..., 0].tolist() == [[2, 4, 0, 0], [5, 6, 7, 0]]
    assert prefix.tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]


def test_gap_frames_are_where_the_runtime_puts_them() -> None:
    generator = torch.Generator().manual_seed(3)
    frames = torch.randn(200, 7, 2, generator=generator)
    valid = torch.rand(200, 7, generator=generator) < 0.5
    packed, prefix = compact(frames, valid, gap_frames=True)
    for row, mask in enumerate(valid.numpy()):
        rows = pack_frames(frames[row].numpy(), mask, np.zeros(2, np.float32))
        assert packed[row, : len(rows)].tolist() == rows.tolist()
        assert prefix[row].tolist() == [1.0] * len(rows) + [0.0] * (7 - len(rows))
        assert not packed[row, len(rows) :].any()
        assert int((valid | find_gaps(valid))[row].sum()) == len(rows)


def test_only_modalities_with_gap_frames_see_gaps() -> None:
    student = Student(StudentConfig(DIMS, width=8, gap_frames=("audio",))).eval()
    frames, _ = sample()
    frames = {name: values[:1] for name, values in frames.items()}
    for name, values in frames.items():
        mask = torch.ones(1, values.shape[1], dtype=torch.bool)
        mask[:, 2:4] = False
        adjacent = torch.cat([values[:, :2], values[:, 4:]], dim=1)
        same = torch.allclose(
            student({name: values}, {name: mask}),
            student({name: adjacent}, {name: torch.ones(1, adjacent.shape[1], dtype=torch.bool)}),
            atol=1e-6,
        )
        assert same == (name != "audio")
        with_zeros = torch.cat([values[:, :2], torch.zeros_like(values[:, :1]), values[:, 4:]], dim=1)
        if not same:
            whole = torch.ones(1, with_zeros.shape[1], dtype=torch.bool)
            assert_close_to_scale(student({name: values}, {name: mask}), student({name: with_zeros}, {name: whole}))


@pytest.mark.parametrize("dims", [{}, {"text": 3}])
def test_unknown_modalities_raise_an_error(dims: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="language, audio, vision"):
        StudentConfig(dims)
    with pytest.raises(ValueError, match=r"overrides must name some of .* got \['text'\]"):
        StudentConfig(DIMS, overrides={"text": ModalitySizes()})
    with pytest.raises(ValueError, match=r"gap_frames must name some of .* got \['text'\]"):
        StudentConfig(DIMS, gap_frames=("text",))


def test_untrained_student_depends_on_its_seed_only() -> None:
    config = StudentConfig(DIMS, width=8)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, other = (untrained_student(config, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["fusion.mix.weight"], other["fusion.mix.weight"])
