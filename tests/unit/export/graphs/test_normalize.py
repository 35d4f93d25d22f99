from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_msa.models.student import Student, StudentConfig
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.normalize import NormalizeFrames
from edge_msa_export.graphs.student import build_student_modules
from edge_msa_export.normalization import Normalization
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.export.students import CHUNKS, DIMS, NORMALIZATION, WINDOWS

RANGE = Normalization((0.0, 0.0, 5.0), (1.0, 2.0, 1.0), (-1.0, -2.0, 5.0), (1.0, 2.0, 5.0))


@pytest.mark.case("F15")
def test_module_and_numpy_normalize_alike() -> None:
    frames = np.random.default_rng(0).normal(scale=3, size=(1, 40, 3)).astype(np.float32)
    _, normalized = NormalizeFrames(RANGE)(torch.from_numpy(frames))
    np.testing.assert_array_equal(normalized[0].numpy(), RANGE.apply(frames[0]))


@pytest.mark.case("F15")
@pytest.mark.parametrize(
    ("frame", "excess"),
    [((1.0, -2.0, 5.0), 0.0), ((3.0, 0.0, 5.0), 1.0), ((-2.0, 3.0, 5.0), 0.75), ((0.0, 0.0, 1005.0), 1000.0)],
)
def test_excess_is_measured_in_ranges_of_the_features(frame: tuple[float, ...], excess: float) -> None:
    module = NormalizeFrames(RANGE)
    frames = torch.tensor([[(0.0, 0.0, 5.0), frame, (1e6, 1e6, 1e6)]])
    clipped, _ = module(frames)
    valid = torch.tensor([[1.0, 1.0, 0.0]])  # what follows the valid frames does not count
    assert module.excess(frames, clipped, valid).tolist() == [[pytest.approx(excess, rel=1e-6)]]


def test_frames_without_a_range_are_unchanged() -> None:
    module = NormalizeFrames(Normalization.identity(2))
    frames = torch.tensor([[[1e9, -3.0]]])
    assert module(frames)[1] is frames
    assert not module.clips


@pytest.mark.case("F15")
@pytest.mark.parametrize("stride", [1, 3])
def test_padding_has_no_influence(stride: int) -> None:
    torch.manual_seed(0)
    student = Student(StudentConfig(DIMS, width=16, blocks=2, tokens=2, hidden=8, stride=stride)).eval()
    modules = build_student_modules(student, NORMALIZATION, CHUNKS, WINDOWS)
    for key, prefix in ((GraphKey.step("audio"), ""), (GraphKey.window(Subset.A), ".audio")):
        exportable = modules[key]
        inputs = dict(exportable.inputs)
        frames = torch.randn(inputs[f"frames{prefix}"].shape)
        valid = torch.zeros_like(inputs[f"valid{prefix}"])
        valid[:, :4] = 1
        results = []
        for padding in (0.0, -1e30, 7.0):
            frames[:, 4:] = padding
            with torch.no_grad():
                outputs = exportable.module(*{**inputs, f"frames{prefix}": frames, f"valid{prefix}": valid}.values())
            results.append(dict(zip(exportable.outputs, outputs, strict=True)))
        for result in results[1:]:
            for name, value in result.items():
                torch.testing.assert_close(value, results[0][name], rtol=0, atol=0, msg=f"{key} {name}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"std": (1.0,)}, "as many values"),
        ({"std": (1.0, 0.0)}, "std above 0"),
        ({"low": (0.0, -np.inf)}, "all finite or all infinite"),
        ({"low": (2.0, 2.0)}, "low <= high"),
    ],
)
def test_invalid_normalization_is_an_error(changes: dict[str, tuple[float, ...]], message: str) -> None:
    values = {"mean": (0.0, 0.0), "std": (1.0, 1.0), "low": (-1.0, -1.0), "high": (1.0, 1.0), **changes}
    with pytest.raises(ExportError, match=message):
        Normalization(**values)
