"""Open HDF5 files that contain all their data themselves.

HDF5 can refer to other files: external links, datasets whose bytes are in another file, and virtual datasets. A file
from somebody else could therefore cause any file of this machine to be read. Before any value is read, the structure of
the whole file is checked, and the file is refused if it contains anything but groups and datasets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_msa.errors import DataError

# HDF5 loads code for other filters from a folder of plug-ins. 32000 is LZF, which h5py contains.
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file, read-only, after `check_self_contained`, and yield the `h5py.File`.

    Raises:
        DataError: The file is damaged, or is refused. Errors of h5py in the body are converted too.
    """
    import h5py  # slow to import, and needed for this format only

    try:
        with h5py.File(path, "r") as file:
            check_self_contained(file, path)
            yield file
    except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is not a readable HDF5 file, or is truncated ({reason}).") from None


def check_self_contained(file: Any, path: Path) -> None:
    """Check all groups and datasets of a file. Nothing is followed, and no value is read.

    Raises:
        DataError: The file has a soft, external or user-defined link, external storage, a virtual dataset, a reference,
            or an unknown filter. The message names the object.
    """
    from h5py import h5a, h5d, h5g, h5l, h5o

    seen = set()
    groups: list[tuple[str, Any]] = [("", file["/"].id)]
    while groups:
        prefix, group = groups.pop()
        info = h5o.get_info(group)
        if (info.fileno, info.addr) in seen:  # a hard link can lead back to a group above
            continue
        seen.add((info.fileno, info.addr))
        for raw in group:
            name = f"{prefix}/{raw.decode('utf-8', 'backslashreplace')}"
            kind = group.links.get_info(raw).type
            if kind != h5l.TYPE_HARD:
                kinds = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}
                _refuse(path, name, kinds.get(kind, "a user-defined link"))
            item = h5o.open(group, raw)
            if any(_has_reference(h5a.open(item, index=at).get_type()) for at in range(h5a.get_num_attrs(item))):
                _refuse(path, name, "an object with references")
            if isinstance(item, h5g.GroupID):
                groups.append((name, item))
            elif isinstance(item, h5d.DatasetID):
                _check_dataset(item, path, name)
            else:
                _refuse(path, name, "a named data type")


def _check_dataset(dataset: Any, path: Path, name: str) -> None:
    from h5py import h5d

    properties = dataset.get_create_plist()
    if properties.get_external_count():
        _refuse(path, name, "a dataset whose values are in another file")
    if properties.get_layout() == h5d.VIRTUAL:
        _refuse(path, name, "a virtual dataset")
    if _has_reference(dataset.get_type()):
        _refuse(path, name, "a dataset of references")
    for index in range(properties.get_nfilters()):
        code = properties.get_filter(index)[0]
        if code not in _FILTERS:
            _refuse(path, name, f"a dataset with filter {code}")


def _has_reference(kind: Any) -> bool:
    from h5py import h5t

    code = kind.get_class()
    if code == h5t.COMPOUND:
        return any(_has_reference(kind.get_member_type(index)) for index in range(kind.get_nmembers()))
    if code in {h5t.ARRAY, h5t.VLEN}:
        return _has_reference(kind.get_super())
    return bool(code == h5t.REFERENCE)


def _refuse(path: Path, name: str, what: str) -> None:
    raise DataError(
        f"{path} must contain all its data itself, but {name!r} is {what}. Copy its values into the file, e.g. with "
        "h5repack or h5py, if you trust them."
    )
