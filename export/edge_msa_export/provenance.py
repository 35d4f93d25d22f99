"""Records what a bundle was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edge_msa_export.errors import ExportError


@dataclass(frozen=True)
class DataSource:
    """The data set that the model was trained on: its name and its digest."""

    name: str
    digest: str


@dataclass(frozen=True)
class NodePrecision:
    """The precision of one node, and the reason for it.

    Attributes:
        node: name of the node, with the name of its weight if it has one.
        op: operator.
        int8: whether the node computes in int8; otherwise in float.
        reason: reason for this precision.
    """

    node: str
    op: str
    int8: bool
    reason: str


@dataclass(frozen=True)
class ValidationMetric:
    """One metric of the baselines on the validation split.

    Attributes:
        key: name of the metric in the accuracy of a manifest.
        title: printed name.
        percent: whether the metric is a share in [0, 1], printed in percent.
        baselines: the metric of each baseline.
    """

    key: str
    title: str
    percent: bool
    baselines: Mapping[str, float]

    def format(self, value: float) -> str:
        """Return a value of the metric as text."""
        return f"{100.0 * value:.1f} %" if self.percent else f"{value:.3f}"


@dataclass(frozen=True)
class Validation:
    """The baselines on the samples of the validation split that have a modality of `subset`.

    Attributes:
        subset: the subset with the most modalities.
        samples: number of samples.
        metrics: the metrics that the accuracy gate checks.
    """

    subset: str
    samples: int
    metrics: tuple[ValidationMetric, ...]


@dataclass(frozen=True)
class Provenance:
    """What a bundle was made from.

    Attributes:
        run: digest of the run that was exported.
        model: kind of model.
        seed: seed of the training.
        parameters: number of learned parameters, text encoder included.
        config: configuration of the network.
        inputs: digests of the data and of earlier runs, by name.
        data: data set that the model was trained on.
        git_revision: revision of the training code.
        versions: versions of the packages used, by name.
        calibration: recipe of the calibration.
        plan: mixed-precision plan, by quantization scheme.
        request: request and result of the export. The same request is not exported again.
        precision_reasons: why each backend has its precision, by backend.
        validation: the baselines on the validation split.
        parity_measured_by: backend that measured the parity, by backend of the bundle and precision. An export adds it.
    """

    run: str | None = None
    model: str | None = None
    seed: int | None = None
    parameters: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    data: DataSource | None = None
    git_revision: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None
    plan: Mapping[str, tuple[NodePrecision, ...]] | None = None
    request: Mapping[str, Any] | None = None
    precision_reasons: Mapping[str, str] = field(default_factory=dict)
    validation: Validation | None = None
    parity_measured_by: Mapping[str, Mapping[str, str]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the known fields as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Provenance:
        """Return what `to_json` wrote, e.g. the provenance of a manifest. Unknown fields are ignored.

        Raises:
            ExportError: the data source, the validation or the plan has other fields than `to_json` writes.
        """
        known = {item.name: value[item.name] for item in fields(cls) if item.name in value}
        try:
            if "data" in known:
                known["data"] = DataSource(**known["data"])
            if "validation" in known:
                metrics = tuple(ValidationMetric(**row) for row in known["validation"]["metrics"])
                known["validation"] = Validation(**{**known["validation"], "metrics": metrics})
            if "plan" in known:
                known["plan"] = {
                    scheme: tuple(NodePrecision(**row) for row in rows) for scheme, rows in known["plan"].items()
                }
        except (KeyError, TypeError, AttributeError) as error:
            raise ExportError(f"Invalid provenance ({error}). Export the bundle again.") from None
        return cls(**known)

    def require_parameters(self) -> int:
        """Return the number of learned parameters.

        Raises:
            ExportError: it is not known.
        """
        if self.parameters is None:
            raise ExportError("The provenance lacks the number of parameters. Export the bundle again.")
        return self.parameters
