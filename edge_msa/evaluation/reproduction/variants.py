"""A method and its ablations, as changes of its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_msa.evaluation.reproduction.published import ModelName, PaperName

FULL = "full"
PUBLISHED = "published"


@dataclass(frozen=True)
class Variant:
    """The full method or an ablation."""

    name: str
    """Name in files."""
    title: str
    """Name in tables."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Changed fields of the recipe. A variant that changes `preset` uses that preset instead of the recipe."""

    def table(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return the recipe table of the variant, given that of the full method."""
        return dict(self.changes) if "preset" in self.changes else {**base, **self.changes}


FULL_METHOD = Variant(FULL, "full")

_ABLATIONS: dict[ModelName, tuple[Variant, ...]] = {
    "hrlf": (
        Variant("without-frf", "without FRF", {"frf": 0.0}),
        Variant("without-hmi", "without HMI", {"hmi": 0.0}),
        Variant("without-hal", "without HAL", {"hal": 0.0}),
        Variant("task-kl", "task loss and KL only", {"frf": 0.0, "hmi": 0.0, "hal": 0.0}),
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


def find_ablations(model: ModelName, paper: PaperName) -> tuple[Variant, ...]:
    """Return the ablations of a method, and the method as published if that is a preset of its own.

    A variant may equal the full method, depending on the recipe. If the paper does not have the corpus, the method as
    published has the paper's settings for CMU-MOSI.
    """
    if model != "hrlf":
        return _ABLATIONS[model]
    return (*_ABLATIONS[model], Variant(PUBLISHED, "as published", {"preset": published_hrlf_preset(paper)}))


def published_hrlf_preset(paper: PaperName) -> str:
    """Return the preset with the literal settings of HRLF's paper for a corpus; CMU-MOSI's for a corpus without any."""
    return f"paper-{paper if paper in {'mosi', 'mosei', 'iemocap'} else 'mosi'}"
