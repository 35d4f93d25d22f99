from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edge_msa.data.formats.hdf5 import open_hdf5
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError

Build = Callable[[h5py.File, Path], None]
SECRET = np.arange(4, dtype="<f8").reshape(2, 2)
FEATURES = "root/data/a[0]/features"


def _external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset(FEATURES, (2, 2), dtype="<f8", external=[(str(secret), 0, SECRET.nbytes)])


def _external_link(file: h5py.File, secret: Path) -> None:
    file[FEATURES] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/x")


def _external_group(file: h5py.File, secret: Path) -> None:
    file["root/data"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/")


def _nested_link(file: h5py.File, secret: Path) -> None:
    file["root/metadata/deep/deeper/link"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "/x")


def _soft_link(file: h5py.File, _secret: Path) -> None:
    file["root/data/b[0]"] = h5py.SoftLink("/root/metadata")


def _virtual_dataset(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((2, 2), "<f8")
    layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "x", (2, 2))
    file.create_virtual_dataset(FEATURES, layout)


def _region_reference(file: h5py.File, _secret: Path) -> None:
    file[FEATURES] = SECRET
    file.create_dataset("root/metadata/region", data=np.array([file[FEATURES].regionref[0:1]], h5py.regionref_dtype))


def _reference_in_a_compound(file: h5py.File, _secret: Path) -> None:
    file.create_dataset("root/metadata/r", (1,), np.dtype([("a", "f4"), ("r", h5py.ref_dtype)]))


def _reference_in_an_attribute(file: h5py.File, _secret: Path) -> None:
    file[FEATURES] = SECRET
    file[FEATURES].attrs.create("r", file["root"].ref, dtype=h5py.ref_dtype)


def _write(folder: Path, build: Build) -> Path:
    secret = folder / "secret"
    secret.write_bytes(SECRET.tobytes())
    with h5py.File(folder / "secret.h5", "w") as file:
        file["x"] = SECRET
    with h5py.File(folder / "audio.csd", "w") as file:
        file["root/metadata/root name"] = "root"
        build(file, secret)
    return folder / "audio.csd"


@pytest.mark.case("D2")
@pytest.mark.parametrize(
    ("build", "what"),
    [
        (_external_storage, "is a dataset whose values are in another file"),
        (_external_link, "is a link to another file"),
        (_external_group, "is a link to another file"),
        (_nested_link, "'/root/metadata/deep/deeper/link' is a link to another file"),
        (_soft_link, "is a soft link"),
        (_virtual_dataset, "is a virtual dataset"),
        (_region_reference, "is a dataset of references"),
        (_reference_in_a_compound, "is a dataset of references"),
        (_reference_in_an_attribute, "is an object with references"),
    ],
)
def test_a_file_that_refers_elsewhere_is_refused_before_any_value_is_read(
    tmp_path: Path, build: Build, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path, build)

    def read(*_arguments: Any) -> None:
        pytest.fail("a dataset was read")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
    monkeypatch.setattr(h5py.Dataset, "__array__", read)
    with pytest.raises(DataError, match=what), open_hdf5(path):
        pytest.fail("the file was opened")
    with pytest.raises(DataError, match=what):
        open_dataset(tmp_path, task=MOSI, labels=False)


@pytest.mark.case("D2")
@pytest.mark.parametrize("build", [_external_storage, _external_link, _virtual_dataset])
def test_a_file_that_refers_to_a_missing_file_is_refused_alike(tmp_path: Path, build: Build) -> None:
    path = tmp_path / "audio.csd"
    with h5py.File(path, "w") as file:
        build(file, tmp_path / "secret")
    with pytest.raises(DataError, match="must contain all its data itself"), open_hdf5(path):
        pytest.fail("the file was opened")


def test_compressed_data_and_cycles_of_hard_links_are_read(tmp_path: Path) -> None:
    def build(file: h5py.File, _secret: Path) -> None:
        file.create_dataset(FEATURES, data=SECRET, compression="gzip", shuffle=True, fletcher32=True)
        file["root/metadata/loop"] = file["root/metadata"]

    with open_hdf5(_write(tmp_path, build)) as file:
        np.testing.assert_array_equal(file[FEATURES][()], SECRET)


def test_errors_of_the_library_are_one_line(tmp_path: Path) -> None:
    path = _write(tmp_path, lambda _file, _secret: None)
    with pytest.raises(DataError, match="not a readable HDF5 file") as caught, open_hdf5(path) as file:
        _ = file["nothing"]
    assert "\n" not in str(caught.value)
