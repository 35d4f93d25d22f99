from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch

from edge_msa.models.student import Student, StudentConfig
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.normalize import Normalize
from edge_msa_export.graphs.onnx_export import export_onnx
from edge_msa_export.graphs.student import build_student_modules
from edge_msa_export.normalization import PREFIX, Normalization
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.tolerances import assert_close_to_scale
from tests.unit.export.students import CHUNKS, DIMS, NORMALIZATION, WINDOWS

RANGE = Normalization((0.0, 0.5, 5.0), (1.0, 2.0, np.inf), 1.5)


@pytest.mark.case("F15")
@pytest.mark.parametrize("stride", [1, 4])
def test_module_and_numpy_normalize_alike(stride: int) -> None:
    frames = np.random.default_rng(0).normal(scale=3, size=(40, 3)).astype(np.float32)
    rows = torch.from_numpy(frames).reshape(1, 40 // stride, -1)
    normalized = Normalize(RANGE, stride)(rows).reshape(40, 3).numpy()
    assert_close_to_scale(normalized, RANGE.apply(frames))
    assert np.abs(normalized).max() == 1.5
    assert not normalized[:, 2].any()  # a feature that is not used


def test_normalization_takes_at_most_three_nodes_per_modality() -> None:
    student = Student(StudentConfig(DIMS, width=16, blocks=1, tokens=2, hidden=8)).eval()
    counts = {}
    for name, normalization in (
        ("none", {k: Normalization.identity(d) for k, d in DIMS.items()}),
        ("all", NORMALIZATION),
    ):
        modules = build_student_modules(student, normalization, CHUNKS, WINDOWS)
        counts[name] = len(export_onnx(modules[GraphKey.window(Subset.AV)]).graph.node)
    assert counts["all"] - counts["none"] == 2 * 3


def test_zero_frames_normalize_to_zeros() -> None:
    module = Normalize(NORMALIZATION["audio"], 3)
    assert module.zero_frames.shape == (1, 2, DIMS["audio"])
    assert Normalize(NORMALIZATION["audio"])(module.zero_frames).count_nonzero() == 0


def test_constants_of_graphs_keep_the_names_by_which_they_stay_float32() -> None:
    student = Student(StudentConfig(DIMS, width=16, blocks=1, tokens=2, hidden=8, stride=3)).eval()
    modules = build_student_modules(student, NORMALIZATION, CHUNKS, WINDOWS)
    kinds = {item.name: item.data_type for item in export_onnx(modules[GraphKey.window(Subset.AV)]).graph.initializer}
    for modality in ("audio", "vision"):
        names = {f"{PREFIX}{modality}.{name}" for name in ("mean", "scale", "zero_frames")}
        assert {kinds.get(name) for name in names} == {onnx.TensorProto.FLOAT}


def test_frames_without_a_range_are_unchanged() -> None:
    module = Normalize(Normalization.identity(2))
    frames = torch.tensor([[[1e9, -3.0]]])
    assert module(frames) is frames


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
        ({"mean": (1.0, np.inf)}, "mean of a normalization must be finite"),
        ({"limit": 0.0}, "limit of a normalization must be above 0"),
    ],
)
def test_invalid_normalization_is_an_error(changes: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"mean": (0.0, 0.0), "std": (1.0, 1.0), "limit": 4.0, **changes}
    with pytest.raises(ExportError, match=message):
        Normalization(**values)
