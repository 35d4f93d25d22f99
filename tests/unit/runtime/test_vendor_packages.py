"""Imports of vendors' packages: nothing is sent or written, and a failure is one line. Packages are faked by files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

import edge_msa_runtime

RUNTIME = str(Path(edge_msa_runtime.__file__).parents[1])
# How NumPy 2 answers an extension module that was built for NumPy 1.
BUILT_FOR_NUMPY_1 = """
import sys
sys.stderr.write("A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.1.\\nTraceback:\\n")
sys.stderr.write("AttributeError: _ARRAY_API not found\\n")
raise ImportError("numpy.core.multiarray failed to import")
"""
BROKEN_NUMPY = '''
raise ImportError("""

IMPORTANT: PLEASE READ THIS FOR ADVICE ON HOW TO SOLVE THIS ISSUE!

Importing the numpy C-extensions failed.

Original error was: libopenblas.so.0: cannot open shared object file
""")
'''
MISSING_LIBRARY = 'raise ImportError("libonnx.so.1: cannot open shared object file: No such file or directory")'
# Refuses to look up a host, to open a connection and to write a file below HOME, and says so.
GUARD = """
import os, sys

def guard(event, arguments):
    home = os.environ["HOME"]
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        sys.__stdout__.write(f"guard: {event} {arguments}\\n")
    if event in ("open", "os.mkdir") and str(arguments[0]).startswith(home):
        sys.__stdout__.write(f"guard: {event} {arguments}\\n")

sys.addaudithook(guard)
"""


class FakePackages:
    """A folder of packages that come before the installed ones. `home` is the HOME of processes, an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        self.home = folder / "home"
        self.site.mkdir()
        self.home.mkdir()

    def add(self, name: str, source: str, version: str | None = "1.16.3") -> None:
        """Add a package, with metadata unless the version is None."""
        (self.site / name).mkdir()
        (self.site / name / "__init__.py").write_text(source, encoding="utf-8")
        if version is not None:
            metadata = self.site / f"{name}-{version}.dist-info"
            metadata.mkdir()
            (metadata / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n", encoding="utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these packages."""
        variables = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
        path = os.pathsep.join([str(self.site), RUNTIME, *filter(None, [os.environ.get("PYTHONPATH")])])
        variables.update({"PYTHONPATH": path, "HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache")})
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False, env=variables, timeout=300
        )

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `edge-msa-run` with these packages."""
        return self.run("-m", "edge_msa_runtime", *arguments)


@pytest.fixture
def fakes(tmp_path: Path) -> FakePackages:
    return FakePackages(tmp_path)


def topics(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """The findings of `edge-msa-run doctor --json` by topic."""
    return {finding["topic"]: finding for finding in json.loads(done.stdout.splitlines()[-1])["findings"]}


@pytest.mark.case("F5")
@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "tensorrt", "tokenizers"])
def test_a_package_built_for_numpy_1_is_named_with_both_versions(
    name: str, fakes: FakePackages, make_text_bundle: Callable[[str], Path], make_bundle: Callable[..., Path]
) -> None:
    fakes.add(name, BUILT_FOR_NUMPY_1)
    fakes.add("numpy", "__version__ = '2.2.1'", "2.2.1")
    problem = f"{name} 1.16.3 was built for NumPy 1 and cannot run with NumPy 2.2.1"
    folder, topic = make_text_bundle("table"), name
    if name == "tensorrt":
        folder, topic = make_bundle(names=("language",), backends=("tensorrt",)), "TensorRT for Python"
    done = fakes.run_command("doctor", str(folder), "--json")
    finding = topics(done)[topic]
    assert (finding["status"], finding["detail"].partition(";")[0]) == ("problem", problem)
    assert finding["fix"].endswith("pip install 'numpy<2'")
    assert "Traceback" not in done.stderr
    done = fakes.run_command("info", str(folder))
    assert f"problem: {problem}. Run: pip install 'numpy<2'" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.case("F5")
def test_load_explains_a_package_built_for_numpy_1_in_one_line(fakes: FakePackages, shared_bundle: Path) -> None:
    fakes.add("onnxruntime", BUILT_FOR_NUMPY_1)
    done = fakes.run_command("verify", str(shared_bundle), "--backend", "onnxruntime")
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert line.startswith("edge-msa-run: onnxruntime 1.16.3 was built for NumPy 1 and cannot run with NumPy ")
    assert line.endswith(". Run: pip install 'numpy<2'")


@pytest.mark.case("F5")
def test_a_binary_mismatch_that_a_package_hides_is_an_error(fakes: FakePackages) -> None:
    fakes.add("openvino", f"try:{BUILT_FOR_NUMPY_1.replace(chr(10), chr(10) + ' ')}\nexcept ImportError: pass")
    done = fakes.run("-c", "from edge_msa_runtime.vendor_packages import import_package as f; f('openvino')")
    assert "openvino 1.16.3 was built for NumPy 1 and cannot run with NumPy" in done.stderr.splitlines()[-1]


@pytest.mark.case("F5")
@pytest.mark.parametrize(
    ("error", "problem"),
    [
        ("RuntimeError('module compiled against ABI version 0x1000009 but this version of numpy is 0x2000000')", "1"),
        ("ValueError('numpy.dtype size changed, may indicate binary incompatibility')", "later"),
        ("ImportError('numpy.core.multiarray failed to import')", "1"),
    ],
)
def test_other_signs_of_a_binary_mismatch_are_recognized(error: str, problem: str, fakes: FakePackages) -> None:
    fakes.add("onnxruntime", f"raise {error}")
    fakes.add("numpy", "", "2.0.0")
    done = fakes.run("-c", "from edge_msa_runtime.vendor_packages import import_package as f; f('onnxruntime')")
    assert (
        f"was built for {'NumPy 1' if problem == '1' else 'a later NumPy'} and cannot" in done.stderr.splitlines()[-1]
    )


@pytest.mark.case("F5")
def test_an_installed_package_that_cannot_be_imported_is_a_problem(fakes: FakePackages, shared_bundle: Path) -> None:
    fakes.add("onnxruntime", MISSING_LIBRARY)
    problem = "onnxruntime 1.16.3 is installed, but its import fails (libonnx.so.1: cannot open shared object file"
    done = fakes.run_command("info", str(shared_bundle), "--json")
    states = {item["name"]: item for item in json.loads(done.stdout.splitlines()[-1])["backends"]}
    assert not states["onnxruntime"]["installed"]
    assert states["onnxruntime"]["problem"].startswith(problem)
    finding = topics(fakes.run_command("doctor", "--json"))["onnxruntime"]
    assert finding["status"] == "problem"
    assert finding["fix"].endswith("pip install --force-reinstall onnxruntime")


@pytest.mark.case("F5")
def test_damaged_tokenizers_are_installed_again(fakes: FakePackages, make_text_bundle: Callable[[str], Path]) -> None:
    fakes.add("tokenizers", MISSING_LIBRARY)
    folder = str(make_text_bundle("table"))
    fix = topics(fakes.run_command("doctor", folder, "--json"))["tokenizers"]["fix"]
    assert "pip install --force-reinstall " in fix
    assert "tokenizers" in fix
    done = fakes.run_command("predict", folder, "--text", "i")
    assert done.stderr.splitlines()[-1].endswith("Run: pip install --force-reinstall tokenizers")


def test_a_package_that_another_thread_imports_is_complete(fakes: FakePackages) -> None:
    fakes.add("slow", "import time\ntime.sleep(0.3)\nDONE = True")
    code = """
import sys, threading, time
from edge_msa_runtime.vendor_packages import import_package
for start in (import_package, __import__):
    thread = threading.Thread(target=start, args=("slow",))
    thread.start()
    while "slow" not in sys.modules:
        time.sleep(0.001)
    print(import_package("slow").DONE)
    thread.join()
    del sys.modules["slow"]
"""
    done = fakes.run("-c", code)
    assert (done.stdout.split(), done.stderr) == (["True", "True"], "")


def test_a_package_can_be_imported_without_a_console(fakes: FakePackages) -> None:
    fakes.add("loud", "import sys\nsys.stderr.write('hello')")
    code = "import sys; sys.stderr = None; from edge_msa_runtime.vendor_packages import import_package as f; f('loud')"
    assert fakes.run("-c", code).returncode == 0


@pytest.mark.case("F5")
@pytest.mark.parametrize(
    ("source", "reason", "requirement"),
    [
        ("raise ModuleNotFoundError(\"No module named 'numpy'\", name='numpy')", "No module named 'numpy'", "numpy"),
        (BROKEN_NUMPY, "libopenblas.so.0: cannot open shared object file", "--force-reinstall numpy"),
    ],
)
def test_a_missing_or_broken_numpy_is_one_line(
    source: str, reason: str, requirement: str, fakes: FakePackages, shared_bundle: Path
) -> None:
    fakes.add("numpy", source, "2.2.1" if "libopenblas" in reason else None)
    done = fakes.run_command("doctor", "--json")
    finding = topics(done)["numpy"]
    assert reason in finding["detail"]
    assert finding["fix"].endswith(f"pip install {requirement}")
    assert done.returncode == 4
    assert fakes.run_command("info", str(shared_bundle)).returncode == 0
    for arguments in (("verify", str(shared_bundle)), ("predict", str(shared_bundle), "--text", "i")):
        done = fakes.run_command(*arguments)
        (line,) = done.stderr.splitlines()
        assert reason in line
        assert line.endswith(f"Run: pip install {requirement}")
        assert done.returncode == 4
    done = fakes.run("-c", "from edge_msa_runtime import load")
    assert done.stderr.splitlines()[-1].startswith("edge_msa_runtime.errors.PackageImportError: ")


@pytest.mark.case("F1")
@pytest.mark.case("D4")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_backend_sends_and_writes_nothing(backend: str, fakes: FakePackages, shared_bundle: Path) -> None:
    pytest.importorskip(backend)
    code = f"{GUARD}\nfrom edge_msa_runtime import load\nload({str(shared_bundle)!r}, {backend!r}).prepare('l')"
    done = fakes.run("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(fakes.home.rglob("*")) == []


@pytest.mark.slow
@pytest.mark.case("F1")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_system_calls_of_a_backend_open_no_connection(
    backend: str, fakes: FakePackages, shared_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip(backend)
    log = tmp_path / "calls"
    code = f"from edge_msa_runtime import load; load({str(shared_bundle)!r}, {backend!r}).prepare('l')"
    command = ["strace", "-f", "-e", "trace=socket,connect,sendto,sendmsg", "-o", str(log), sys.executable, "-c", code]
    variables = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    variables.update({"HOME": str(fakes.home), "PYTHONPATH": RUNTIME})
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    lines = log.read_text("utf-8").splitlines()
    assert [line for line in lines if any(f" {name}(" in line for name in ("socket", "connect", "sendto"))] == []
    assert list(fakes.home.rglob("*")) == []


@pytest.mark.case("F1")
def test_openvino_telemetry_remains_usable_for_others(fakes: FakePackages) -> None:
    fakes.add("openvino", "import openvino_telemetry")
    fakes.add("openvino_telemetry", "")
    code = """
from edge_msa_runtime.vendor_packages import import_package
try:
    import_package("openvino")
except ImportError as error:
    raise SystemExit("telemetry is hidden with an ImportError") from error
except Exception as error:
    print(error)
import openvino_telemetry
print(openvino_telemetry.__name__)
"""
    first, last = fakes.run("-c", code).stdout.splitlines()
    assert "openvino_telemetry" in first
    assert last == "openvino_telemetry"


@pytest.mark.case("F1")
def test_only_one_module_imports_backends() -> None:
    roots = [
        "runtime/edge_msa_runtime",
        "export/edge_msa_export",
        "calibrate/edge_msa_calibrate",
        "edge_msa",
        "devices",
    ]
    repository = Path(RUNTIME).parent
    if not (repository / "edge_msa").is_dir():
        pytest.skip("the runtime is installed without the rest of the repository")
    statements = tuple(f"{verb} {name}" for verb in ("import", "from") for name in ("openvino", "onnxruntime"))
    found = [
        f"{path.relative_to(repository)}: {line.strip()}"
        for root in roots
        for path in (repository / root).rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if line.strip().startswith(statements)
    ]
    assert found == []
