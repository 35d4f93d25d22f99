"""A method and its ablations, as changes of its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_msa.evaluation.reproduction.published import ModelName

FULL = "full"


@dataclass(frozen=True)
class Variant:
    """The full method or an ablation."""

    name: str
    """Name in files."""
    title: str
    """Name in tables."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Changed fields of the recipe."""


FULL_METHOD = Variant(FULL, "full")

_ABLATIONS: dict[ModelName, tuple[Variant, ...]] = {
    "hrlf": (
        Variant("without-frf", "without FRF", {"frf": 0.0}),
        Variant("without-hmi", "without HMI", {"hmi": 0.0}),
        Variant("without-hal", "without HAL", {"hal": 0.0}),
    ),
    "almt": (
        Variant("without-ahl", "without AHL", {"ahl": False}),
        Variant("without-language", "without language", {"without": ("language",)}),
        Variant("scales-1", "1 scale", {"scales": 1}),
        Variant("scales-2", "2 scales", {"scales": 2}),
        Variant("scales-3", "3 scales", {"scales": 3}),
        # Not 1: see edge_msa.models.almt.
        Variant("tokens-2", "2 tokens", {"tokens": 2}),
        Variant("tokens-4", "4 tokens", {"tokens": 4}),
        Variant("tokens-8", "8 tokens", {"tokens": 8}),
        Variant("tokens-16", "16 tokens", {"tokens": 16}),
        Variant("concatenation", "concatenation", {"fusion": "concatenation"}),
    ),
}
"""The ablations of the papers; `edge_msa.training.teachers.hrlf` and `edge_msa.models.almt` describe them."""


def find_ablations(model: ModelName) -> tuple[Variant, ...]:
    """Return the ablations of a method. An ablation may change nothing, depending on the recipe."""
    return _ABLATIONS[model]
