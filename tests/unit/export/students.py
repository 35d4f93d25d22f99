"""Sizes and requests of the students that the tests export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_msa_export.normalization import Normalization
from edge_msa_export.profiles import find_profile
from edge_msa_export.provenance import Provenance
from edge_msa_export.request import ExportRequest, GoldenSample
from edge_msa_export.text import ExportableText
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.features import FeatureSource

DIMS = {"language": 6, "audio": 5, "vision": 4}
CHUNKS = {"language": 4, "audio": 5, "vision": 3}
WINDOWS = {"language": 14, "audio": 17, "vision": 12}

FRAME_MEAN, FRAME_STD = 2.0, 3.0
NORMALIZATION = {name: Normalization((FRAME_MEAN,) * dim, (FRAME_STD,) * dim, 6.0) for name, dim in DIMS.items()}
FEATURES = {
    "audio": FeatureSource(
        "COVAREP", "1.4", 100.0, tuple("abcde"), ("Hz", "", "", "dB", ""), {"window_ms": 25, "method": "SRH"}, "0f" * 32
    )
}

TEXT = "I love the films, not it!"
TEXT_WIDTH, MAX_TOKENS = 16, 20


def make_request(
    golden_samples: Sequence[GoldenSample],
    dims: Mapping[str, int],
    chunks: Mapping[str, int],
    windows: Mapping[str, int],
    target: str,
    *,
    normalization: Mapping[str, Normalization] = NORMALIZATION,
    text_model: ExportableText | None = None,
) -> ExportRequest:
    """Return a request whose ranges cover every layer of a student with two blocks per encoder."""
    layers = [
        f"encoders.{name}.{layer}.weight" for name in dims for layer in ("embed", "blocks.0", "blocks.1", "score")
    ]
    return ExportRequest(
        name="tiny",
        profile=find_profile(target),
        task=TaskSpec("regression", 1),
        normalization=normalization,
        chunks=chunks,
        windows=windows,
        golden_samples=golden_samples,
        provenance=Provenance(seed=7),
        license="MIT",
        ranges={f"{layer}:{side}": (-4.0, 4.0) for layer in layers for side in ("input", "output")},
        features=FEATURES,
        text_model=text_model,
    )


def make_frames(rng: np.random.Generator, length: int, dim: int) -> np.ndarray:
    """Return random raw frames (length, dim) float32."""
    return rng.normal(FRAME_MEAN, FRAME_STD, size=(length, dim)).astype(np.float32)
