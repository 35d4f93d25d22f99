from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_msa_export.bundle.repack import repack_bundle
from edge_msa_export.errors import OutputError
from edge_msa_runtime import BundleError
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import open_bundle
from tests.unit.runtime import fake_bundles

WHEEL = "edge_msa_runtime-0.1.0-py3-none-any.whl"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A bundle with a wheel and a record of the request, as `export` writes it."""
    folder = tmp_path / "bundle"
    fake_bundles.write_bundle(folder, names=("language",))
    for name in (WHEEL, "README.md"):
        (folder / name).write_text("of the export")
    files = json.loads((folder / "manifest.json").read_text())["files"]
    files |= {name: file_sha256(folder / name) for name in (WHEEL, "README.md")}
    provenance = {"seed": 3, "request": {"recipe": {"data": "/home/me/data.csv"}}}
    fake_bundles.seal(folder, {"files": files, "provenance": provenance})
    return folder


def repack(source: Path, output: Path) -> Path:
    golden = {"l/prediction": np.zeros(1, "f4")}
    return repack_bundle(source, output, name="small", license_text="research", card="# card\n", golden=golden)


def test_a_repacked_bundle_has_its_own_name_license_card_and_golden_vectors(exported: Path, tmp_path: Path) -> None:
    folder = repack(exported, tmp_path / "small")
    manifest = open_bundle(folder).manifest
    assert (manifest.name, manifest.license, dict(manifest.provenance)) == ("small", "research", {"seed": 3})
    assert (folder / "README.md").read_text() == "# card\n"
    assert list(np.load(folder / "golden.npz")) == ["l/prediction"]
    graphs = {spec.file for spec in manifest.graphs}
    assert all((folder / name).read_bytes() == (exported / name).read_bytes() for name in graphs)


def test_the_wheel_and_local_paths_are_left_out(exported: Path, tmp_path: Path) -> None:
    folder = repack(exported, tmp_path / "small")
    assert not list(folder.glob("*.whl"))
    assert "/home/me" not in (folder / "manifest.json").read_text()


def test_an_older_copy_is_replaced_and_other_folders_are_not(exported: Path, tmp_path: Path) -> None:
    first = (repack(exported, tmp_path / "small") / "manifest.json").read_bytes()
    assert (repack(exported, tmp_path / "small") / "manifest.json").read_bytes() == first
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    with pytest.raises(OutputError):
        repack(exported, tmp_path / "notes")


def test_a_damaged_bundle_is_not_copied(exported: Path, tmp_path: Path) -> None:
    (exported / "README.md").write_text("changed")
    with pytest.raises(BundleError):
        repack(exported, tmp_path / "small")
    assert not (tmp_path / "small").exists()
