"""`ModelSpec`: what a model expects of its data, stored in every run."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.labeled import is_labeled
from edge_msa.data.normalization import FeatureNormalization, fit_normalization
from edge_msa.data.tasks import Task, describe_mismatch
from edge_msa.errors import DataError, RunError
from edge_msa_runtime.features import UNKNOWN, FeatureSource, features_to_json, mismatch_warning, parse_features
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.wording import format_count

_LABELED_SPLITS: tuple[SplitName, ...] = ("train", "valid")

_CHUNK = 256  # samples per step: limits the size of copies of a large array

ZERO_PADDING_NOTE = (
    "language: the padding in the data is zero. The ALMT authors feed BERT outputs there, so predictions differ from "
    "their code"
)
TEXT_ONLY_HINT = (
    "has only text, no frames of audio or vision. Train a text model on it: edge-msa text train --transcripts FILE "
    "--encoder wordpieces --output-dir words. For video or audio clips, the guide docs/how-to/own-video.md makes a "
    "file with all three. A teacher of text only can be trained with --text-model, or on the output of edge-msa data "
    "encode"
)


@dataclass(frozen=True)
class TextInputSpec:
    """How a model computes its language frames from text."""

    text_encoder: str
    """Kind of the text encoder, e.g. `table`."""
    max_tokens: int
    """Longest token sequence; longer texts are cut at the end."""
    digest: str
    """SHA-256 over the files of the tokenizer and the text encoder."""
    context: int = 0
    """Number of earlier utterances that the text encoder reads."""


@dataclass(frozen=True)
class ModelSpec:
    """What a model expects of its data: task, modalities, sizes, ranges and normalization.

    A modality without a single training frame is not part of a model. The model could only treat it as noise, so the
    modality is ignored wherever it appears later.
    """

    task: Task
    """What the outputs mean."""
    dims: Mapping[str, int]
    """Features per frame, by modality. The keys are the model's modalities."""
    windows: Mapping[str, int]
    """Frames of the longest sample, by modality, see `Dataset.windows`."""
    features: Mapping[str, FeatureSource]
    """What computed the features that the model was trained on, by modality, where something is known."""
    normalization: FeatureNormalization
    """Fitted on the training split."""
    data_source: str
    """The data that the model was trained on, so that later commands find it; empty for an imported checkpoint."""
    text_input: TextInputSpec | None = None
    """Set if the model takes text. Its run then holds the tokenizer and the text encoder."""
    language_padding: bool = False
    """Whether the model takes the language frames at padding as they are in the data, instead of zeros. The authors of
    ALMT feed the outputs of BERT at padding without a mask, so their checkpoints depend on them."""

    @property
    def feature_modalities(self) -> tuple[str, ...]:
        """The modalities whose frames come from the data, not from the model's own text encoder."""
        return tuple(name for name in self.dims if name != "language" or self.text_input is None)

    @property
    def encoder_tokens(self) -> int:
        """Tokens of the longest input of the text encoder; 0 without one."""
        if self.text_input is None:
            return 0
        return self.text_input.max_tokens if self.text_input.context else self.windows["language"]

    @classmethod
    def for_training(cls, dataset: Dataset, source: str) -> ModelSpec:
        """Return the spec of a model to be trained on this dataset, which must not be normalized yet.

        Raises:
            DataError: A split is missing, has no usable frame, or has samples without labels.
        """
        if not dataset.dims:
            raise DataError(f"{dataset.name} {TEXT_ONLY_HINT}.")
        for name in _LABELED_SPLITS:
            labeled = is_labeled(dataset.split(name))
            if not labeled.all():
                count = (
                    "no labels"
                    if not labeled.any()
                    else f"{format_count(int((~labeled).sum()), 'sample')} without a label"
                )
                raise DataError(
                    f"The {name} split of {dataset.name} has {count}, which a teacher cannot learn from. "
                    "Pass the file to edge-msa distill with --transfer."
                )
        dims = _trainable_dims(dataset, dataset.dims)
        if not _has_frames(dataset.split("valid"), dims):
            names = ", ".join(dims)
            raise DataError(
                f"The valid split of {dataset.name} has no valid frame of {names}, the only modalities in the train "
                "split. Check the file with edge-msa data inspect."
            )
        normalization = fit_normalization(dataset.split("train"), dims)
        windows = {name: window for name, window in dataset.windows.items() if name in dims}
        features = {name: item for name, item in dataset.features.items() if name in dims}
        return cls(dataset.task, dims, windows, features, normalization, source)

    def narrow_to(self, dataset: Dataset) -> ModelSpec:
        """Return this spec restricted to the modalities that the dataset's train split has frames of.

        Raises:
            DataError: The train split has no frame of any of the model's modalities.
        """
        return self.select(_trainable_dims(dataset, self.dims))

    def select(self, modalities: Collection[str]) -> ModelSpec:
        """Return this spec restricted to the named modalities."""
        dims = {name: dim for name, dim in self.dims.items() if name in modalities}
        windows = {name: self.windows[name] for name in dims}
        return dataclasses.replace(
            self,
            dims=dims,
            windows=windows,
            features={name: source for name, source in self.features.items() if name in dims},
            normalization=self.normalization.select(dims),
            text_input=self.text_input if "language" in dims else None,
        )

    def complete(self, train: Split) -> ModelSpec:
        """Return this spec with the statistics of a training split, not normalized, where it has none.

        An imported teacher has none. Language frames that a text encoder computes need none, because its weights bound
        its outputs.
        """
        return dataclasses.replace(self, normalization=self.normalization.complete(train, self.feature_modalities))

    def merge(self, other: ModelSpec) -> ModelSpec:
        """Return this spec plus the modalities that only the other spec has, in the fixed order of modalities."""
        dims, windows = {**other.dims, **self.dims}, {**other.windows, **self.windows}
        ordered = [name for name in MODALITIES if name in dims]
        return dataclasses.replace(
            self,
            dims={name: dims[name] for name in ordered},
            windows={name: windows[name] for name in ordered},
            features={name: (self if name in self.dims else other).features.get(name, UNKNOWN) for name in ordered},
            normalization=self.normalization.merge(other.normalization),
            text_input=self.text_input or other.text_input,
        )

    def with_text_input(self, text_model: ModelSpec) -> ModelSpec:
        """Return this spec with the language frames of that text model's encoder, which are not normalized."""
        if "language" not in self.dims:
            return self
        dims = {**self.dims, "language": text_model.dims["language"]}
        windows = {**self.windows, "language": text_model.windows["language"]}
        unchanged = FeatureNormalization.identity({"language": dims["language"]})
        return dataclasses.replace(
            self,
            dims=dims,
            windows=windows,
            features={**self.features, "language": text_model.features.get("language", UNKNOWN)},
            normalization=unchanged.merge(self.normalization),
            text_input=text_model.text_input,
        )

    def select_inputs(self, dataset: Dataset) -> Dataset:
        """Return the dataset with only the modalities that the model takes, not normalized.

        Notes name each modality that was dropped, and features that differ from those of the training.

        Raises:
            DataError: The number of features or the kind of labels differs from what the model was trained on, or the
                dataset has none of its modalities.
        """
        for name, dim in self.dims.items():
            if dataset.dims.get(name, dim) != dim:
                raise DataError(wrong_width(name, dim, dataset.dims[name], dataset.name))
        if not self.task.fits(dataset.task):
            raise DataError(describe_mismatch(self.task, dataset.task, dataset.name))
        selected = drop_unused_modalities(dataset, self.dims)
        if self.language_padding and _has_zero_padding(selected):
            selected = dataclasses.replace(selected, notes=(*selected.notes, ZERO_PADDING_NOTE))
        if (warning := mismatch_warning(self.features, selected.features, dataset.name)) is not None:
            selected = dataclasses.replace(selected, notes=(*selected.notes, warning))
        return selected

    def normalize(self, dataset: Dataset) -> Dataset:
        """Return the model's inputs from the dataset, clipped and normalized. Raises the errors of `select_inputs`."""
        selected = self.select_inputs(dataset)
        if self.language_padding:
            splits = {name: _keep_language_padding(split) for name, split in selected.splits.items()}
            selected = dataclasses.replace(selected, splits=splits)
        return self.normalization.normalize_dataset(selected)

    def normalize_split(self, split: Split) -> Split:
        """Return a split, with complete samples and the model's modalities, clipped and normalized."""
        return self.normalization.normalize_split(_keep_language_padding(split) if self.language_padding else split)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as stored in run.json."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {
            "task": dataclasses.asdict(self.task),
            "features": features_to_json(self.features),
            "normalization": self.normalization.to_json(),
            "text_input": dataclasses.asdict(self.text_input) if self.text_input else None,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelSpec:
        """Return the spec that `to_json` wrote.

        Raises:
            RunError: A field is missing, unknown or has the wrong type.
        """
        try:
            fields = dict(value)
            task: dict[str, Any] = {
                name: tuple(item) if isinstance(item, list) else item for name, item in fields["task"].items()
            }
            fields["task"] = Task(**task)
            fields["normalization"] = FeatureNormalization.from_json(fields["normalization"])
            fields["features"] = parse_features(fields["features"], "features")
            text_input = fields.get("text_input")
            fields["text_input"] = TextInputSpec(**text_input) if text_input else None
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
            raise RunError(f"The spec in run.json is invalid ({error}). Run the command that made it again.") from None


def wrong_width(modality: str, expected: int, actual: int, source: str) -> str:
    """Return the error message about a number of features that a model does not take."""
    return (
        f"{modality} must have {expected} features per frame, got {actual} in {source}. "
        "Pass data with the features that the model was trained on."
    )


def drop_unused_modalities(dataset: Dataset, dims: Collection[str]) -> Dataset:
    """Return the dataset with only the modalities in `dims`; a note names each one that was dropped.

    Raises:
        DataError: No modality would be left.
    """
    if not dataset.dims:
        raise DataError(f"{dataset.name} {TEXT_ONLY_HINT}.")
    unused = [name for name in dataset.dims if name not in dims]
    if len(unused) == len(dataset.dims):
        raise DataError(
            f"{dataset.name} must have at least one of the model's modalities ({', '.join(dims)}), "
            f"got {', '.join(unused)}. Pass other data."
        )
    return dataset.without(unused, *(f"{name}: ignored, the model was trained without it" for name in unused))


def _trainable_dims(dataset: Dataset, dims: Mapping[str, int]) -> dict[str, int]:
    """Return the modalities that have a valid frame in the train split.

    Raises:
        DataError: No modality has one.
    """
    train = dataset.split("train")
    available = {name: dim for name, dim in dims.items() if _has_frames(train, (name,))}
    if not available:
        modalities = "" if set(dims) >= set(dataset.dims) else f" of {', '.join(dims)}"
        raise DataError(
            f"The train split of {dataset.name} has no valid frame{modalities}. "
            "Check the file with edge-msa data inspect."
        )
    return available


def _has_frames(split: Split, modalities: Collection[str]) -> bool:
    return any(split.modalities[name].valid.any() for name in modalities if name in split.modalities)


def _keep_language_padding(split: Split) -> Split:
    """Return the split with the language frames at padding marked as valid, for samples that have language."""
    frames = split.modalities.get("language")
    if frames is None or frames.values is None:
        return split
    has_language = frames.valid.any(axis=1, keepdims=True)
    valid = np.broadcast_to(has_language, frames.valid.shape)
    return dataclasses.replace(
        split, modalities={**split.modalities, "language": dataclasses.replace(frames, valid=valid)}
    )


def _has_zero_padding(dataset: Dataset) -> bool:
    """Return whether there is padding of language, and all its values are zero."""
    found = False
    for split in dataset.splits.values():
        frames = split.modalities.get("language")
        if frames is None:
            continue
        for start in range(0, len(split), _CHUNK):
            valid = frames.valid[start : start + _CHUNK]
            padding = ~valid & valid.any(axis=1, keepdims=True)
            found = found or bool(padding.any())
            if frames.values is not None and frames.values[start : start + _CHUNK][padding].any():
                return False
    return found
