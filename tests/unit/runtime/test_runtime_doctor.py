"""Devices that are not here, as folders, commands that answer, and a Python that is made up."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest

from edge_msa_runtime.bundle.manifest import Manifest, TextSpec
from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.cli.main import main
from edge_msa_runtime.doctor.examination import Examination, examination_lines, examine
from edge_msa_runtime.doctor.findings import Finding
from edge_msa_runtime.doctor.jetson import jetpack_of
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.system import Interpreter, System

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


def _system(
    root: Path, files: Mapping[str, str], packages: Mapping[str, str], answers: Mapping[str, str] | None = None
) -> System:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def run(command: Any) -> str | None:
        if command[0] == "dpkg-query":
            start = command[-1].partition("[")[0]
            return "\n".join(f"ii  {name} {version}" for name, version in packages.items() if name.startswith(start))
        return (answers or {}).get(" ".join(command))

    return System(root, run)


def _python(
    modules: Mapping[str, str],
    version: tuple[int, int] = (3, 10),
    machine: str = "aarch64",
    *,
    virtual: bool = False,
    sees_system: bool = False,
) -> Interpreter:
    def load(module: str) -> str:
        if module not in modules:
            raise ImportError(f"No module named {module!r}")
        return modules[module]

    return Interpreter(version, machine, virtual, sees_system, load)


def _of(found: Examination, topic: str) -> Finding:
    (finding,) = [finding for finding in found.findings if finding.topic == topic]
    return finding


@pytest.fixture(scope="module")
def manifest(make_bundle: Callable[..., Path]) -> Manifest:
    """Of a bundle for an Orin Nano."""
    opened = open_bundle(make_bundle(backends=("onnxruntime",), names=("language",))).manifest
    return dataclasses.replace(opened, backends=("tensorrt", "onnxruntime"), profile=PROFILE)


def test_an_orin_that_is_set_up_runs_and_is_told_what_makes_it_faster(tmp_path: Path, manifest: Manifest) -> None:
    system = _system(tmp_path, ORIN, ORIN_PACKAGES, {"nvpmodel -q": "NV Power Mode: 15W\n0"})
    found = examine(manifest, system, _python(ORIN_MODULES))
    found.require()
    assert _of(found, "JetPack").found == "L4T 36.4.3, JetPack 6.2"
    assert _of(found, "TensorRT").found == "10.3.0.30"
    assert _of(found, "CUDA").found == "12.6.11"
    assert _of(found, "power mode") == Finding("power mode", "wrong", "15W, MAXN_SUPER is faster", "sudo nvpmodel -m 2")
    assert _of(found, "clocks").fix == "sudo jetson_clocks"
    assert _of(found, "backend").found == "tensorrt at no precision"
    assert {finding.topic for finding in found.findings if finding.state == "wrong"} == {"power mode", "clocks"}
    assert "  power mode: sudo nvpmodel -m 2" in examination_lines(found)


def test_fixed_clocks_and_the_fastest_mode_are_nothing_wrong(tmp_path: Path, manifest: Manifest) -> None:
    fixed = {**ORIN, f"{CPU}/scaling_min_freq": "1510400"}
    system = _system(tmp_path, fixed, ORIN_PACKAGES, {"nvpmodel -q": "NV Power Mode: MAXN_SUPER\n2"})
    found = examine(manifest, system, _python(ORIN_MODULES))
    assert examination_lines(found)[-1] == "nothing is wrong"


def test_a_bundle_for_another_tensorrt_is_told_with_both_versions(tmp_path: Path, manifest: Manifest) -> None:
    packages = {"libnvinfer8": "8.5.2-1+cuda11.4", "python3-libnvinfer": "8.5.2-1+cuda11.4"}
    modules = {"numpy": "1.17", "tensorrt": "8.5.2.2", "cuda.cudart": "11.8"}
    found = examine(manifest, _system(tmp_path, XAVIER, packages), _python(modules, (3, 8)))
    assert _of(found, "JetPack").found == "L4T 35.4.1, JetPack 5.1"
    assert _of(found, "bundle's JetPack").state == "unknown"
    wrong = _of(found, "bundle's TensorRT")
    assert "the bundle is for tensorrt 10.3 (JetPack 6.2), here is 8.5.2.2" in wrong.found
    assert "edge-msa export" in wrong.fix
    assert _of(found, "onnxruntime").fix == "python3 -m pip install onnxruntime"
    with pytest.raises(BackendUnavailableError, match="none of tensorrt, onnxruntime can run") as caught:
        found.require()
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("packages", "sees_system", "fix"),
    [
        (ORIN_PACKAGES, False, "python3 -m venv --system-site-packages ENVIRONMENT"),
        (ORIN_PACKAGES, True, "use the Python that JetPack has: /usr/bin/python3"),
        ({"libnvinfer10": "10.3.0.30-1"}, True, "sudo apt-get install python3-libnvinfer"),
    ],
)
def test_a_binding_that_is_not_imported_is_told_why(
    tmp_path: Path, manifest: Manifest, packages: Mapping[str, str], sees_system: bool, fix: str
) -> None:
    modules = {name: version for name, version in ORIN_MODULES.items() if name != "tensorrt"}
    found = examine(
        manifest, _system(tmp_path, ORIN, packages), _python(modules, virtual=True, sees_system=sees_system)
    )
    assert _of(found, "TensorRT, Python").fix == fix
    assert _of(found, "backend").found == "tensorrt cannot run (TensorRT, Python), onnxruntime would in its place"
    found.require()  # slower, and it runs


def test_a_thor_is_known_and_its_cuda_python_is_that_of_cuda_13(tmp_path: Path) -> None:
    packages = {"libnvinfer10": "10.13.3.9-1+cuda13.0", "python3-libnvinfer": "10.13.3.9-1+cuda13.0"}
    found = examine(None, _system(tmp_path, THOR, packages), _python({"numpy": "1", "tensorrt": "10.13.3"}, (3, 12)))
    assert _of(found, "JetPack").found == "L4T 38.4.0, JetPack 7.1"
    assert _of(found, "cuda-python").fix == "python3 -m pip install 'cuda-python>=13,<14'"
    assert _of(found, "GPU").found == "/dev/nvidia0"


def test_a_container_without_the_gpu_is_told_how_to_start_it(tmp_path: Path, manifest: Manifest) -> None:
    files = {name: text for name, text in ORIN.items() if name not in ("dev/nvgpu/igpu0", "etc/nv_tegra_release")}
    found = examine(manifest, _system(tmp_path, {**files, ".dockerenv": ""}, {}), _python(ORIN_MODULES))
    assert _of(found, "GPU").fix == "docker run --runtime nvidia ..."
    assert _of(found, "JetPack").state == "unknown"


@pytest.mark.parametrize(
    ("flags", "said", "fix"),
    [
        ("0x50005", "0x50005 since boot, under-voltage", "use the power supply that is made for the board"),
        ("0xe0000", "0xe0000 since boot", "give it a fan, or let it cool down"),
    ],
)
def test_a_raspberry_pi_is_told_of_its_supply_and_its_managed_python(
    tmp_path: Path, flags: str, said: str, fix: str
) -> None:
    system = _system(tmp_path, PI, {}, {"vcgencmd get_throttled": f"throttled={flags}"})
    found = examine(None, system, _python({"numpy": "1.24"}, (3, 11)))
    assert (_of(found, "throttling").found, _of(found, "throttling").fix) == (said, fix)
    assert "8-bit dot products" in _of(found, "processor").found
    assert not {"JetPack", "CUDA", "TensorRT"} & {finding.topic for finding in found.findings}
    assert "env/bin/pip install onnxruntime" in _of(found, "backends").fix
    with pytest.raises(BackendUnavailableError, match="backends: there is none"):
        found.require()


def test_a_hot_board_is_wrong(tmp_path: Path) -> None:
    hot = {**PI, "sys/class/thermal/thermal_zone0/temp": "86500"}
    found = examine(None, _system(tmp_path, hot, {}), _python({"numpy": "1", "onnxruntime": "1.23"}))
    assert _of(found, "temperature").state == "wrong"


def test_a_laptop_without_vnni_and_a_bundle_that_needs_it(tmp_path: Path, manifest: Manifest) -> None:
    profile = {"architecture": "x86_64", "vnni": True}
    wanted = dataclasses.replace(manifest, backends=("openvino",), precision={"openvino": "int8"}, profile=profile)
    python = _python({"numpy": "2.0", "openvino": "2024.6.0-1"}, (3, 11), "AMD64", virtual=True)
    found = examine(wanted, _system(tmp_path, LAPTOP, {}), python)
    assert _of(found, "bundle's kind").state == "ok"
    assert "laptop-x86-avx2" in _of(found, "bundle's int8").fix
    assert "does not read the graphs of fp16 and int8" in _of(found, "openvino").found
    assert "tee /sys/devices/system/cpu" in _of(found, "clocks").fix


def test_a_bundle_for_another_kind_of_processor_or_a_larger_board_is_told(tmp_path: Path, manifest: Manifest) -> None:
    small = {**LAPTOP, "proc/meminfo": MEMORY.format(total=4000000, free=300000)}
    found = examine(
        manifest, _system(tmp_path, small, {}), _python({"numpy": "2", "onnxruntime": "1"}, (3, 11), "x86_64")
    )
    assert "it is for aarch64, this is x86_64" in _of(found, "bundle's kind").found
    assert "its target has 8192 MiB, this has 3906" in _of(found, "bundle's memory").found
    assert "close other programs" in _of(found, "memory").fix
    found.require()


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    blocked = {**PI, "home/somebody/.cache": "a file where a folder should be"}
    found = examine(None, _system(tmp_path, blocked, {}), _python({"numpy": "1", "onnxruntime": "1.23"}))
    assert _of(found, "backend cache").fix == "export EDGE_MSA_CACHE=/a/folder/that/can"


def test_what_python_is_too_old_for_or_lacks_stops_everything(tmp_path: Path) -> None:
    found = examine(None, _system(tmp_path, PI, {}), _python({"onnxruntime": "1"}, (3, 7)))
    assert [finding.topic for finding in found.stops] == ["Python", "numpy"]


def test_words_need_tokenizers_of_which_python_3_8_has_an_older_one(tmp_path: Path, manifest: Manifest) -> None:
    words = dataclasses.replace(manifest, language=TextSpec("tokenizer.json", "graph", "", 16, 0.0))
    found = examine(words, _system(tmp_path, XAVIER, {}), _python({"numpy": "1"}, (3, 8)))
    assert _of(found, "tokenizers").fix == "python3 -m pip install 'tokenizers<0.21'"


@pytest.mark.parametrize(
    ("release", "jetpack"),
    [("35.4.1", "5.1"), ("35.1.0", "5.0.2"), ("36.3.0", "6.0"), ("36.4.0", "6.1"), ("36.4.4", "6.2.1"), ("40.1", None)],
)
def test_a_jetpack_is_known_by_its_release_of_linux(release: str, jetpack: str | None) -> None:
    assert jetpack_of(release) == jetpack


def test_a_jetpack_before_5_1_is_to_be_flashed(tmp_path: Path) -> None:
    old = {**XAVIER, "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004\n"}
    found = examine(None, _system(tmp_path, old, {}), _python({"numpy": "1"}, (3, 8)))
    assert "flash JetPack 5.1" in _of(found, "JetPack").fix


def test_the_command_looks_at_this_device_and_a_bundle(shared_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(shared_bundle), "--json"]) == 0
    out = capsys.readouterr().out
    told = json.loads(out.splitlines()[-1])
    assert told["runs"]
    assert {"processor", "Python", "onnxruntime", "backend"} <= {finding["topic"] for finding in told["findings"]}
    assert main(["doctor"]) == 0


def test_the_command_ends_with_4_where_no_backend_of_the_bundle_can_run(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["doctor", str(make_bundle(backends=("onnxruntime",), names=("language",)))]) == 4
    captured = capsys.readouterr()
    assert "stands in the way of running:" in captured.out
    assert captured.err.startswith("error: backend: none of onnxruntime can run; what mends it: python3 -m pip install")
