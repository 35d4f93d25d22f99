"""What of the TensorRT backend is logic of ours; no board and no TensorRT is needed, and none is tried here."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_msa_runtime.backends.tensorrt.cuda import Cuda, available_bytes
from edge_msa_runtime.backends.tensorrt.layer_precisions import int8_remark, layers_by_precision
from edge_msa_runtime.backends.tensorrt.plan_cache import (
    PlanKey,
    cache_folder,
    model_digest,
    read_plan,
    work_folder,
    write_plan,
    write_whole,
)
from edge_msa_runtime.backends.tensorrt.vendor import (
    builder_flags,
    check_target,
    device_index,
    network_flags,
    version_of,
    without_libraries,
)
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME
from edge_msa_runtime.errors import BackendUnavailableError, CacheError

KEY = PlanKey("ab" * 32, "int8", "10.3.0", "87", "Orin")


def test_a_plan_comes_back_for_its_own_key_alone(tmp_path: Path) -> None:
    write_plan(tmp_path / "cache", KEY, b"plan", {"seconds": 1.5})
    found = read_plan(tmp_path / "cache", KEY)
    assert (found.plan, found.built, found.reason) == (b"plan", {"seconds": 1.5}, "")
    for field in dataclasses.fields(KEY):
        other = read_plan(tmp_path / "cache", dataclasses.replace(KEY, **{field.name: "other"}))
        assert (other.plan, other.reason) == (None, "")
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".json", ".plan"]


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        (".plan", b"pla", "it has 3 bytes, 4 were built"),
        (".plan", b"plAn", "it has changed since it was built"),
        (".plan", None, "its build was interrupted"),
        (".json", None, "its build was interrupted"),
        (".json", b"{", "its sidecar cannot be read"),
        (".json", b"[]", "its sidecar cannot be read"),
        (".json", b"null", "its sidecar cannot be read"),
    ],
)
def test_a_plan_that_is_not_whole_is_not_loaded_and_why_is_told(
    tmp_path: Path, suffix: str, content: bytes | None, reason: str
) -> None:
    write_plan(tmp_path, KEY, b"plan", {})
    path = tmp_path / f"{KEY.stem}{suffix}"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    found = read_plan(tmp_path, KEY)
    assert (found.plan, found.reason) == (None, reason)


def test_a_plan_under_a_key_that_is_not_its_own_is_refused_with_both_versions(tmp_path: Path) -> None:
    write_plan(tmp_path, KEY, b"plan", {})
    sidecar = tmp_path / f"{KEY.stem}.json"
    told = json.loads(sidecar.read_text("utf-8"))
    told["key"].update(tensorrt="8.5.2.2", sm="72")
    sidecar.write_text(json.dumps(told), encoding="utf-8")
    found = read_plan(tmp_path, KEY)
    assert found.plan is None
    assert found.reason == "it was built for tensorrt 8.5.2.2, here 10.3.0; sm 72, here 87"


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
    for attempt in (lambda: write_whole(tmp_path / "file" / "plan", b"plan"), lambda: work_folder(tmp_path / "file")):
        with pytest.raises(CacheError, match="EDGE_MSA_CACHE") as caught:
            attempt()
        assert caught.value.exit_code == 1


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CacheError, match="No space left"):
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
    assert builder_flags(kinds, precision, quantized=True) == (to_set, to_clear)
    plain = tuple(name for name in to_set if name != "INT8")
    assert builder_flags(kinds, precision, quantized=False) == (plain, to_clear)


@pytest.mark.parametrize(
    ("version", "kinds", "names", "flags"),
    [
        ("8.5.2.2", EIGHT, SimpleNamespace(EXPLICIT_BATCH=0), 1),
        ("10.3.0", EIGHT, SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1), 0),
        ("11.4.1", ELEVEN, SimpleNamespace(STRONGLY_TYPED=0), 1),
        ("12.0.0", ELEVEN, SimpleNamespace(), 0),
    ],
)
def test_a_network_is_made_as_the_version_wants_it(
    version: str, kinds: SimpleNamespace, names: SimpleNamespace, flags: int
) -> None:
    vendor = SimpleNamespace(__version__=version, BuilderFlag=kinds, NetworkDefinitionCreationFlag=names)
    assert network_flags(vendor) == flags


def test_cublas_and_cudnn_are_left_out_where_there_are_any() -> None:
    eight = SimpleNamespace(CUBLAS=0, CUBLAS_LT=1, CUDNN=2, JIT_CONVOLUTIONS=4)
    assert without_libraries(SimpleNamespace(TacticSource=eight), 0b11111) == 0b11000
    assert without_libraries(SimpleNamespace(TacticSource=SimpleNamespace(JIT_CONVOLUTIONS=1)), 0b11) == 0b11


def test_versions_compare_as_numbers() -> None:
    assert version_of("8.5.2.2") == (8, 5) < version_of("10.13.0.3") == (10, 13)


@pytest.mark.parametrize(("made", "here"), [("10.3", "10.3.0"), ("10.3", "10.16.2"), ("8.5.2.2", "8.6.2.3")])
def test_a_bundle_of_the_same_major_and_no_later_minor_is_taken(made: str, here: str) -> None:
    check_target({"tensorrt": made}, here)
    check_target({}, here)


@pytest.mark.parametrize(
    ("made", "here"), [("10.3", "8.6.2.3"), ("8.6", "8.5.2.2"), ("8.5", "10.3.0"), ("10.3", "11.4.1")]
)
def test_a_bundle_for_another_tensorrt_is_refused_with_both_versions(made: str, here: str) -> None:
    with pytest.raises(BackendUnavailableError, match="run edge-msa export") as caught:
        check_target({"tensorrt": made, "jetpack": "6.2"}, here)
    assert f"is for tensorrt {made} (JetPack 6.2), here is {here};" in str(caught.value)
    assert caught.value.exit_code == 4


def test_devices_by_number() -> None:
    assert (device_index(""), device_index("GPU"), device_index("GPU:2")) == (0, 0, 2)
    for wrong in ("CPU", "GPU:x"):
        with pytest.raises(BackendUnavailableError, match=wrong):
            device_index(wrong)


def test_layers_count_by_the_lowest_precision_that_they_read_in_the_words_of_every_version() -> None:
    joined = "Format/Datatype"
    told = [
        {
            "LayerType": "CaskConvolution",
            "Inputs": [{joined: "Thirty-two wide channel vectorized row major Int8 format."}],
        },
        {"LayerType": "gemm", "Inputs": [{joined: "Half"}], "Weights": {"Type": "Int8", "Count": 9}},
        {"LayerType": "MatrixMultiply", "Inputs": [{joined: "Row major linear FP16 format"}, {joined: "Float"}]},
        {"LayerType": "Myelin", "Inputs": [{"DataType": "Float", "Format": "Row major linear FP32 format (kLINEAR)"}]},
        {"LayerType": "Reformat", "Inputs": [{joined: "Row major Int8 format"}]},
        {"LayerType": "Gather", "Inputs": [{joined: "Row major Int32 format"}]},
        {"LayerType": "Constant", "Inputs": []},
        "a name alone, where the plan was not built to tell more",
    ]
    found = layers_by_precision(json.dumps({"Layers": told, "Bindings": ["x"]}))
    assert found == {"int8": 2, "fp16": 1, "fp32": 1, "other": 4}


def test_an_int8_plan_with_few_int8_layers_is_called_so() -> None:
    assert int8_remark({"int8": 6, "fp16": 6, "other": 90}, quantized=4) == ""
    assert "only 1 of 10 layers run in int8" in int8_remark({"int8": 1, "fp16": 7, "fp32": 2}, quantized=4)
    assert "none of 9 layers run in int8" in int8_remark({"int8": 0, "fp16": 9}, quantized=4)
    assert "does not tell in what precision" in int8_remark({"int8": 0, "other": 9}, quantized=4)
    assert int8_remark({"int8": 0, "fp32": 9}, quantized=0) == "no layer of this graph is quantized"


def _fake_cuda(monkeypatch: pytest.MonkeyPatch, **calls: object) -> None:
    runtime = SimpleNamespace(**calls)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=SimpleNamespace(runtime=runtime)))
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=runtime))


def test_a_machine_without_a_driver_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_cuda(monkeypatch, cudaGetDeviceCount=lambda: (35, 0))
    with pytest.raises(BackendUnavailableError, match="no CUDA driver answers"):
        Cuda(0)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_cuda(monkeypatch, cudaGetDeviceCount=lambda: (0, 1))
    with pytest.raises(BackendUnavailableError, match="there is no GPU:1; this machine has 1"):
        Cuda(1)


def test_missing_cuda_bindings_are_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailableError, match="pip install 'cuda-python<13'"):
        Cuda(0)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="this system has no /proc/meminfo")
def test_the_systems_own_estimate_of_its_free_memory_is_read() -> None:
    assert 1 << 20 < (available_bytes() or 0) < 1 << 50
