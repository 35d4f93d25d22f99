"""What every step after training must know of the data a model was made for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_msa.data.dataset import Dataset
from edge_msa.data.normalise import Normalisation, fit_normalisation
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError, RunError


@dataclass(frozen=True)
class Contract:
    """A model's side of the data: task, features a frame, longest sample, frame rates in Hz, normalisation.

    `data` is where it was trained, so that a later command can find validation data without being told; empty where
    nobody knows, as of an imported checkpoint.
    """

    task: Task
    dims: Mapping[str, int]
    windows: Mapping[str, int]
    frame_rates: Mapping[str, float]
    normalisation: Normalisation
    data: str

    @classmethod
    def of(cls, dataset: Dataset, source: str) -> Contract:
        """The contract of a model that is going to be trained on this dataset (not normalised yet)."""
        for name in ("train", "valid"):
            if not any(frames.valid.any() for frames in dataset.split(name).modalities.values()):
                raise DataError(f"the {name} split of {dataset.name} has no valid frame at all: look with data inspect")
        normalisation = fit_normalisation(dataset.split("train"), dataset.dims)
        return cls(dataset.task, dataset.dims, dataset.windows, dataset.frame_rates, normalisation, source)

    def normalised(self, dataset: Dataset) -> Dataset:
        """That dataset as the model wants it.

        Raises:
            DataError: it has other features than the model was made for, or labels of another kind.
        """
        for name, dim in dataset.dims.items():
            if name not in self.dims:
                raise DataError(f"{dataset.name} has {name}, the model was made without it: train it on such data")
            if dim != self.dims[name]:
                raise DataError(
                    f"{name} of {dataset.name} has {dim} features a frame, the model takes {self.dims[name]}: "
                    "give the data that it was made for"
                )
        if dataset.task.outputs != self.task.outputs or dataset.task.is_score != self.task.is_score:
            raise DataError(
                f"{dataset.name} has the task {dataset.task.kind}, the model was made for {self.task.kind}: "
                "give the --task it was trained with"
            )
        return self.normalisation.apply(dataset)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for run.json."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"task": dataclasses.asdict(self.task), "normalisation": self.normalisation.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Contract:
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
            fields["normalisation"] = Normalisation.from_json(fields["normalisation"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError, DataError) as error:
            raise RunError(f"the contract in run.json cannot be read ({error}): make the run again") from None
