"""OpenVINO's devices, on a simulated machine with two GPUs and an NPU whose graphs actually run on the CPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime import load
from edge_msa_runtime.backends import BackendOptions, open_backend
from edge_msa_runtime.errors import BackendUnavailableError, CacheError
from tests.tolerances import assert_close_to_scale

openvino = pytest.importorskip("openvino")
REAL_CORE = openvino.Core


@dataclass
class Machine:
    """Records the requested devices and settings. `executes`: devices that it reports; empty for the requested one."""

    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    executes: tuple[str, ...] = ()

    def core(self) -> _Core:
        return _Core(self)


class _Core:
    def __init__(self, machine: Machine) -> None:
        self.available_devices = ["CPU", "GPU.0", "GPU.1", "NPU"]
        self._machine = machine

    def compile_model(self, path: str, device: str, settings: dict[str, Any]) -> _Compiled:
        self._machine.requests.append((device, settings))
        cpu_settings = {name: value for name, value in settings.items() if name != "INFERENCE_PRECISION_HINT"}
        return _Compiled(REAL_CORE().compile_model(path, "CPU", cpu_settings), self._machine.executes or (device,))


class _Compiled:
    def __init__(self, compiled: Any, devices: tuple[str, ...]) -> None:
        self._compiled = compiled
        self._devices = devices

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)

    def get_property(self, name: str) -> Any:
        return list(self._devices) if name == "EXECUTION_DEVICES" else self._compiled.get_property(name)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    simulated = Machine()
    monkeypatch.setattr(openvino, "Core", simulated.core)
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path / "cache"))
    return simulated


@pytest.mark.parametrize(
    ("device", "precision", "hint"),
    [("CPU", "fp16", "f32"), ("GPU", "fp32", "f32"), ("GPU.1", "fp16", "f16"), ("NPU", "int8", "f16")],
)
def test_the_precision_hint_depends_on_the_device(
    device: str, precision: str, hint: str, machine: Machine, shared_bundle: Path
) -> None:
    open_backend("openvino", BackendOptions(device=device)).load(shared_bundle / "graphs/window-l.onnx", precision)
    ((requested, settings),) = machine.requests
    assert requested == device
    assert settings["INFERENCE_PRECISION_HINT"] == hint
    assert ("NUM_STREAMS" in settings) == (device == "CPU")


def test_an_npu_cannot_run_fp32(machine: Machine, shared_bundle: Path) -> None:
    backend = open_backend("openvino", BackendOptions(device="NPU"))
    with pytest.raises(BackendUnavailableError, match="Use the precision fp16 or int8"):
        backend.load(shared_bundle / "graphs/window-l.onnx", "fp32")
    assert machine.requests == []


def test_compiled_gpu_graphs_are_cached_by_content(machine: Machine, shared_bundle: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        (tmp_path / name).mkdir()
        graph = "graphs/window-la.onnx" if name == "other" else "graphs/window-l.onnx"
        shutil.copy(shared_bundle / graph, tmp_path / name / "g.onnx")
        open_backend("openvino", BackendOptions(device="GPU")).load(tmp_path / name / "g.onnx")
    one, two, other = (Path(settings["CACHE_DIR"]) for _, settings in machine.requests)
    assert one == two != other
    assert tmp_path / "cache" in one.parents
    assert list(one.iterdir())


def test_nothing_is_cached_for_the_cpu(machine: Machine, shared_bundle: Path, tmp_path: Path) -> None:
    open_backend("openvino").load(shared_bundle / "graphs/window-l.onnx")
    assert "CACHE_DIR" not in machine.requests[0][1]
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("machine")
def test_an_unwritable_cache_error_names_the_variable(
    shared_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match=r"Cannot write .* set EDGE_MSA_CACHE"):
        open_backend("openvino", BackendOptions(device="GPU")).load(shared_bundle / "graphs/window-l.onnx")


def test_strict_requires_the_requested_device(
    machine: Machine, make_bundle: Callable[..., Path], frames: Callable[..., Any]
) -> None:
    path, language = make_bundle(backends=("openvino",)), frames("language", 3)
    machine.executes = ("GPU.0",)
    assert load(path, device="GPU", strict=True).predict(language=language).device == "GPU.0"
    machine.executes = ("CPU",)
    assert load(path, device="GPU").predict(language=language).device == "CPU"
    with pytest.raises(BackendUnavailableError, match="CPU"):
        load(path, device="GPU", strict=True).predict(language=language)


@pytest.mark.parametrize(("device", "driver"), [("GPU", "OpenCL"), ("NPU", "NPU driver")])
def test_a_missing_device_error_names_its_driver(device: str, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Core, "__init__", lambda self, _: setattr(self, "available_devices", ["CPU"]))
    monkeypatch.setattr(openvino, "Core", Machine().core)
    with pytest.raises(BackendUnavailableError, match=driver) as caught:
        open_backend("openvino", BackendOptions(device=device))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("device", ["AUTO", "AUTO:GPU,CPU", "HETERO", "MULTI"])
def test_devices_that_select_other_devices_are_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "Core", Machine().core)
    with pytest.raises(BackendUnavailableError, match="may use another device without notice"):
        open_backend("openvino", BackendOptions(device=device))


def test_onnx_and_ir_graphs_give_the_same_prediction(
    shared_bundle: Path, tmp_path: Path, frames: Callable[..., Any]
) -> None:
    path = shared_bundle / "graphs/window-l.onnx"
    openvino.save_model(openvino.convert_model(path), tmp_path / "g.xml", compress_to_fp16=False)
    backend = open_backend("openvino")
    inputs = {"frames.language": frames("language", 12)[None], "valid.language": np.ones((1, 12), "f4")}
    from_ir, from_onnx = (backend.load(file)(inputs)["prediction"] for file in (tmp_path / "g.xml", path))
    assert_close_to_scale(from_ir, from_onnx)
