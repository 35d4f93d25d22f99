from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from edge_msa.models.student import ModalitySizes, Student, StudentConfig
from edge_msa.training.distillation.qat import fake_quantize, fake_quantized_student
from edge_msa_calibrate.affine import UINT8, compute_parameters
from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.ranges import compute_ranges
from edge_msa_calibrate.schemes import SCHEMES
from edge_msa_export.graphs.onnx_export import export_onnx
from edge_msa_export.graphs.student import build_student_modules
from edge_msa_export.normalization import Normalization
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset

DIMS = {"language": 20, "audio": 18, "vision": 6}
WINDOWS = {"language": 14, "audio": 17, "vision": 12}
NORMALIZATION = {name: Normalization.identity(dim) for name, dim in DIMS.items()}
VNNI = SCHEMES["ort-x86-vnni"]


def network() -> Student:
    """Return a student with a GRU, with rows of two frames, and with frames that are too narrow for an int8 layer."""
    torch.manual_seed(7)
    overrides = {"language": ModalitySizes(recurrence="gru"), "audio": ModalitySizes(stride=2)}
    return Student(StudentConfig(DIMS, width=16, blocks=2, tokens=2, hidden=8, overrides=overrides)).eval()


def sample(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray] = {}
    for name, dim in DIMS.items():
        length = int(rng.integers(5, WINDOWS[name] + 1))
        frames = rng.normal(size=(1, WINDOWS[name], dim)).astype(np.float32)
        frames[:, length:] = 0
        inputs[f"frames.{name}"] = frames
        inputs[f"valid.{name}"] = (np.arange(WINDOWS[name]) < length).astype(np.float32)[None]
    return inputs


@pytest.fixture(scope="module")
def student() -> Student:
    return network()


@pytest.fixture(scope="module")
def window(student: Student) -> onnx.ModelProto:
    return export_onnx(build_student_modules(student, NORMALIZATION, WINDOWS, WINDOWS)[GraphKey.window(Subset.LAV)])


@pytest.fixture(scope="module")
def ranges(window: onnx.ModelProto) -> Mapping[str, tuple[float, float]]:
    return compute_ranges(
        collect_statistics({GraphKey.window(Subset.LAV): window}, (sample(seed) for seed in range(20))), "mse"
    )


def tensors(inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    frames = {name: torch.from_numpy(inputs[f"frames.{name}"]) for name in DIMS}
    return frames, {name: torch.from_numpy(inputs[f"valid.{name}"] > 0) for name in DIMS}


def weights(*names: str) -> tuple[str, ...]:
    return tuple(f"encoders.{modality}.{name}.weight" for modality in DIMS for name in names)


@pytest.mark.parametrize("scheme", ["ort-x86-vnni", "ort-x86-avx2", "ort-arm", "openvino-x86", "tensorrt"])
def test_torch_prediction_equals_that_of_the_int8_graph(
    student: Student, window: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], scheme: str
) -> None:
    assert_equals_graph(student, window, ranges, scheme)


@pytest.mark.parametrize(
    "fp32_weights",
    [
        weights("embed"),
        weights("blocks.0"),
        weights("blocks.1"),
        weights("score"),
        weights("embed", "blocks.1"),
        weights("blocks.0", "blocks.1"),
        ("encoders.audio.embed.weight", "encoders.language.blocks.0.weight"),
    ],
)
def test_fp32_layers_of_the_plan_are_not_quantized(
    student: Student, window: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], fp32_weights: tuple[str, ...]
) -> None:
    assert_equals_graph(student, window, ranges, "ort-x86-avx2", fp32_weights)


def assert_equals_graph(
    student: Student,
    window: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    scheme: str,
    fp32_weights: tuple[str, ...] = (),
) -> None:
    options = onnxruntime.SessionOptions()
    if scheme != "ort-x86-vnni":  # for other schemes, ONNX Runtime must not fuse nodes
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    int8 = quantize(window, ranges, scheme, fp32_weights).SerializeToString()
    session = onnxruntime.InferenceSession(int8, options, providers=["CPUExecutionProvider"])
    quantized = fake_quantized_student(student, ranges, SCHEMES[scheme], fp32_weights)
    errors, changes = [], []
    for seed in range(100, 130):
        inputs = sample(seed)
        expected = session.run(None, inputs)[0]
        with torch.no_grad():
            simulated, float32 = (net(*tensors(inputs)).numpy() for net in (quantized, student))
        errors.append(float(np.abs(simulated - expected).max()))
        changes.append(float(np.abs(float32 - expected).max()))
    # A sum halfway between two integers may be rounded to either of them, which is rare.
    scale = max(1.0, float(np.abs(expected).max()))
    assert sum(value <= 1e-5 * scale for value in errors) >= 27
    assert max(errors) < 0.5 * float(np.mean(changes))


def test_values_are_rounded_to_the_grid_and_clamped() -> None:
    grid = compute_parameters(-1.0, 3.0, UINT8)
    on = torch.arange(0, 256).sub(grid.zero_point) * torch.tensor(grid.scale)
    assert torch.equal(fake_quantize(on, grid), on)
    assert fake_quantize(torch.tensor([9.0, -9.0]), grid).tolist() == [on[-1], on[0]]
    half = on[10:12].mean()
    assert fake_quantize(half, grid) in on[10:12]


def test_gradient_is_one_inside_the_range_and_zero_outside() -> None:
    values = torch.tensor([0.3, 2.9, 3.5, -1.4], requires_grad=True)
    torch.autograd.backward(fake_quantize(values, compute_parameters(-1.0, 3.0, UINT8)).sum())
    assert values.grad is not None
    assert values.grad.tolist() == [1, 1, 0, 0]


def test_gradients_reach_every_weight(student: Student, ranges: Mapping[str, tuple[float, float]]) -> None:
    quantized = fake_quantized_student(student, ranges, VNNI).train()
    inputs = tensors(sample(1))
    torch.autograd.backward(quantized(*inputs).sum())
    without_gradient = [
        name for name, weight in quantized.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    # The default query is used for samples without language only.
    assert without_gradient == ["fusion.default_query"]
    assert list(quantized.state_dict()) == list(student.state_dict())


def test_encoder_without_ranges_is_not_quantized(student: Student, ranges: Mapping[str, tuple[float, float]]) -> None:
    known = {key: value for key, value in ranges.items() if ".audio." not in key}
    quantized = fake_quantized_student(student, known, VNNI)
    frames, valid = (torch.randn(1, 8, 18), torch.ones(1, 8))
    outputs = [net.encoders["audio"].encode_whole(frames, valid) for net in (quantized, student)]  # type: ignore[operator]
    assert torch.equal(*outputs)


def test_missing_range_raises_an_error(student: Student, ranges: Mapping[str, tuple[float, float]]) -> None:
    known = {key: value for key, value in ranges.items() if key != "encoders.audio.score.weight:input"}
    quantized = fake_quantized_student(student, known, VNNI)
    with pytest.raises(CalibrationError, match=r"encoders\.audio\.score\.weight:input"):
        quantized(*tensors(sample(1)))


def test_fine_tuning_improves_the_quantized_prediction(
    student: Student, ranges: Mapping[str, tuple[float, float]]
) -> None:
    quantized = fake_quantized_student(student, ranges, VNNI).train()
    optimizer = torch.optim.Adam(quantized.parameters(), lr=3e-3)
    batch = [tensors(sample(seed)) for seed in range(8)]
    losses = []
    for _ in range(30):
        loss = torch.stack([(quantized(*inputs) - 1.0).abs().mean() for inputs in batch]).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
