from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge_msa as em
from edge_msa.benchmark.peer_table import PeerBenchmark
from edge_msa.benchmark.random_bundles import random_bundle
from edge_msa.errors import DataError, RunUsageError, UsageError
from edge_msa.models.student import StudentConfig
from edge_msa.workflows.bench_peers import bench_peers
from edge_msa.workflows.report import report
from tests.unit.edge_msa.toy_runs import DIMS, write_dataset, write_teacher


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_dataset(tmp_path / "all.npz")


@pytest.fixture
def teacher(data: str, tmp_path: Path) -> Path:
    recipe = {"epochs": 1, "robust_epochs": 1, "d": 4, "heads": 2, "pooling": "max"}
    return em.train(data, model="hrlf", recipe=recipe, output_dir=tmp_path / "teacher", device="cpu").path


@pytest.fixture(scope="module")
def bundle() -> Iterator[Path]:
    config = StudentConfig(DIMS, width=32, blocks=1, tokens=1, hidden=16)
    with random_bundle("small", config, dict.fromkeys(DIMS, 6), ("fp32", "int8")) as path:
        yield path


@pytest.mark.slow
def test_all_contenders_are_compared_with_the_default_of_the_bundle(
    bundle: Path, teacher: Path, data: str, tmp_path: Path
) -> None:
    result = bench_peers([bundle, teacher], data=data, repeats=4, output=tmp_path / "peers.json")

    found = {(item.name, item.kind, item.backend, item.precision.partition(":")[0]) for item in result.contenders}
    assert {
        ("small", "student", "onnxruntime", "fp32"),
        ("small", "student", "onnxruntime", "int8"),
        ("small", "peer", "onnxruntime", "dynamic int8"),
        ("small", "peer", "openvino", "NNCF int8"),
        ("teacher", "teacher", "torch", "fp32"),
        ("teacher", "teacher", "onnxruntime", "fp32"),
        ("teacher", "peer", "onnxruntime", "dynamic int8"),
        ("ALMT, untrained", "peer", "onnxruntime", "fp32, every token"),
    } <= found
    assert [item.kind for item in result.contenders if item.is_ours] == ["student"]
    for item in result.contenders:
        assert (item.ratio is None) == (not item.latency_ms)
        if item.metrics and not item.is_ours:
            ours = next(other for other in result.contenders if other.is_ours)
            assert item.differences["mae"].value == pytest.approx(item.metrics["mae"] - ours.metrics["mae"])
    torch, onnxruntime = (
        next(i for i in result.contenders if (i.kind, i.backend) == ("teacher", name))
        for name in ("torch", "onnxruntime")
    )
    assert torch.metrics["mae"] == pytest.approx(onnxruntime.metrics["mae"], rel=1e-4)
    assert PeerBenchmark.from_json(json.loads((tmp_path / "peers.json").read_text())) == result
    page = report(tmp_path / "peers.json", output=tmp_path / "report.html")
    assert page.others == (f"peers: {tmp_path / 'peers.json'}",)


def test_a_student_is_refused_because_its_bundle_is_what_runs(data: str, tmp_path: Path) -> None:
    with pytest.raises(RunUsageError, match="must be a run of hrlf or almt, got student"):
        bench_peers(write_teacher(tmp_path / "student", data))


@pytest.mark.slow
def test_runs_alone_are_refused(teacher: Path) -> None:
    with pytest.raises(UsageError, match="must have at least one bundle, got runs only"):
        bench_peers(teacher)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunUsageError, match="neither a run"):
        bench_peers(tmp_path)


@pytest.mark.slow
def test_data_that_the_bundle_does_not_take_is_refused(bundle: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other.npz", {"audio": 7})

    with pytest.raises(DataError, match="audio"):
        bench_peers(bundle, data=other)
