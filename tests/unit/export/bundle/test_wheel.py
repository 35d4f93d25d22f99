from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edge_msa_runtime
from edge_msa_export.bundle.wheel import write_runtime_wheel
from edge_msa_export.errors import ExportError


def test_wheel_is_reproducible(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = write_runtime_wheel(tmp_path / "a"), write_runtime_wheel(tmp_path / "b")
    assert first.name == f"edge_msa_runtime-{edge_msa_runtime.__version__}-py3-none-any.whl"
    assert first.read_bytes() == second.read_bytes()


def test_record_lists_every_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_runtime_wheel(tmp_path)) as archive:
        names = archive.namelist()
        record = next(name for name in names if name.endswith("/RECORD"))
        lines = [line.split(",") for line in archive.read(record).decode().splitlines()]
        assert {line[0] for line in lines} == set(names)
        for name, digest, size in lines:
            if name != record:
                data = archive.read(name)
                expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                assert (digest, size) == (f"sha256={expected}", str(len(data)))
        assert not [name for name in names if name.endswith(".pyc") or "direct_url" in name]


def test_wheel_has_the_pages_and_no_caches(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_runtime_wheel(tmp_path)) as archive:
        names = archive.namelist()
    pages = {"live/page.html", "serve/page/index.html", "serve/page/live.js", "serve/page/style.css"}
    assert {f"edge_msa_runtime/{page}" for page in pages} <= set(names)
    assert not [name for name in names if "__pycache__" in name or "/." in name]


def test_wheel_installs_without_network(tmp_path: Path) -> None:
    wheel = write_runtime_wheel(tmp_path)
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r}); import edge_msa_runtime, edge_msa_runtime.bundle.manifest; "
        "print(edge_msa_runtime.__file__)"
    )
    location = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert Path(location).is_relative_to(target)
    assert (target / "bin" / "edge-msa-run").is_file() or (target / "Scripts" / "edge-msa-run.exe").is_file()


def test_version_that_is_not_installed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_msa_runtime, "__version__", "9.9.9")
    with pytest.raises(ExportError, match=r"must have the imported version 9\.9\.9"):
        write_runtime_wheel(tmp_path)
    assert not list(tmp_path.iterdir())
