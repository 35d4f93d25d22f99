"""Read the samples of a file or folder for predictions: everything that NumPy alone can read safely.

- `.npz`: an archive of `edge-msa data convert`, a public layout, or the frames of one utterance;
- `.csv`, `.tsv`, also compressed (`.gz`): texts;
- a folder of utterances: `ID/audio.npy`, `ID.audio.npy` or `ID.npz`, with frames (T, d) each.

Labels are ignored, so the samples need none.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

from edge_msa_runtime.errors import DataError, UsageError
from edge_msa_runtime.inputs.archives import HEADER, parse_archive
from edge_msa_runtime.inputs.conversations import earlier_texts
from edge_msa_runtime.inputs.files import ARRAY_NAMES, load_inputs, separate_masks
from edge_msa_runtime.inputs.frames import build_frames
from edge_msa_runtime.inputs.media import media_hint
from edge_msa_runtime.inputs.npz_files import load_arrays
from edge_msa_runtime.inputs.public_npz import parse_public_npz
from edge_msa_runtime.inputs.sample_ids import make_unique, parse_position, position_from_id, video_from_id
from edge_msa_runtime.inputs.transcripts import parse_transcripts
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.wording import format_count

if TYPE_CHECKING:
    from edge_msa_runtime.features import FeatureSource
    from edge_msa_runtime.inputs.frames import MaskedFrames, RawSplit
    from edge_msa_runtime.inputs.npz_files import Arrays
    from edge_msa_runtime.inputs.transcripts import Transcripts

_STACKED = 3
_TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_SUPPORTED = (
    "Pass a folder with ID/audio.npy (or language, vision), ID.audio.npy or ID.npz for each utterance ID, a .npz of "
    "`edge-msa data convert`, or a .csv of texts. "
    "Convert other feature files with `edge-msa data convert FILE --output OUT.npz` on a workstation."
)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One utterance.

    Attributes:
        id: its name, unique within its split.
        split: name of its split: `train` in a table without a split column; empty in files without splits.
        frames: frames (T, d) of each modality that it has.
        valid: masks (T,) of the frames, by modality; frames without a mask are all valid.
        text: its text; None if the file has no texts.
        error: why it cannot be read; None if it can.
        video: the video that it belongs to; None if the file does not state it.
        position: its number or start in seconds inside its video; None if the file does not state it.
        earlier: the last texts before it in its video and split, the newest last, see `earlier_texts`.
    """

    id: str
    split: str
    frames: Mapping[str, Any]
    valid: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    text: str | None = None
    error: UsageError | None = None
    video: str | None = None
    position: float | None = None
    earlier: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Samples:
    """The samples of a file.

    Attributes:
        count: number of samples.
        modalities: the modalities that samples have as frames.
        has_text: whether samples have texts.
        notes: what was changed or dropped.
        read: yields the samples in the order of the file. A sample that cannot be read has an `error`.
        features: what is known about the features of the file, by modality.
    """

    count: int
    modalities: tuple[str, ...]
    has_text: bool
    notes: tuple[str, ...]
    read: Callable[[], Iterator[Sample]]
    features: Mapping[str, FeatureSource] = dataclasses.field(default_factory=dict)


def open_samples(path: Path, *, split: str | None = None) -> Samples:
    """Open a file or folder of samples.

    Args:
        path: the file or folder.
        split: name of the only split to read; None for all.

    Raises:
        UsageError: the path does not exist, has another format, or lacks the split.
        DataError: the content is invalid.
    """
    if not path.exists():
        raise UsageError(f"{path} does not exist. {_SUPPORTED}")
    name = path.name.lower()
    if path.is_dir():
        return _open_folder(path, split)
    if name.endswith(_TABLES):
        return _open_table(path, split)
    if name.endswith(".npz"):
        return _open_npz(path, split)
    raise UsageError(f"{path} has a format that this command cannot read. {media_hint([name]).rstrip() or _SUPPORTED}")


def _open_table(path: Path, split: str | None) -> Samples:
    parsed, notes = parse_transcripts(path)
    tables: dict[str, Transcripts] = dict(parsed.items())
    samples = []
    for name in _selected(list(tables), split, path):
        table = tables[name]
        positions = [parse_position(clip) for clip in table.clips] or None
        before = _earlier(table.texts, table.ids, table.groups, positions)
        samples += [
            Sample(sample, name, {}, text=text, earlier=earlier)
            for sample, text, earlier in zip(make_unique(table.ids), table.texts, before)
        ]
    return Samples(len(samples), (), True, tuple(notes), lambda: iter(samples))


def _open_npz(path: Path, split: str | None) -> Samples:
    arrays = load_arrays(path)
    if HEADER in arrays:
        archive = parse_archive(arrays, path)
        samples = _open_splits(dict(archive.splits), list(archive.notes), path, split)
        return dataclasses.replace(samples, features=archive.features)
    if arrays and set(arrays) <= set(ARRAY_NAMES):
        _refuse_stacked(arrays, path)
        frames, valid = separate_masks(arrays)
        _selected([], split, path)
        return Samples(1, tuple(frames), False, (), lambda: iter([Sample(path.stem, "", frames, valid)]))
    public = parse_public_npz(arrays, path)
    samples = _open_splits(dict(public.splits), public.notes, path, split)
    return dataclasses.replace(samples, features=public.features)


def _refuse_stacked(arrays: Arrays, path: Path) -> None:
    """Refuse the arrays of several utterances: without a header, each array has the frames of one."""
    for name in MODALITIES:
        if name in arrays and arrays[name].ndim == _STACKED:
            raise UsageError(
                f"{name} of {path} has stacked samples of shape {arrays[name].shape}, but such a .npz has one "
                f"utterance (frames, features). {_SUPPORTED}"
            )


def _open_splits(splits: dict[Any, RawSplit], notes: list[str], path: Path, split: str | None) -> Samples:
    parts: list[tuple[str, list[str], list[str], dict[str, MaskedFrames], RawSplit]] = []
    for name in _selected(list(splits), split, path):
        raw = splits[name]
        if not len(raw.ids):
            raise DataError(f"The {name} split of {path} is empty. Pass a file with samples in it.")
        frames = {}
        for modality, stored in raw.modalities.items():
            frames[modality], more = build_frames(stored, name, modality, len(raw.ids))
            notes += more
        texts = [str(text) for text in raw.texts]
        if texts and len(texts) != len(raw.ids):
            raise DataError(
                f"texts of {name} in {path} must have {len(raw.ids)} samples, as ids has, got {len(texts)}."
            )
        parts.append((name, make_unique(raw.ids), texts, frames, raw))

    def read() -> Iterator[Sample]:
        for name, ids, texts, modalities, raw in parts:
            videos, positions = raw.groups, raw.positions
            before = _earlier(texts, raw.ids, videos, positions) if texts else ()
            for row, sample in enumerate(ids):
                stored = {modality: item.sample(row) for modality, item in modalities.items() if item.valid[row].any()}
                yield Sample(
                    sample,
                    name,
                    {modality: values for modality, (values, _) in stored.items()},
                    {modality: mask for modality, (_, mask) in stored.items() if mask is not None},
                    text=texts[row] if texts else None,
                    video=None if videos is None else videos[row],
                    position=None if positions is None else positions[row],
                    earlier=before[row] if before else (),
                )

    count = sum(len(ids) for _, ids, *_ in parts)
    available = tuple(name for name in MODALITIES if any(name in modalities for _, _, _, modalities, _ in parts))
    return Samples(count, available, any(texts for _, _, texts, *_ in parts), tuple(notes), read)


def _earlier(
    texts: Sequence[str], ids: Sequence[str], videos: Sequence[str] | None, positions: Sequence[float] | None
) -> tuple[tuple[str, ...], ...]:
    """Return the texts before each sample, where the file or the ids state videos and positions."""
    if videos is None:
        videos = list(map(video_from_id, ids))
    if positions is None:
        positions = list(map(position_from_id, ids, videos))
    return earlier_texts(texts, videos, positions)


def _open_folder(path: Path, split: str | None) -> Samples:
    _selected([], split, path)
    archives: dict[str, str] = {}
    files: dict[str, dict[str, str]] = {}
    ignored = []
    for entry in sorted(path.iterdir()):
        found = _files_of_utterance(entry)
        if entry.is_file() and entry.suffix == ".npz":
            archives[entry.stem] = str(entry)
        elif found:
            for sample, modality, file in found:
                files.setdefault(sample, {})[modality] = file
        elif not entry.name.startswith("."):
            ignored.append(entry.name)
    names = sorted({*archives, *files})
    if not names:
        raise UsageError(
            f"{path} must contain utterances: ID/audio.npy, ID.audio.npy or ID.npz, got "
            f"{', '.join(ignored[:5]) or 'nothing'}. {media_hint(ignored)}{_SUPPORTED}"
        )
    notes = [f"{format_count(len(ignored), 'other file')} in {path} ignored, e.g. {ignored[0]}"] if ignored else []
    # The archives are not opened yet, so they may have every modality.
    available = MODALITIES if archives else tuple(m for m in MODALITIES if any(m in item for item in files.values()))

    def read() -> Iterator[Sample]:
        return (_read(name, archives.get(name), files.get(name, {})) for name in names)

    return Samples(len(names), available, False, tuple(notes), read)


def _read(name: str, archive: str | None, files: Mapping[str, str]) -> Sample:
    try:
        frames, valid = load_inputs(archive, files)
    except UsageError as error:
        return Sample(name, "", {}, error=error)
    return Sample(name, "", frames, valid)


def _files_of_utterance(entry: Path) -> list[tuple[str, str, str]]:
    """Return the id, modality and path of each .npy file that an entry of a folder is or contains."""
    if entry.is_dir():
        return [(entry.name, m, str(entry / f"{m}.npy")) for m in MODALITIES if (entry / f"{m}.npy").is_file()]
    sample, _, modality = entry.stem.rpartition(".")
    if entry.suffix != ".npy" or modality not in MODALITIES:
        return []
    return [(sample or entry.parent.resolve().name, modality, str(entry))]


def _selected(names: list[str], split: str | None, path: Path) -> list[str]:
    if split is not None and split not in names:
        raise UsageError(f"{path} has no {split} split. Available: {', '.join(names) or 'none'}.")
    return names if split is None else [split]
