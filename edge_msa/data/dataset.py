"""`Dataset`: splits of samples with masked modalities, labels and ids, under one task."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.tasks import Task
from edge_msa.errors import DataError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.inputs.gaps import pack_frames, trim_mask
from edge_msa_runtime.inputs.split_names import SPLITS
from edge_msa_runtime.modalities import MODALITIES

__all__ = ["SPLITS", "BoolArray", "Dataset", "FloatArray", "FrameEncoder", "Frames", "Split", "SplitName"]

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
SplitName = Literal["train", "valid", "test"]


class FrameEncoder(Protocol):
    """Computes the frames of tokenized texts. Every frame depends on all words of its text."""

    @property
    def dim(self) -> int:
        """Features per frame."""

    def to(self, device: Any) -> None:
        """Compute on a device of torch from now on."""

    def encode(self, ids: NDArray[np.integer]) -> FloatArray:
        """Return the frames (n, T, d) of token ids (n, T), which are negative at padding; frames there are zero."""

    def hide(self, ids: NDArray[np.integer], hidden: BoolArray) -> NDArray[np.integer]:
        """Return the ids with the unknown token in place of each `hidden` (n, T) word. Special tokens stay."""


@dataclass(frozen=True)
class Frames:
    """One modality of one split: `values`, `ids` into an embedding `table`, or `ids` of an `encoder`."""

    valid: BoolArray
    """(N, T): False for padding and missing frames. A sample without a valid frame lacks the modality."""
    values: FloatArray | None = None
    """(N, T, d) float32."""
    ids: NDArray[np.integer] | None = None
    """(N, T): rows of `table`, or tokens for `encoder`, negative at padding. An encoder also reads the tokens that are
    not valid, such as those of earlier utterances, but they become no frames."""
    table: FloatArray | None = None
    """(V, d) float32."""
    encoder: FrameEncoder | None = None
    """Computes the frames when they are taken."""

    def __post_init__(self) -> None:
        sources = (self.values is not None, self.table is not None, self.encoder is not None)
        if sum(sources) != 1 or (self.ids is None) != (self.values is not None):
            raise DataError(
                "Frames must have either values (N, T, d), or ids (N, T) with a table (V, d) or an encoder."
            )
        source = self.values if self.values is not None else self.ids
        shape = () if source is None else source.shape[:2]
        if self.valid.shape != shape:
            raise DataError(f"The validity mask must have the shape {shape} of the frames, got {self.valid.shape}.")

    @property
    def dim(self) -> int:
        """Features per frame."""
        if self.encoder is not None:
            return self.encoder.dim
        source = self.values if self.values is not None else self.table
        assert source is not None  # noqa: S101 - checked by __post_init__
        return int(source.shape[-1])

    @property
    def length(self) -> int:
        """T: frames per sample, including padding."""
        return int(self.valid.shape[1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of valid frames of each sample, (N,)."""
        lengths: NDArray[np.int64] = self.valid.sum(axis=1, dtype=np.int64)
        return lengths

    @property
    def gaps(self) -> NDArray[np.int64]:
        """Number of runs of frames that are missing between valid ones, of each sample, (N,)."""
        begins = np.diff(self.valid.astype(np.int8), axis=1, prepend=0) == 1
        gaps: NDArray[np.int64] = np.maximum(begins.sum(axis=1, dtype=np.int64) - 1, 0)
        return gaps

    def take(self, rows: NDArray[np.integer] | slice = slice(None)) -> FloatArray:
        """Return the frames of the given samples, (n, T, d) float32; frames that are not valid are zero."""
        valid = self.valid[rows]
        if self.values is not None:
            return np.where(valid[..., None], self.values[rows], np.float32(0))
        assert self.ids is not None  # noqa: S101 - checked by __post_init__
        if self.encoder is not None:
            present: BoolArray = np.any(valid, axis=1, keepdims=True)
            return self.encoder.encode(np.where(present, self.ids[rows], -1)) * valid[..., None]
        assert self.table is not None  # noqa: S101 - checked by __post_init__
        return np.where(valid[..., None], self.table[self.ids[rows]], np.float32(0))

    def select(self, rows: NDArray[np.integer]) -> Frames:
        """Return the modality of the given samples."""
        return replace(
            self,
            valid=self.valid[rows],
            values=None if self.values is None else self.values[rows],
            ids=None if self.ids is None else self.ids[rows],
        )

    def alone(self) -> Frames:
        """Return the modality without the tokens that become no frames, such as those of earlier utterances.

        Call it before `keep`, which hides words but leaves their tokens.
        """
        if self.encoder is None or self.ids is None:
            return self
        return replace(self, ids=np.where(self.valid, self.ids, -1))

    def keep(self, kept: BoolArray) -> Frames:
        """Return the modality without the frames that are not `kept`, (N, T).

        The frames of an encoder still contain the words of dropped frames. Those words are therefore replaced by the
        unknown token, and the other frames are computed again from what is left. The row of a table depends on its own
        word only, so dropping the row equals replacing the word. `values` may come from an encoder that is not known
        here; see `edge_msa.data.contextual_features`.
        """
        valid = self.valid & kept
        if self.encoder is None or self.ids is None:
            return replace(self, valid=valid)
        return replace(self, valid=valid, ids=self.encoder.hide(self.ids, self.valid & ~kept))


@dataclass(frozen=True)
class Split:
    """N samples."""

    ids: tuple[str, ...]
    """Unique names of the samples."""
    groups: tuple[str, ...]
    """The video of each sample. Samples of one video are not independent."""
    labels: FloatArray
    """Scores (N,), or emotions (N, E) with values 0 and 1; NaN where unknown."""
    modalities: Mapping[str, Frames]
    """The modalities that the split has."""
    texts: tuple[str, ...] = ()
    """The transcript of each sample; empty if the data has no texts."""
    positions: tuple[float, ...] = ()
    """Number or start in seconds of each sample inside its video, NaN where unknown; empty if nothing is known."""
    earlier: tuple[tuple[str, ...], ...] = ()
    """The last texts before each sample in its video, the newest last (`earlier_texts`); empty without texts. They stay
    the same if samples are left out."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.modalities) - set(MODALITIES))
        if unknown:
            raise DataError(f"Unknown modality {unknown[0]!r}. Available: {', '.join(MODALITIES)}.")
        sizes = {"groups": len(self.groups), "labels": len(self.labels)}
        sizes |= {name: len(frames.valid) for name, frames in self.modalities.items()}
        sizes |= {"texts": len(self.texts)} if self.texts else {}
        sizes |= {"positions": len(self.positions)} if self.positions else {}
        sizes |= {"earlier": len(self.earlier)} if self.earlier else {}
        for name, size in sizes.items():
            if size != len(self.ids):
                raise DataError(f"{name} must have {len(self.ids)} samples, as ids has, got {size}.")

    def __len__(self) -> int:
        return len(self.ids)

    def packed_sample(self, row: int, gap_frames: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Return the rows of one sample for the graphs of a student, (n, d) for each modality that it has.

        These are the valid frames, and the student's gap frame (d,) where frames between them are missing.
        """
        samples, masks = self.masked_sample(row)
        packed = {name: pack_frames(samples[name], mask, gap_frames.get(name)) for name, mask in masks.items()}
        return {**samples, **packed}

    def masked_sample(self, row: int) -> tuple[dict[str, FloatArray], dict[str, BoolArray]]:
        """Return the frames of one sample from its first to its last valid one, (T, d) for each modality that it has.

        The second result is the mask (T,) of each modality in which frames between them are missing.
        """
        samples, masks = {}, {}
        for name, frames in self.modalities.items():
            if frames.valid[row].any():
                part, mask = trim_mask(frames.valid[row])
                samples[name] = frames.take(np.array([row]))[0][part]
                if mask is not None:
                    masks[name] = mask
        return samples, masks

    def select(self, rows: NDArray[np.integer]) -> Split:
        """Return the given samples."""
        return Split(
            tuple(self.ids[row] for row in rows),
            tuple(self.groups[row] for row in rows),
            self.labels[rows],
            {name: frames.select(rows) for name, frames in self.modalities.items()},
            tuple(self.texts[row] for row in rows) if self.texts else (),
            tuple(self.positions[row] for row in rows) if self.positions else (),
            tuple(self.earlier[row] for row in rows) if self.earlier else (),
        )

    def without_earlier(self) -> Split:
        """Return the split as if each sample was the first of its video, for models that read earlier utterances."""
        if not self.earlier:
            return self
        return replace(self, modalities={name: frames.alone() for name, frames in self.modalities.items()}, earlier=())

    def sample(self, row: int) -> dict[str, FloatArray]:
        """Return the valid frames of one sample, (T_valid, d) for each modality that it has."""
        rows = np.array([row])
        return {
            name: frames.take(rows)[0][frames.valid[row]]
            for name, frames in self.modalities.items()
            if frames.valid[row].any()
        }


@dataclass(frozen=True)
class Dataset:
    """Splits of one corpus under one task."""

    name: str
    """Name of the corpus."""
    task: Task
    """What the labels mean."""
    splits: Mapping[SplitName, Split]
    """The splits that the corpus has."""
    digest: str
    """SHA-256 of the file, or of the generator's parameters."""
    features: Mapping[str, FeatureSource] = field(default_factory=dict)
    """What computed the features, by modality, where something is known."""
    notes: tuple[str, ...] = ()
    """What loading changed or dropped. Commands print these lines."""
    clip_labels: bool | None = None
    """What was asked about labels beyond the scale, see `LoadOptions`. An archive of the dataset keeps it."""

    @property
    def dims(self) -> dict[str, int]:
        """Features per frame of each modality that any split has, in the fixed order."""
        dims = {name: frames.dim for split in self.splits.values() for name, frames in split.modalities.items()}
        return {name: dims[name] for name in MODALITIES if name in dims}

    @property
    def windows(self) -> dict[str, int]:
        """Number of rows of the longest training or validation sample, by modality.

        Rows are valid frames, and a gap frame wherever frames between them are missing. A model must not depend on the
        test split. Longer samples are processed in chunks.
        """
        longest = dict.fromkeys(self.dims, 1)
        for split_name, split in self.splits.items():
            if split_name != "test":
                for name, frames in split.modalities.items():
                    longest[name] = max(longest[name], int((frames.lengths + frames.gaps).max(initial=0)))
        return longest

    def split(self, name: SplitName) -> Split:
        """Return the split of that name.

        Raises:
            DataError: The dataset has no such split, or the split is empty.
        """
        if name not in self.splits or not len(self.splits[name]):
            sizes = {other: len(split) for other, split in self.splits.items()}
            raise DataError(missing_split(self.name, name, sizes, has_frames=bool(self.dims)))
        return self.splits[name]

    def without(self, modalities: Collection[str], *notes: str) -> Dataset:
        """Return the dataset without the named modalities, with additional notes."""
        splits = {
            name: replace(
                split, modalities={m: frames for m, frames in split.modalities.items() if m not in modalities}
            )
            for name, split in self.splits.items()
        }
        features = {name: source for name, source in self.features.items() if name not in modalities}
        return replace(self, splits=splits, features=features, notes=(*self.notes, *notes))


def missing_split(name: str, split: SplitName, sizes: Mapping[SplitName, int], *, has_frames: bool) -> str:
    """Return what is wrong with data without a split, and how to make the split.

    Args:
        name: Name of the data.
        split: The split that is missing or empty.
        sizes: Number of samples of each split that the data has.
        has_frames: Whether the data has frames. If not, it is a table of transcripts.
    """
    if split in sizes:
        problem = f"The {split} split of {name} is empty."
    else:
        problem = f"{name} has no {split} split. Available: {', '.join(sizes) or 'none'}."
    if split == "train" or not sizes.get("train"):
        return f"{problem} Pass a file with samples in it."
    if has_frames:
        command = "edge-msa data convert FILE --output OUTPUT.npz --draw-splits"
        return f"{problem} To draw it at random from the training videos, run {command}"
    return f"{problem} Add a column `split` to the table, with train, valid or test in every line."
