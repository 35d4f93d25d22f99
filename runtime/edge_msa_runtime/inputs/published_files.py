"""Recognize feature files that others published, to know what computed their features.

A number of features does not identify an extractor: many programs compute 300 or 768. A published file is recognized by
the shapes of all its arrays, numbers of samples included.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.features import FeatureSource

Shapes = Mapping[str, "tuple[int, ...]"]


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A published feature file.

    Attributes:
        shapes: the shape of each array that identifies the file, by name.
        features: what its publishers state about the features, by modality.
    """

    shapes: Shapes
    features: Mapping[str, FeatureSource]


def find_features(arrays: Mapping[str, Any], files: Sequence[PublishedFile]) -> dict[str, FeatureSource]:
    """Return what is known about the features of arrays that have the shapes of a published file; empty if none has."""
    for file in files:
        if all(name in arrays and np.shape(arrays[name]) == shape for name, shape in file.shapes.items()):
            return dict(file.features)
    return {}
