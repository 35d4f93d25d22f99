"""Records what a bundle was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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
        reason: why.
    """

    node: str
    op: str
    int8: bool
    reason: str


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

    def to_json(self) -> dict[str, Any]:
        """Return the known fields as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}
