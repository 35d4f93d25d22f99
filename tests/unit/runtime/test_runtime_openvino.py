"""OpenVINO's devices: a made-up machine with two GPUs and an NPU, whose graphs run on the CPU all the same."""

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

openvino = pytest.importorskip("openvino")
REAL = openvino.Core


@dataclass
class Machine:
    """What was asked of it, and where it says that it executes."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    executes: tuple[str, ...] = ()

    def core(self) -> _Core:
        return _Core(self)


class _Core:
    def __init__(self, machine: Machine) -> None:
        self.available_devices = ["CPU", "GPU.0", "GPU.1", "NPU"]
        self._machine = machine

    def compile_model(self, path: str, device: str, settings: dict[str, Any]) -> _Compiled:
        self._machine.asked.append((device, settings))
        on_cpu = {name: value for name, value in settings.items() if name != "INFERENCE_PRECISION_HINT"}
        return _Compiled(REAL().compile_model(path, "CPU", on_cpu), self._machine.executes or (device,))


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
    made = Machine()
    monkeypatch.setattr(openvino, "Core", made.core)
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path / "cache"))
    return made


@pytest.mark.parametrize(
    ("device", "precision", "hint"),
    [("CPU", "fp16", "f32"), ("GPU", "fp32", "f32"), ("GPU.1", "fp16", "f16"), ("NPU", "int8", "f16")],
)
def test_each_device_is_asked_for_its_own_arithmetic(
    device: str, precision: str, hint: str, machine: Machine, shared_bundle: Path
) -> None:
    open_backend("openvino", BackendOptions(device=device)).load(shared_bundle / "graphs/window-l.onnx", precision)
    ((asked, settings),) = machine.asked
    assert asked == device
    assert settings["INFERENCE_PRECISION_HINT"] == hint
    assert ("NUM_STREAMS" in settings) == (device == "CPU")


def test_an_npu_is_not_given_float32(machine: Machine, shared_bundle: Path) -> None:
    backend = open_backend("openvino", BackendOptions(device="NPU"))
    with pytest.raises(BackendUnavailableError, match="give --precision fp16 or int8"):
        backend.load(shared_bundle / "graphs/window-l.onnx", "fp32")
    assert machine.asked == []


def test_what_was_compiled_for_a_gpu_is_kept_by_the_graph_s_content(
    machine: Machine, shared_bundle: Path, tmp_path: Path
) -> None:
    for name in ("one", "two", "other"):
        (tmp_path / name).mkdir()
        graph = "graphs/window-la.onnx" if name == "other" else "graphs/window-l.onnx"
        shutil.copy(shared_bundle / graph, tmp_path / name / "g.onnx")
        open_backend("openvino", BackendOptions(device="GPU")).load(tmp_path / name / "g.onnx")
    one, two, other = (Path(settings["CACHE_DIR"]) for _, settings in machine.asked)
    assert one == two != other
    assert tmp_path / "cache" in one.parents
    assert list(one.iterdir())


def test_on_the_cpu_nothing_is_kept(machine: Machine, shared_bundle: Path, tmp_path: Path) -> None:
    open_backend("openvino").load(shared_bundle / "graphs/window-l.onnx")
    assert "CACHE_DIR" not in machine.asked[0][1]
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("machine")
def test_a_cache_that_cannot_be_written_is_told_with_the_variable_that_moves_it(
    shared_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match=r"cannot be written .* set EDGE_MSA_CACHE"):
        open_backend("openvino", BackendOptions(device="GPU")).load(shared_bundle / "graphs/window-l.onnx")


def test_the_executed_device_is_told_and_strict_takes_no_other(
    machine: Machine, make_bundle: Callable[..., Path], frames: Callable[..., Any]
) -> None:
    path, words = make_bundle(backends=("openvino",)), frames("language", 3)
    machine.executes = ("GPU.0",)
    assert load(path, device="GPU", strict=True).predict(language=words).device == "GPU.0"
    machine.executes = ("CPU",)
    assert load(path, device="GPU").predict(language=words).device == "CPU"
    with pytest.raises(BackendUnavailableError, match="must run on GPU, but openvino runs it on CPU"):
        load(path, device="GPU", strict=True).predict(language=words)


@pytest.mark.parametrize(("device", "needs"), [("GPU", "OpenCL"), ("NPU", "NPU driver")])
def test_a_device_without_its_driver_is_told_what_it_needs(
    device: str, needs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Core, "__init__", lambda self, _: setattr(self, "available_devices", ["CPU"]))
    monkeypatch.setattr(openvino, "Core", Machine().core)
    with pytest.raises(BackendUnavailableError, match=needs) as caught:
        open_backend("openvino", BackendOptions(device=device))
    assert caught.value.exit_code == 4


def test_openvino_reads_a_graph_as_it_reads_its_own_ir_of_it(
    shared_bundle: Path, tmp_path: Path, frames: Callable[..., Any]
) -> None:
    path = shared_bundle / "graphs/window-l.onnx"
    openvino.save_model(openvino.convert_model(path), tmp_path / "g.xml", compress_to_fp16=False)
    backend = open_backend("openvino")
    given = {"frames.language": frames("language", 12)[None], "valid.language": np.ones((1, 12), "f4")}
    np.testing.assert_allclose(
        backend.load(tmp_path / "g.xml")(given)["prediction"], backend.load(path)(given)["prediction"], atol=1e-6
    )
