"""The result of a finished search: one record from which its table, its page and its JSON are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_msa.architecture_search.trials import TrialResult, pareto_set

RECORD_NAME = "search.json"
MIN_SAVING = 0.1
"""Share of the fp32 latency that a lower precision of the default recipe must save to be the reference. The same share
applies in `edge-msa export`, because two measurements of the same graph can differ by less."""


@dataclass(frozen=True)
class SearchRecord:
    """A finished search.

    Attributes:
        data: Name of the dataset.
        target: Device profile.
        backend: Backend that ran the trials.
        error_name: Printed name of the error.
        subset: Modality subset whose latency was measured.
        trials: Results of all trials.
        bundles: Folder of the bundle, by trial number.
        final_ms: p50 latency of the bundle by trial number, from the final measurement with all bundles interleaved.
        errors: Validation errors of each seed, by trial number. Only trials that were trained with several seeds.
        provenance: Values to print, by name: machine, seed, epochs.
    """

    data: str
    target: str
    backend: str
    error_name: str
    subset: str
    trials: Sequence[TrialResult]
    bundles: Mapping[int, str] = field(default_factory=dict)
    final_ms: Mapping[int, float] = field(default_factory=dict)
    errors: Mapping[int, Sequence[float]] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def pareto(self) -> tuple[TrialResult, ...]:
        """The trials on the Pareto front of error, latency and size, fastest first."""
        return pareto_set(self.trials)

    @property
    def failed(self) -> tuple[TrialResult, ...]:
        """The trials that failed."""
        return tuple(trial for trial in self.trials if not trial.is_measured)

    @property
    def default(self) -> TrialResult | None:
        """The default recipe at the precision that an export would choose, or None if it failed at all precisions."""
        measured = [trial for trial in self.trials if trial.is_default and trial.is_measured]
        if not measured:
            return None
        fastest = min(measured, key=lambda trial: trial.costs[1])
        fp32 = next((trial for trial in measured if trial.precision == "fp32"), fastest)
        return fastest if fastest.costs[1] <= fp32.costs[1] * (1 - MIN_SAVING) else fp32

    def relative_latency(self, trial: TrialResult) -> float | None:
        """Return the trial's latency relative to the default recipe, from the final measurement if both are in it."""
        default = self.default
        if default is None or default.latency_ratio is None or trial.latency_ratio is None:
            return None
        if {default.number, trial.number} <= set(self.final_ms):
            return self.final_ms[trial.number] / self.final_ms[default.number]
        if default.number == trial.number:
            return 1.0
        # Each trial is timed interleaved with the default recipe in fp32. If fp32 is the default's precision, the ratio
        # is already the result. Dividing it by the ratio of the default's own trial would add that trial's noise.
        return trial.latency_ratio if default.precision == "fp32" else trial.latency_ratio / default.latency_ratio

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return fields | {
            "record": "search",
            "trials": [trial.to_json() for trial in self.trials],
            "pareto": [trial.number for trial in self.pareto],
            "default": None if self.default is None else self.default.number,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchRecord:
        """Return the record that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: The value is something else.
        """
        fields = {item.name: value[item.name] for item in dataclasses.fields(cls)}
        by_number = {
            name: {int(number): item for number, item in fields[name].items()}
            for name in ("bundles", "final_ms", "errors")
        }
        trials = tuple(TrialResult.from_json(item) for item in fields["trials"])
        return cls(**(fields | by_number | {"trials": trials}))
