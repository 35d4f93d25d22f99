"""One way in: a path, or the word `synthetic`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path

from edge_msa.console import remarks
from edge_msa.data.dataset import Dataset
from edge_msa.data.tasks import Task, parse_task
from edge_msa.errors import DataError, UsageError

SYNTHETIC = "synthetic"

Reader = Callable[[Path, Task | None], Dataset]


def open_dataset(source: str | Path, *, task: Task | None = None, seed: int = 0) -> Dataset:
    """The dataset of a feature file, of a folder of .csd files, or the embedded `synthetic` one.

    `task` overrides what the format states. `seed` is the synthetic generator's alone: a file is the same under each.

    Raises:
        UsageError: nothing is at the path, its kind is unknown, or its task is and none is given.
        DataError: the content cannot be used; the message says which value and what to do.
    """
    if str(source) == SYNTHETIC:
        return _synthetic(task, seed)
    path = Path(source)
    if not path.exists():
        raise UsageError(f"{path} does not exist{_nearest(path)}")
    if path.is_dir():
        from edge_msa.data.formats.csd import read_csd

        return read_csd(path, task=task)
    for suffix, read in _READERS.items():
        if path.name.lower().endswith(suffix):
            return read(path, task)
    raise UsageError(
        f"{path} is of an unknown kind: data is read from .npz (archives, public layouts), .pkl (MMSA, MulT), "
        "a folder of .csd files, or .csv (transcripts)"
    )


def open_and_report(source: str, task_name: str | None) -> Dataset:
    """Open a dataset by its source and the name of its task, and print its notes on stderr. Raises as `open_dataset`."""
    dataset = open_dataset(source, task=parse_task(task_name))
    remarks(dataset.notes)
    return dataset


def _synthetic(task: Task | None, seed: int) -> Dataset:
    if task is not None:
        raise UsageError("the synthetic dataset has its own task: leave --task out")
    from edge_msa.data.synthetic.generator import synthetic_dataset

    return synthetic_dataset(seed=seed)


def _nearest(path: Path) -> str:
    """A hint at what may have been meant: a file beside it, or the embedded dataset."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f": there is no folder {path.parent}"
    if path.parent == Path():
        names.append(SYNTHETIC)
    close = get_close_matches(path.name, names, n=1)
    return f" (did you mean {path.parent / close[0]}?)" if close else ""


def _read_npz(path: Path, task: Task | None) -> Dataset:
    from edge_msa.data.formats.archive import HEADER, archive_dataset
    from edge_msa.data.formats.files import load_arrays
    from edge_msa.data.formats.public_npz import public_dataset

    arrays = load_arrays(path)
    if HEADER in arrays:
        return archive_dataset(arrays, path, task=task)
    return public_dataset(arrays, path, task=task)


def _read_pickle(path: Path, task: Task | None) -> Dataset:
    from edge_msa.data.formats.mmsa import is_mmsa, is_single_sample, read_mmsa, read_single_sample
    from edge_msa.data.formats.mult import is_mult, read_mult
    from edge_msa.data.formats.safe_pickle import load_pickle

    content = load_pickle(path)
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds a {type(content).__name__}; MMSA's and MulT's pickles hold a dict of splits")
    for told, read in ((is_mmsa, read_mmsa), (is_mult, read_mult), (is_single_sample, read_single_sample)):
        if told(content):
            return read(content, path, task=task)
    have = ", ".join(str(key) for key in list(content)[:8]) or "nothing"
    raise DataError(
        f"{path} holds {have}: neither MMSA's (regression_labels in its splits, or one sample) nor MulT's (labels)"
    )


def _read_csd_file(path: Path, _task: Task | None) -> Dataset:
    raise UsageError(f"{path} is one sequence of several: give its folder, with labels.csd and splits.json in it")


def _read_transcripts(path: Path, task: Task | None) -> Dataset:
    from edge_msa.data.formats.transcripts import read_transcripts

    return read_transcripts(path, task)


_READERS: dict[str, Reader] = {
    ".npz": _read_npz,
    ".pkl": _read_pickle,
    ".pickle": _read_pickle,
    ".csd": _read_csd_file,
    ".csv": _read_transcripts,
    ".csv.gz": _read_transcripts,
}
