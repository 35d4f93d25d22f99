"""What of the TensorRT engine is logic of ours; no board and no TensorRT is needed, and none is tried here."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_msa_runtime.engines.cuda_memory import Cuda
from edge_msa_runtime.engines.plan_cache import PlanKey, cache_folder, model_digest, read_plan, write_plan, write_whole
from edge_msa_runtime.engines.tensorrt_engine import builder_flags, device_index, network_flags, version_of
from edge_msa_runtime.errors import EngineUnavailableError, RuntimeFailure
from edge_msa_runtime.manifest import WEIGHTS_NAME

KEY = PlanKey("ab" * 32, "int8", "10.3.0", "87", "Orin")


def test_a_plan_comes_back_for_its_own_key_alone(tmp_path: Path) -> None:
    write_plan(tmp_path / "cache", KEY, b"plan")
    assert read_plan(tmp_path / "cache", KEY) == b"plan"
    for field in dataclasses.fields(KEY):
        other = dataclasses.replace(KEY, **{field.name: "other"})
        assert read_plan(tmp_path / "cache", other) is None
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".json", ".plan"]


@pytest.mark.parametrize("suffix", [".plan", ".json"])
def test_a_plan_that_is_not_whole_is_built_again(tmp_path: Path, suffix: str) -> None:
    write_plan(tmp_path, KEY, b"plan")
    (tmp_path / f"{KEY.stem}{suffix}").write_bytes(b"pla")
    assert read_plan(tmp_path, KEY) is None


def test_a_plan_under_a_key_that_is_not_its_own_is_built_again(tmp_path: Path) -> None:
    write_plan(tmp_path, KEY, b"plan")
    sidecar = tmp_path / f"{KEY.stem}.json"
    told = json.loads(sidecar.read_text("utf-8"))
    told["key"]["tensorrt"] = "8.5.2"
    sidecar.write_text(json.dumps(told), encoding="utf-8")
    assert read_plan(tmp_path, KEY) is None


def test_other_weights_beside_the_same_graph_make_another_plan(tmp_path: Path) -> None:
    graph = tmp_path / "g.onnx"
    graph.write_bytes(b"graph")
    found = [model_digest(graph)]
    for weights in (b"one", b"two"):
        (tmp_path / WEIGHTS_NAME).write_bytes(weights)
        found.append(model_digest(graph))
    assert len(set(found)) == 3


def test_timing_is_shared_by_models_and_by_no_other_device_or_version() -> None:
    assert KEY.timing_name == dataclasses.replace(KEY, model="c", precision="fp32").timing_name
    for field in ("tensorrt", "sm", "device"):
        assert KEY.timing_name != dataclasses.replace(KEY, **{field: "other"}).timing_name


def test_a_cache_that_cannot_be_written_is_told_with_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RuntimeFailure, match="EDGE_MSA_CACHE"):
        write_whole(tmp_path / "file" / "plan", b"plan")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RuntimeFailure, match="No space left"):
        write_whole(tmp_path / "plan", b"plan")
    assert list(tmp_path.iterdir()) == []


def test_the_cache_is_where_the_variable_says() -> None:
    assert cache_folder({"EDGE_MSA_CACHE": "there"}) == Path("there")
    assert cache_folder({}).parts[-2:] == (".cache", "edge-msa")


EIGHT = SimpleNamespace(FP16=1, INT8=2, TF32=3)
ELEVEN = SimpleNamespace(TF32=3)


@pytest.mark.parametrize(
    ("kinds", "precision", "to_set", "to_clear"),
    [
        (EIGHT, "fp32", (), ("TF32",)),
        (EIGHT, "fp16", ("FP16",), ()),
        (EIGHT, "int8", ("INT8", "FP16"), ()),
        (ELEVEN, "int8", (), ()),
        (ELEVEN, "fp32", (), ("TF32",)),
        (SimpleNamespace(), "fp32", (), ()),
    ],
)
def test_only_flags_that_the_version_has_are_touched(
    kinds: SimpleNamespace, precision: str, to_set: tuple[str, ...], to_clear: tuple[str, ...]
) -> None:
    assert builder_flags(kinds, precision) == (to_set, to_clear)


def test_an_explicit_batch_is_asked_for_below_ten() -> None:
    flags = SimpleNamespace(EXPLICIT_BATCH=0)
    assert network_flags(SimpleNamespace(__version__="8.5.2.2", NetworkDefinitionCreationFlag=flags)) == 1
    assert network_flags(SimpleNamespace(__version__="10.3.0")) == 0


def test_versions_compare_as_numbers() -> None:
    assert version_of("8.5.2.2") == (8, 5) < version_of("10.13.0.3") == (10, 13)


def test_devices_by_number() -> None:
    assert (device_index(""), device_index("GPU"), device_index("GPU:2")) == (0, 0, 2)
    for wrong in ("CPU", "GPU:x"):
        with pytest.raises(EngineUnavailableError, match=wrong):
            device_index(wrong)


def _fake_cuda(monkeypatch: pytest.MonkeyPatch, **calls: object) -> None:
    runtime = SimpleNamespace(**calls)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=SimpleNamespace(runtime=runtime)))
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=runtime))


def test_a_machine_without_a_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_cuda(monkeypatch, cudaGetDeviceCount=lambda: (35, 0))
    with pytest.raises(EngineUnavailableError, match="no CUDA driver answers"):
        Cuda(0)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_cuda(monkeypatch, cudaGetDeviceCount=lambda: (0, 1))
    with pytest.raises(EngineUnavailableError, match="there is no GPU:1; this machine has 1"):
        Cuda(1)


def test_missing_cuda_bindings_are_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineUnavailableError, match="pip install cuda-python"):
        Cuda(0)
