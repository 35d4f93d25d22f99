"""A tiny student, its graphs and its bundle, made once a session: an export takes about a second a graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge_msa.models.student import Student, StudentConfig
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.graphs.export import export_all
from edge_msa_export.profiles import profile_named
from edge_msa_export.request import ExportRequest, GoldenSample, Normalization
from edge_msa_runtime.bundle.manifest import GraphKey, TaskSpec
from edge_msa_runtime.modalities import Subset

DIMS = {"language": 6, "audio": 5, "vision": 4}
CHUNKS = {"language": 4, "audio": 5, "vision": 3}
WINDOWS = {"language": 14, "audio": 17, "vision": 12}


@pytest.fixture(scope="session")
def student() -> Student:
    torch.manual_seed(7)
    return Student(StudentConfig(DIMS, width=16, blocks=2, tokens=2, hidden=8)).eval()


@pytest.fixture(scope="session")
def graphs(student: Student) -> dict[GraphKey, onnx.ModelProto]:
    return export_all(student, CHUNKS, WINDOWS)


@pytest.fixture(scope="session")
def request_for_laptop() -> ExportRequest:
    rng = np.random.default_rng(3)
    lengths = {"language": 11, "audio": 17, "vision": 9}
    golden = [
        GoldenSample(
            subset,
            {name: rng.normal(2, 3, size=(lengths[name], DIMS[name])).astype(np.float32) for name in subset.modalities},
        )
        for subset in Subset
    ]
    ranges: dict[str, tuple[float, float]] = {}
    for name in DIMS:
        for layer in ("embed", "blocks.0", "blocks.1", "score"):
            for side in ("input", "output"):
                ranges[f"encoders.{name}.{layer}.weight:{side}"] = (-4.0, 4.0)
    return ExportRequest(
        name="tiny",
        profile=profile_named("laptop-x86"),
        task=TaskSpec("regression", 1),
        normalization={name: Normalization((2.0,) * dim, (3.0,) * dim) for name, dim in DIMS.items()},
        chunks=CHUNKS,
        windows=WINDOWS,
        golden=golden,
        provenance={"seed": 7},
        license="MIT",
        ranges=ranges,
        frame_rates={"audio": 100.0},
    )


@pytest.fixture(scope="session")
def laptop_graphs(
    student: Student,
    request_for_laptop: ExportRequest,
    graphs: dict[GraphKey, onnx.ModelProto],
    tmp_path_factory: pytest.TempPathFactory,
) -> GraphSet:
    return build_graphs(student, request_for_laptop, tmp_path_factory.mktemp("laptop"), graphs)


@pytest.fixture(scope="session")
def request_for_jetson(request_for_laptop: ExportRequest) -> ExportRequest:
    return replace(request_for_laptop, profile=profile_named("jetson"))


@pytest.fixture(scope="session")
def jetson_graphs(
    student: Student,
    request_for_jetson: ExportRequest,
    graphs: dict[GraphKey, onnx.ModelProto],
    tmp_path_factory: pytest.TempPathFactory,
) -> GraphSet:
    return build_graphs(student, request_for_jetson, tmp_path_factory.mktemp("jetson"), graphs)


@pytest.fixture
def empty_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder
