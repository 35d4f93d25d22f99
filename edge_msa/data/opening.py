"""Open a dataset by its path, or by the name `synthetic`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path

from edge_msa.console import print_notes
from edge_msa.data.dataset import Dataset
from edge_msa.data.tasks import Task, parse_task
from edge_msa.errors import DataError, UsageError

SYNTHETIC = "synthetic"

Loader = Callable[[Path, Task | None], Dataset]


def open_dataset(source: str | Path, *, task: Task | None = None, seed: int = 0) -> Dataset:
    """Open a feature file, a folder of .csd files, or the `synthetic` dataset.

    Args:
        source: A path, or `synthetic`.
        task: Overrides the task that the format states.
        seed: Seed of the synthetic generator; files do not depend on it.

    Raises:
        UsageError: The path does not exist, its format is unknown, or the file does not state its task and `task` is
            None.
        DataError: The content is invalid. The message says which value, and how to fix it.
    """
    if str(source) == SYNTHETIC:
        return _load_synthetic(task, seed)
    path = Path(source)
    if not path.exists():
        raise UsageError(f"{path} does not exist.{_suggestion(path)}")
    if path.is_dir():
        from edge_msa.data.formats.csd import load_csd

        return load_csd(path, task=task)
    for suffix, load in _LOADERS.items():
        if path.name.lower().endswith(suffix):
            return load(path, task)
    raise UsageError(
        f"{path} has an unknown format. Supported: .npz (archives, public layouts), .pkl (MMSA, MulT), "
        "a folder of .csd files, .csv (transcripts)."
    )


def open_and_report(source: str, task_name: str | None) -> Dataset:
    """Return the dataset and print its notes on stderr.

    Args:
        source: As in `open_dataset`.
        task_name: Name of the task that overrides the one that the format states.

    Raises:
        UsageError: As in `open_dataset`, or the task is unknown.
        DataError: As in `open_dataset`.
    """
    dataset = open_dataset(source, task=parse_task(task_name))
    print_notes(dataset.notes)
    return dataset


def _load_synthetic(task: Task | None, seed: int) -> Dataset:
    if task is not None:
        raise UsageError("The synthetic dataset has a fixed task. Omit --task.")
    from edge_msa.data.synthetic.generator import generate_dataset

    return generate_dataset(seed=seed)


def _suggestion(path: Path) -> str:
    """Suggest what the user may have meant: a similar file in the same folder, or the synthetic dataset."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f" There is no folder {path.parent}."
    if path.parent == Path():
        names.append(SYNTHETIC)
    close = get_close_matches(path.name, names, n=1)
    return f" Did you mean {path.parent / close[0]}?" if close else ""


def _load_npz(path: Path, task: Task | None) -> Dataset:
    from edge_msa.data.formats.archive import HEADER, parse_archive
    from edge_msa.data.formats.npz import load_arrays
    from edge_msa.data.formats.public_npz import parse_public_npz

    arrays = load_arrays(path)
    if HEADER in arrays:
        return parse_archive(arrays, path, task=task)
    return parse_public_npz(arrays, path, task=task)


def _load_pickle(path: Path, task: Task | None) -> Dataset:
    from edge_msa.data.formats.mmsa import is_mmsa, is_single_sample, parse_mmsa, parse_single_sample
    from edge_msa.data.formats.mult import is_mult, parse_mult
    from edge_msa.data.formats.safe_pickle import load_pickle

    content = load_pickle(path)
    if not isinstance(content, Mapping):
        raise DataError(
            f"{path} must hold a dict of splits, as MMSA and MulT pickles do, got {type(content).__name__}."
        )
    for matches, parse in ((is_mmsa, parse_mmsa), (is_mult, parse_mult), (is_single_sample, parse_single_sample)):
        if matches(content):
            return parse(content, path, task=task)
    keys = ", ".join(str(key) for key in list(content)[:8]) or "nothing"
    raise DataError(
        f"{path} must be a pickle of MMSA (splits with regression_labels, or one sample) or of MulT (splits with "
        f"labels), got {keys}."
    )


def _reject_csd_file(path: Path, _task: Task | None) -> Dataset:
    raise UsageError(
        f"{path} is one of several sequences. Pass its folder, which must also contain labels.csd and splits.json."
    )


def _load_transcripts(path: Path, task: Task | None) -> Dataset:
    from edge_msa.data.formats.transcripts import load_transcripts

    return load_transcripts(path, task)


_LOADERS: dict[str, Loader] = {
    ".npz": _load_npz,
    ".pkl": _load_pickle,
    ".pickle": _load_pickle,
    ".csd": _reject_csd_file,
    ".csv": _load_transcripts,
    ".csv.gz": _load_transcripts,
}
