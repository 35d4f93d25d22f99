"""`bench --host` through an `ssh` that runs its commands on this machine."""

from __future__ import annotations

import json
import platform
import sys
import zipfile
from pathlib import Path

import pytest

from edge_msa.benchmark.remote import RemoteConfig, bench_on_host
from edge_msa.benchmark.ssh import SshHost
from edge_msa.errors import EdgeMsaError
from edge_msa_export.bundle.wheel import write_runtime_wheel
from edge_msa_runtime.benchmark.processes import Plan
from edge_msa_runtime.bundle.hashing import file_sha256
from tests.unit.runtime.fake_bundles import seal, write_bundle

PLAN = Plan(processes=1, repeats=3, warmup=0, looks=1)
_SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
echo "$3" >> {log}
exec sh -c "$3"
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SshHost:
    """Return a host whose temporary folders are in `tmp_path / "device"`."""
    for name in ("bin", "device"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin/ssh").write_text(_SSH.format(log=tmp_path / "log"))
    (tmp_path / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "device"))
    return SshHost("device", (), sys.executable)


def foreign_bundle(folder: Path) -> Path:
    """Write a bundle whose wheel ends the process as soon as it is imported, with clutter beside it."""
    write_bundle(folder, backends=["onnxruntime"], names=["audio"])
    wheel = write_runtime_wheel(folder)
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in content.items():
            harmful = name == "edge_msa_runtime/__init__.py"
            archive.writestr(name, b"import os; os._exit(77)\n" if harmful else data)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    profile = {"architecture": platform.machine()}
    seal(folder, {"files": {**files, wheel.name: file_sha256(wheel)}, "profile": profile})
    (folder / ".DS_Store").touch()
    return folder


@pytest.mark.case("D5")
@pytest.mark.usefixtures("printing")
def test_the_wheel_of_a_foreign_bundle_is_never_run(
    host: SshHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = foreign_bundle(tmp_path / "bundle")
    (record,) = bench_on_host(bundle, RemoteConfig(host, keep=True, offline=True), plan=PLAN)
    assert set(record.latency_ms) == {"a"}
    notes = capsys.readouterr().err
    assert "note: The benchmark uses edge_msa_runtime-" in notes
    assert "of this machine. The runtime in fake differs and is not used." in notes
    assert "note: Ignored, because the manifest does not list them: .DS_Store" in notes
    (folder,) = (tmp_path / "device").glob("edge-msa-bench.*")
    assert not (folder / "bundle/.DS_Store").exists()
    (sent,) = (folder / "runtime").iterdir()
    assert sent.read_bytes() == write_runtime_wheel(tmp_path).read_bytes()


@pytest.mark.case("D5")
def test_the_wheel_of_this_machine_is_installed(host: SshHost, tmp_path: Path) -> None:
    """The `python3` of the host does nothing but answer the first question, so that installing fails later."""
    answer = json.dumps([[3, 10], platform.machine(), True])
    python = tmp_path / "bin/python9"
    script = f"""case "$*" in
  -c*) echo '{answer}' ;;
  *"-m venv"*) for last; do :; done; mkdir -p $last/bin; cp $0 $last/bin/python ;;
  *" doctor "*) exit 3 ;;
esac
"""
    python.write_text(f"#!/bin/sh\n{script}")
    python.chmod(0o755)
    with pytest.raises(EdgeMsaError, match="running the doctor"):
        bench_on_host(
            foreign_bundle(tmp_path / "bundle"), RemoteConfig(SshHost(host.address, (), str(python))), plan=PLAN
        )
    installs = [line for line in (tmp_path / "log").read_text().splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert all("/runtime/edge_msa_runtime-" in line for line in installs)
    assert not any("/bundle/" in line for line in installs)
    assert list((tmp_path / "device").iterdir()) == []


@pytest.mark.case("D4")
def test_backends_write_nothing_to_the_home_folder_of_the_device(
    host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("PYTHONUSERBASE", raising=False)
    # An interpreter with a backend that stores an id in HOME.
    python = tmp_path / "bin/python9"
    store = 'echo id >> "$HOME/id"; echo "$HOME $PYTHONUSERBASE" >> ' + str(tmp_path / "homes")
    python.write_text(f'#!/bin/sh\ncase "$*" in *edge_msa_runtime*) {store} ;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    remote = RemoteConfig(SshHost(host.address, (), str(python)), offline=True)
    bench_on_host(foreign_bundle(tmp_path / "bundle"), remote, plan=PLAN)
    assert list(home.iterdir()) == []
    for line in (tmp_path / "homes").read_text().splitlines():
        assert line.startswith(str(tmp_path / "device/edge-msa-bench."))
        assert line.endswith(f" {home}/.local")  # packages that the user of the device has installed are found
    assert list((tmp_path / "device").iterdir()) == []
