"""Open a dataset by its path, or by the name `synthetic`, `synthetic-quick`, `synthetic-long`, `synthetic-classes`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from pathlib import Path

from edge_msa.console import activity, print_notes
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.labeled import keep_labeled
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import Task, parse_task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.inputs.media import media_hint

SYNTHETIC = "synthetic"
SYNTHETIC_QUICK = "synthetic-quick"
"""The same task with fewer samples, for a quick demo."""
SYNTHETIC_LONG = "synthetic-long"
"""The same task with utterances as long as at real rates: 50 words, 375 audio frames, 500 vision frames."""
SYNTHETIC_CLASSES = "synthetic-classes"
"""The same utterances with four classes instead of scores."""

Loader = Callable[[Path, LoadOptions], Dataset]


def is_synthetic(source: str | Path) -> bool:
    """Return whether a data source is the name of synthetic data."""
    return str(source) in {SYNTHETIC, SYNTHETIC_QUICK, SYNTHETIC_LONG, SYNTHETIC_CLASSES}


def open_dataset(
    source: str | Path,
    *,
    task: Task | None = None,
    seed: int = 0,
    clip_labels: bool | None = None,
    labels: bool = True,
) -> Dataset:
    """Open a feature file, a folder of .csd files, or the synthetic data.

    Args:
        source: A path, `synthetic`, `synthetic-quick`, `synthetic-long` or `synthetic-classes`.
        task: Overrides the task that the format states.
        seed: Seed of the synthetic generator; files do not depend on it.
        clip_labels: Whether labels slightly beyond the task's scale are set to its nearest end. None: as an archive
            says, or else yes for the tasks mosi and sims.
        labels: Whether to load labels. If not, all samples are unlabeled, and the file need not state its task.

    Raises:
        UsageError: The path does not exist, its format is unknown, or the file does not state its task and `task` is
            None.
        DataError: The content is invalid. The message says which value, and how to fix it.
    """
    if is_synthetic(source):
        with activity("Generating the synthetic data"):
            return _load_synthetic(str(source), task, seed)
    with activity(f"Loading {source}"):
        return _load(Path(source), LoadOptions(task, clip_labels, labels))


def _load(path: Path, options: LoadOptions) -> Dataset:
    if not path.exists():
        raise UsageError(f"{path} does not exist.{_suggestion(path)}")
    if path.is_dir():
        return _load_folder(path, options)
    for suffix, load in _LOADERS.items():
        if path.name.lower().endswith(suffix):
            return load(path, options)
    raise UsageError(f"{path} has an unknown format. {media_hint([path.name]).rstrip() or _SUPPORTED}")


def open_and_report(
    source: str, task: str | Task | None, *, clip_labels: bool | None = None, labeled: Collection[SplitName] = ()
) -> Dataset:
    """Return the dataset and print its notes on stderr.

    Args:
        source: As in `open_dataset`.
        task: Task that overrides the one that the format states, or its name.
        clip_labels: As in `open_dataset`.
        labeled: Splits whose unlabeled samples are left out, as in `keep_labeled`.

    Raises:
        UsageError: As in `open_dataset`, or the task is unknown.
        DataError: As in `open_dataset`.
    """
    meaning = task if isinstance(task, Task) else parse_task(task)
    dataset = keep_labeled(open_dataset(source, task=meaning, clip_labels=clip_labels), labeled)
    print_notes(dataset.notes)
    return dataset


def _load_synthetic(name: str, task: Task | None, seed: int) -> Dataset:
    if task is not None:
        raise UsageError("The synthetic dataset has a fixed task. Omit --task.")
    from edge_msa.data.synthetic.generator import DEFAULT, FOUR_CLASSES, LONG, QUICK, generate_dataset

    configs = {SYNTHETIC: DEFAULT, SYNTHETIC_QUICK: QUICK, SYNTHETIC_LONG: LONG, SYNTHETIC_CLASSES: FOUR_CLASSES}
    return generate_dataset(configs[name], seed, name=name)


def _is_meld(folder: Path) -> bool:
    """Return whether a folder has tables of MELD."""
    return any(folder.glob("*_sent_emo.csv"))


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


def _load_folder(path: Path, options: LoadOptions) -> Dataset:
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise UsageError(f"Cannot read the folder {path} ({error.strerror or error}).") from None
    if any(name.endswith(".csd") for name in names):
        from edge_msa.data.formats.csd import load_csd

        return load_csd(path, options)
    if _is_meld(path):
        from edge_msa.data.formats.transcripts import load_meld

        return load_meld(path, options)
    kinds = {"run.json": "a run", "manifest.json": "a bundle"}
    kind = next((kind for name, kind in kinds.items() if name in names), "a folder without .csd files")
    files = ", ".join(name for name in names if name.lower().endswith(tuple(_LOADERS))) or "none"
    raise UsageError(
        f"{path} is {kind}, not a feature file. {media_hint(names)}{_SUPPORTED} Feature files in it: {files:.200}."
    )


def _load_npz(path: Path, options: LoadOptions) -> Dataset:
    from edge_msa.data.formats.archive import load_archive
    from edge_msa.data.formats.public_npz import load_public_npz
    from edge_msa_runtime.inputs.archives import HEADER
    from edge_msa_runtime.inputs.npz_files import load_arrays

    arrays = load_arrays(path)
    return (load_archive if HEADER in arrays else load_public_npz)(arrays, path, options)


def _load_pickle(path: Path, options: LoadOptions) -> Dataset:
    from edge_msa.data.formats import mmsa, mult
    from edge_msa.data.formats.safe_pickle import load_pickle

    content = load_pickle(path)
    if not isinstance(content, Mapping):
        raise DataError(
            f"{path} must hold a dict of splits, as MMSA and MulT pickles do, got {type(content).__name__}."
        )
    for matches, parse in (
        (mmsa.is_mmsa, mmsa.parse_mmsa),
        (mult.is_mult, mult.parse_mult),
        (mmsa.is_unlabeled, mmsa.parse_mmsa),
        (mmsa.is_single_sample, mmsa.parse_single_sample),
        (mmsa.is_single_split, mmsa.parse_single_split),
    ):
        if matches(content):
            return parse(content, path, options)
    keys = ", ".join(str(key) for key in list(content)[:8]) or "nothing"
    raise DataError(
        f"{path} must be a pickle of MMSA or MulT: the splits train, valid and test with text, audio or vision (or one "
        f"sample), got {keys}."
    )


def _reject_csd_file(path: Path, _options: LoadOptions) -> Dataset:
    raise UsageError(f"{path} is only one of the files of a dataset. Pass its folder.")


def _load_transcripts(path: Path, options: LoadOptions) -> Dataset:
    from edge_msa.data.formats.transcripts import load_transcripts

    return load_transcripts(path, options)


_TRANSCRIPTS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_SUPPORTED = (
    "Supported: .npz (archives, public layouts), .pkl (MMSA, MulT), a folder of .csd files, .csv or .tsv (transcripts)."
)
_LOADERS: dict[str, Loader] = {
    ".npz": _load_npz,
    ".pkl": _load_pickle,
    ".pickle": _load_pickle,
    ".csd": _reject_csd_file,
    **dict.fromkeys(_TRANSCRIPTS, _load_transcripts),
}
