"""Checks of simulated devices: a folder as root, recorded outputs of commands, and a simulated Python."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest

from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import Manifest, TextSpec
from edge_msa_runtime.doctor.findings import OK, OPTIONAL, PROBLEM, Finding
from edge_msa_runtime.doctor.interpreter import Interpreter
from edge_msa_runtime.doctor.report import DoctorReport, examine_device, format_report
from edge_msa_runtime.errors import BackendUnavailableError, PackageImportError
from edge_msa_runtime.system import System

CPU = "sys/devices/system/cpu/cpu0/cpufreq"
MEMORY = "MemTotal: {total} kB\nMemFree: 100 kB\nMemAvailable: {free} kB\n"
MODES = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
JETSON = {
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\n",
    "proc/meminfo": MEMORY.format(total=7800000, free=5000000),
    f"{CPU}/scaling_governor": "schedutil",
    f"{CPU}/scaling_cur_freq": "729600",
    f"{CPU}/scaling_min_freq": "729600",
    f"{CPU}/scaling_max_freq": "1510400",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "47000",
}
ORIN = {
    **JETSON,
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,tegra234\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "etc/nvpmodel.conf": MODES,
    "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}',
    "dev/nvgpu/igpu0": "",
}
XAVIER = {
    **JETSON,
    "proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3509-0000+p3668-0001\0nvidia,tegra194\0",
    "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n",
    "usr/local/cuda/version.json": '{"cuda": {"version": "11.4.19"}}',
    "dev/nvhost-gpu": "",
}
THOR = {
    **JETSON,
    "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,tegra264\0",
    "etc/nv_tegra_release": "# R38 (release), REVISION: 4.0, GCID: 43443517, BOARD: generic, EABI: aarch64\n",
    "usr/local/cuda/version.json": '{"cuda": {"version": "13.0.2"}}',
    "dev/nvidia0": "",
}
PI = {
    **{name: text for name, text in JETSON.items() if CPU not in name},
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
    "usr/lib/python3.11/EXTERNALLY-MANAGED": "[externally-managed]",
}
LAPTOP = {
    "sys/class/dmi/id/product_name": "ThinkPad X1",
    "proc/cpuinfo": "processor : 0\nmodel name : Intel(R) Core(TM) i7-8550U\nflags : fpu sse2 avx2\n",
    "proc/meminfo": MEMORY.format(total=16000000, free=8000000),
    f"{CPU}/scaling_governor": "powersave",
    f"{CPU}/scaling_cur_freq": "900000",
    f"{CPU}/scaling_min_freq": "400000",
    f"{CPU}/scaling_max_freq": "4000000",
}
ORIN_PACKAGES = {
    "libnvinfer10": "10.3.0.30-1+cuda12.5",
    "libnvinfer-bin": "10.3.0.30-1+cuda12.5",
    "python3-libnvinfer": "10.3.0.30-1+cuda12.5",
    "nvidia-l4t-core": "36.4.3-20250107174145",
}
ORIN_MODULES = {"numpy": "1.26", "tensorrt": "10.3.0", "cuda.bindings.runtime": "12.6", "onnxruntime": "1.23.2"}
PROFILE = {
    "architecture": "aarch64",
    "jetpack": "6.2",
    "tensorrt": "10.3",
    "cuda": "12.6",
    "memory_mib": 8192,
    "vnni": False,
}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_MSA_CACHE", "/home/somebody/.cache/edge-msa")


def _create_system(
    root: Path, files: Mapping[str, str], packages: Mapping[str, str], outputs: Mapping[str, str] | None = None
) -> System:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(command: Any) -> str | None:
        if command[0] == "dpkg-query":
            prefix = command[-1].partition("[")[0]
            return "\n".join(f"ii  {name} {version}" for name, version in packages.items() if name.startswith(prefix))
        return (outputs or {}).get(" ".join(command))

    return System(root, run)


def _create_python(
    modules: Mapping[str, str],
    version: tuple[int, int] = (3, 10),
    architecture: str = "aarch64",
    *,
    is_virtual: bool = False,
    sees_system_packages: bool = False,
) -> Interpreter:
    def import_version(module: str) -> str:
        if module not in modules:
            raise PackageImportError(f"Cannot import {module} (No module named {module!r})", module, module)
        return modules[module]

    return Interpreter(version, architecture, is_virtual, sees_system_packages, import_version)


def _find(report: DoctorReport, topic: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.topic == topic]
    return finding


@pytest.fixture(scope="module")
def manifest(make_bundle: Callable[..., Path]) -> Manifest:
    """The manifest of a bundle for an Orin Nano."""
    opened = open_bundle(make_bundle(backends=("onnxruntime",), names=("language",))).manifest
    return dataclasses.replace(opened, backends=("tensorrt", "onnxruntime"), profile=PROFILE)


def test_an_orin_can_run_and_could_be_faster(tmp_path: Path, manifest: Manifest) -> None:
    system = _create_system(tmp_path, ORIN, ORIN_PACKAGES, {"nvpmodel -q": "NV Power Mode: 15W\n0"})
    report = examine_device(manifest, system, _create_python(ORIN_MODULES))
    report.raise_if_blocked()
    assert _find(report, "JetPack").detail == "L4T 36.4.3, JetPack 6.2"
    assert _find(report, "TensorRT").detail == "10.3.0.30"
    assert _find(report, "CUDA").detail == "12.6.11"
    slow = Finding("power mode", "problem", "15W; MAXN_SUPER is faster", "sudo nvpmodel -m 2")
    assert _find(report, "power mode") == slow
    assert _find(report, "clocks").fix == "sudo jetson_clocks"
    assert _find(report, "backend").detail == "tensorrt"
    assert {finding.topic for finding in report.findings if finding.status == "problem"} == {"power mode", "clocks"}
    assert "  power mode: sudo nvpmodel -m 2" in format_report(report)


def test_fixed_clocks_in_the_fastest_mode_are_no_problem(tmp_path: Path, manifest: Manifest) -> None:
    fixed = {**ORIN, f"{CPU}/scaling_min_freq": "1510400"}
    system = _create_system(tmp_path, fixed, ORIN_PACKAGES, {"nvpmodel -q": "NV Power Mode: MAXN_SUPER\n2"})
    report = examine_device(manifest, system, _create_python(ORIN_MODULES))
    assert format_report(report)[-1] == "No problems found."


def test_a_tensorrt_mismatch_names_both_versions(tmp_path: Path, manifest: Manifest) -> None:
    packages = {"libnvinfer8": "8.5.2-1+cuda11.4", "python3-libnvinfer": "8.5.2-1+cuda11.4"}
    modules = {"numpy": "1.17", "tensorrt": "8.5.2.2", "cuda.cudart": "11.8"}
    system = _create_system(tmp_path, XAVIER, packages)
    report = examine_device(manifest, system, _create_python(modules, (3, 8)))
    assert _find(report, "JetPack").detail == "L4T 35.4.1, JetPack 5.1"
    assert _find(report, "bundle JetPack").status == "unknown"
    mismatch = _find(report, "bundle TensorRT")
    assert mismatch.detail == "TensorRT 8.5.2.2 is installed, but the bundle needs 10.3 or a later 10.x (JetPack 6.2)"
    assert "edge-msa export" in mismatch.fix
    assert _find(report, "onnxruntime").fix == "python3 -m pip install onnxruntime"
    with pytest.raises(BackendUnavailableError, match="no backend of the bundle can run") as caught:
        report.raise_if_blocked()
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("packages", "sees_system_packages", "fix"),
    [
        (ORIN_PACKAGES, False, "python3 -m venv --system-site-packages ENVIRONMENT"),
        (ORIN_PACKAGES, True, "Use JetPack's own Python: /usr/bin/python3"),
        ({"libnvinfer10": "10.3.0.30-1"}, True, "sudo apt-get install python3-libnvinfer"),
    ],
)
def test_a_failed_tensorrt_import_has_a_fix(
    tmp_path: Path, manifest: Manifest, packages: Mapping[str, str], sees_system_packages: bool, fix: str
) -> None:
    modules = {name: version for name, version in ORIN_MODULES.items() if name != "tensorrt"}
    python = _create_python(modules, is_virtual=True, sees_system_packages=sees_system_packages)
    report = examine_device(manifest, _create_system(tmp_path, ORIN, packages), python)
    assert _find(report, "TensorRT for Python").fix == fix
    expected = "tensorrt cannot run (TensorRT for Python); onnxruntime is used instead"
    assert _find(report, "backend").detail == expected
    report.raise_if_blocked()  # another backend can run


def test_cuda_python_must_match_the_installed_cuda(tmp_path: Path) -> None:
    packages = {"libnvinfer10": "10.13.3.9-1+cuda13.0", "python3-libnvinfer": "10.13.3.9-1+cuda13.0"}
    python = _create_python({"numpy": "1", "tensorrt": "10.13.3"}, (3, 12))
    report = examine_device(None, _create_system(tmp_path, THOR, packages), python)
    assert _find(report, "JetPack").detail == "L4T 38.4.0, JetPack 7.1"
    assert _find(report, "cuda-python").fix == "python3 -m pip install 'cuda-python>=13,<14'"
    assert _find(report, "GPU").detail == "/dev/nvidia0"


def test_a_container_without_a_gpu_has_a_fix(tmp_path: Path, manifest: Manifest) -> None:
    files = {name: text for name, text in ORIN.items() if name not in ("dev/nvgpu/igpu0", "etc/nv_tegra_release")}
    system = _create_system(tmp_path, {**files, ".dockerenv": ""}, {})
    report = examine_device(manifest, system, _create_python(ORIN_MODULES))
    assert _find(report, "GPU").fix == "docker run --runtime nvidia ..."
    assert _find(report, "JetPack").status == "unknown"


@pytest.mark.parametrize(
    ("flags", "detail", "fix"),
    [
        ("0x50005", "0x50005 since boot, under-voltage", "Use the board's official power supply."),
        ("0xe0000", "0xe0000 since boot", "Add a fan, or let the board cool down."),
    ],
)
def test_a_raspberry_pi_reports_throttling(tmp_path: Path, flags: str, detail: str, fix: str) -> None:
    system = _create_system(tmp_path, PI, {}, {"vcgencmd get_throttled": f"throttled={flags}"})
    report = examine_device(None, system, _create_python({"numpy": "1.24"}, (3, 11)))
    assert (_find(report, "throttling").detail, _find(report, "throttling").fix) == (detail, fix)
    assert "8-bit dot products" in _find(report, "processor").detail
    assert not {"JetPack", "CUDA", "TensorRT"} & {finding.topic for finding in report.findings}


def test_a_missing_backend_is_optional_beside_another_one_of_the_bundle(tmp_path: Path, manifest: Manifest) -> None:
    backends = {"onnxruntime": "fp32", "openvino": "fp32"}
    bundle = dataclasses.replace(manifest, backends=tuple(backends), precision=backends, profile={})
    python = _create_python({"numpy": "1.24", "onnxruntime": "1.20"}, (3, 11))
    report = examine_device(bundle, _create_system(tmp_path, PI, {}), python)
    assert _find(report, "openvino").status == OPTIONAL
    assert _find(report, "backend").status == OK
    assert [line for line in format_report(report) if line.startswith(("Optional:", "  openvino: "))]
    alone = dataclasses.replace(bundle, backends=("openvino",), precision={"openvino": "fp32"})
    assert _find(examine_device(alone, _create_system(tmp_path, PI, {}), python), "openvino").status == PROBLEM


def test_without_a_backend_nothing_can_run(tmp_path: Path) -> None:
    report = examine_device(None, _create_system(tmp_path, PI, {}), _create_python({"numpy": "1.24"}, (3, 11)))
    # The system's Python is externally managed, so that pip needs an environment.
    assert "env/bin/pip install onnxruntime" in _find(report, "backends").fix
    with pytest.raises(BackendUnavailableError, match="backends: none is installed"):
        report.raise_if_blocked()


def test_a_hot_board_is_a_problem(tmp_path: Path) -> None:
    hot = {**PI, "sys/class/thermal/thermal_zone0/temp": "86500"}
    python = _create_python({"numpy": "1", "onnxruntime": "1.23"})
    report = examine_device(None, _create_system(tmp_path, hot, {}), python)
    assert _find(report, "temperature").status == "problem"


def test_int8_graphs_may_need_vnni(tmp_path: Path, manifest: Manifest) -> None:
    profile = {"architecture": "x86_64", "vnni": True}
    bundle = dataclasses.replace(manifest, backends=("openvino",), precision={"openvino": "int8"}, profile=profile)
    python = _create_python({"numpy": "2.0", "openvino": "2024.6.0-1"}, (3, 11), "AMD64", is_virtual=True)
    report = examine_device(bundle, _create_system(tmp_path, LAPTOP, {}), python)
    assert _find(report, "bundle processor").status == "ok"
    assert "laptop-x86-avx2" in _find(report, "bundle int8").fix
    assert "cannot load fp16 and int8 graphs" in _find(report, "openvino").detail
    fp32 = dataclasses.replace(bundle, precision={"openvino": "fp32"})
    findings = examine_device(fp32, _create_system(tmp_path / "fp32", LAPTOP, {}), python).findings
    assert "bundle int8" not in {finding.topic for finding in findings}
    assert "tee /sys/devices/system/cpu" in _find(report, "clocks").fix


DESKTOP = {"architecture": "x86_64", "tensorrt": "10.3", "sm": 75}


def test_a_desktop_with_tensorrt_from_pip_needs_no_cuda_toolkit(tmp_path: Path, manifest: Manifest) -> None:
    bundle = dataclasses.replace(manifest, profile=DESKTOP)
    modules = {"numpy": "2", "tensorrt": "10.16.1", "cuda.bindings.runtime": "13.2", "onnxruntime": "1.23"}
    system = _create_system(tmp_path, {**LAPTOP, "dev/nvidia0": ""}, {})
    report = examine_device(bundle, system, _create_python(modules, (3, 12), "x86_64", is_virtual=True))
    assert _find(report, "backend") == Finding("backend", "ok", "tensorrt")
    assert _find(report, "TensorRT for Python") == Finding("TensorRT for Python", "ok", "10.16.1")
    assert not {"CUDA", "TensorRT", "JetPack"} & {finding.topic for finding in report.findings}


def test_a_desktop_installs_the_tensorrt_of_the_bundle_with_pip(tmp_path: Path, manifest: Manifest) -> None:
    bundle = dataclasses.replace(manifest, profile=DESKTOP)
    python = _create_python({"numpy": "2", "onnxruntime": "1.23"}, (3, 12), "x86_64", is_virtual=True)
    report = examine_device(bundle, _create_system(tmp_path, LAPTOP, {}), python)
    assert _find(report, "TensorRT for Python").fix == "python3 -m pip install 'tensorrt>=10.3,<11'"
    assert _find(report, "cuda-python").fix == "python3 -m pip install 'cuda-python'"
    assert _find(report, "GPU").fix == "Install NVIDIA's driver."


def test_a_bundle_for_any_processor_fits_every_device(tmp_path: Path, manifest: Manifest) -> None:
    bundle = dataclasses.replace(manifest, profile={"architecture": "any"})
    for architecture in ("x86_64", "aarch64"):
        python = _create_python({"numpy": "2", "onnxruntime": "1"}, (3, 11), architecture)
        report = examine_device(bundle, _create_system(tmp_path / architecture, LAPTOP, {}), python)
        assert _find(report, "bundle processor").status == "ok"


def test_another_processor_or_less_memory_is_a_problem(tmp_path: Path, manifest: Manifest) -> None:
    small = {**LAPTOP, "proc/meminfo": MEMORY.format(total=4000000, free=300000)}
    python = _create_python({"numpy": "2", "onnxruntime": "1"}, (3, 11), "x86_64")
    report = examine_device(manifest, _create_system(tmp_path, small, {}), python)
    assert "the bundle is for aarch64, this device is x86_64" in _find(report, "bundle processor").detail
    assert _find(report, "bundle memory").detail == "the target has 8192 MiB, this device has 3906 MiB"
    assert "Close other programs" in _find(report, "memory").fix
    report.raise_if_blocked()


def test_an_unwritable_cache_is_a_problem(tmp_path: Path) -> None:
    blocked = {**PI, "home/somebody/.cache": "a file where a folder should be"}
    python = _create_python({"numpy": "1", "onnxruntime": "1.23"})
    report = examine_device(None, _create_system(tmp_path, blocked, {}), python)
    assert _find(report, "backend cache").fix == "export EDGE_MSA_CACHE=/a/writable/folder"


def test_old_python_and_missing_numpy_are_blocking(tmp_path: Path) -> None:
    report = examine_device(None, _create_system(tmp_path, PI, {}), _create_python({"onnxruntime": "1"}, (3, 7)))
    assert [finding.topic for finding in report.blocking] == ["Python", "numpy"]


def test_python_3_8_needs_an_older_tokenizers(tmp_path: Path, manifest: Manifest) -> None:
    bundle = dataclasses.replace(manifest, language=TextSpec("tokenizer.json", "encoder", "", 16, 0.0))
    report = examine_device(bundle, _create_system(tmp_path, XAVIER, {}), _create_python({"numpy": "1"}, (3, 8)))
    assert _find(report, "tokenizers").fix == "python3 -m pip install 'tokenizers<0.21'"


def test_a_jetpack_before_5_1_must_be_replaced(tmp_path: Path) -> None:
    old = {**XAVIER, "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004\n"}
    report = examine_device(None, _create_system(tmp_path, old, {}), _create_python({"numpy": "1"}, (3, 8)))
    assert "Flash JetPack 5.1" in _find(report, "JetPack").fix
