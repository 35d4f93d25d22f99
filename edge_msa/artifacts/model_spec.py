"""What every step after training must know of the data a model was made for."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.normalization import Normalization, fit_normalization
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError, RunError
from edge_msa_runtime.modalities import MODALITIES

_LABELED: tuple[SplitName, ...] = ("train", "valid")


WORDS_ALONE = (
    "says what was said and has no frames: edge-msa text learns from words, a model that reads words (--text-model) "
    "is given them, data encode makes frames of them"
)


@dataclass(frozen=True)
class TextInputSpec:
    """How a model's language stream is made of words: the kind of text encoder, tokens that it reads, digest of its files."""

    text_encoder: str
    max_tokens: int
    digest: str


@dataclass(frozen=True)
class ModelSpec:
    """A model's side of the data: task, features a frame, longest sample, frame rates in Hz, normalization.

    `dims` name the modalities that training had a frame of: one that a model never met would be read as noise, so
    models are made without it, and it is left unread wherever it turns up later.

    `language` is set for a model that reads words; its run holds the tokenizer and the text encoder.

    `data` is where it was trained, so that a later command can find validation data without being told; empty where
    nobody knows, as of an imported checkpoint.
    """

    task: Task
    dims: Mapping[str, int]
    windows: Mapping[str, int]
    frame_rates: Mapping[str, float]
    normalization: Normalization
    data: str
    language: TextInputSpec | None = None

    @classmethod
    def of(cls, dataset: Dataset, source: str) -> ModelSpec:
        """The spec of a model that is going to be trained on this dataset (not normalized yet).

        Raises:
            DataError: a split is missing, has no frame that training could use, or samples without labels.
        """
        for name in _LABELED:
            if not np.isfinite(dataset.split(name).labels).all():
                raise DataError(
                    f"{name} of {dataset.name} has samples without labels, from which no teacher learns: give the file "
                    "to distill, by --transfer"
                )
        dims = _learnable(dataset, dataset.dims)
        if not _has_frames(dataset.split("valid"), dims):
            names = ", ".join(dims)
            raise DataError(
                f"the valid split of {dataset.name} has no valid frame of {names}, which is all that training has: "
                "look with data inspect"
            )
        normalization = fit_normalization(dataset.split("train"), dims)
        windows = {name: window for name, window in dataset.windows.items() if name in dims}
        return cls(dataset.task, dims, windows, dataset.frame_rates, normalization, source)

    def narrowed(self, dataset: Dataset) -> ModelSpec:
        """The spec of a model that learns from this one's, on this dataset, which may lack some of its modalities.

        Raises:
            DataError: training would have no frame at all.
        """
        return self.only(_learnable(dataset, self.dims))

    def only(self, modalities: Collection[str]) -> ModelSpec:
        """The same without the other modalities."""
        dims = {name: dim for name, dim in self.dims.items() if name in modalities}
        windows = {name: self.windows[name] for name in dims}
        return dataclasses.replace(
            self,
            dims=dims,
            windows=windows,
            normalization=self.normalization.only(dims),
            language=self.language if "language" in dims else None,
        )

    def joined(self, other: ModelSpec) -> ModelSpec:
        """This spec with the modalities that only the other one has, in the fixed order."""
        dims, windows = {**other.dims, **self.dims}, {**other.windows, **self.windows}
        ordered = [name for name in MODALITIES if name in dims]
        return dataclasses.replace(
            self,
            dims={name: dims[name] for name in ordered},
            windows={name: windows[name] for name in ordered},
            frame_rates={**other.frame_rates, **self.frame_rates},
            normalization=self.normalization.joined(other.normalization),
            language=self.language or other.language,
        )

    def speaking(self, reader: ModelSpec) -> ModelSpec:
        """The same of a model whose language stream comes from that reader's text encoder: it is read as it comes."""
        if "language" not in self.dims:
            return self
        dims = {**self.dims, "language": reader.dims["language"]}
        windows = {**self.windows, "language": reader.windows["language"]}
        plain = Normalization.identity({"language": dims["language"]})
        return dataclasses.replace(
            self,
            dims=dims,
            windows=windows,
            normalization=plain.joined(self.normalization),
            language=reader.language,
        )

    def readable(self, dataset: Dataset) -> Dataset:
        """What of that dataset the model reads, raw; a note names each modality that it was made without.

        Raises:
            DataError: it has other features than the model was made for, none of its modalities, or labels of another
                kind.
        """
        for name, dim in self.dims.items():
            if dataset.dims.get(name, dim) != dim:
                raise DataError(
                    f"{name} of {dataset.name} has {dataset.dims[name]} features a frame, the model takes {dim}: "
                    "give the data that it was made for"
                )
        if dataset.task.outputs != self.task.outputs or dataset.task.is_score != self.task.is_score:
            raise DataError(
                f"{dataset.name} has the task {dataset.task.kind}, the model was made for {self.task.kind}: "
                "give the --task it was trained with"
            )
        return without_unread(dataset, self.dims)

    def normalized(self, dataset: Dataset) -> Dataset:
        """What of that dataset the model reads, as the model wants it; errors are those of `readable`."""
        return self.normalization.apply(self.readable(dataset))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for run.json."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        language = dataclasses.asdict(self.language) if self.language else None
        return fields | {
            "task": dataclasses.asdict(self.task),
            "normalization": self.normalization.to_json(),
            "language": language,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelSpec:
        """What `to_json` gave, after a way through JSON.

        Raises:
            RunError: a field is missing, unknown or of another form.
        """
        fields = dict(value)
        try:
            task: dict[str, Any] = {
                name: tuple(item) if isinstance(item, list) else item for name, item in fields["task"].items()
            }
            fields["task"] = Task(**task)
            fields["normalization"] = Normalization.from_json(fields["normalization"])
            language = fields.get("language")
            fields["language"] = TextInputSpec(**language) if language else None
            return cls(**fields)
        except (KeyError, TypeError, AttributeError, DataError) as error:
            raise RunError(f"the spec in run.json cannot be read ({error}): make the run again") from None


def without_unread(dataset: Dataset, dims: Collection[str]) -> Dataset:
    """The dataset with the modalities of a model alone, raw; a note names each other one.

    Raises:
        DataError: nothing would be left.
    """
    if not dataset.dims:
        raise DataError(f"{dataset.name} {WORDS_ALONE}")
    unread = [name for name in dataset.dims if name not in dims]
    if len(unread) == len(dataset.dims):
        raise DataError(
            f"{dataset.name} has {', '.join(unread)}, the model reads {', '.join(dims)}: give data that has some of it"
        )
    return dataset.without(
        unread, *(f"{name}: not read, for the model was trained without a frame of it" for name in unread)
    )


def _learnable(dataset: Dataset, dims: Mapping[str, int]) -> dict[str, int]:
    """Those modalities of which the training split has a valid frame.

    Raises:
        DataError: there is none.
    """
    train = dataset.split("train")
    found = {name: dim for name, dim in dims.items() if _has_frames(train, (name,))}
    if not found and not dataset.dims:
        raise DataError(f"{dataset.name} {WORDS_ALONE}")
    if not found:
        of = "" if set(dims) >= set(dataset.dims) else f" of {', '.join(dims)}"
        raise DataError(f"the train split of {dataset.name} has no valid frame{of} at all: look with data inspect")
    return found


def _has_frames(split: Split, modalities: Collection[str]) -> bool:
    return any(split.modalities[name].valid.any() for name in modalities if name in split.modalities)
