"""A task of four classes, and what a bundle calibrates for it."""

from __future__ import annotations

import dataclasses
from typing import Any

from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.classes import ClassCalibration, PredictionSets
from edge_msa_runtime.modalities import MODALITIES, subsets_of

LABELS = ("neutral", "happy", "sad", "angry")
CLASSES = TaskSpec("classes", 4, LABELS)
TEMPERATURE = 2.0


def make_calibration(**changes: Any) -> ClassCalibration:
    """Return sets of all classes with little evidence, and of coverage .5 and .9 with much."""
    table = {subset.value: ((None, None), (0.5, 0.9)) for subset in subsets_of(MODALITIES)}
    typical = {"language": 4.0, "audio": 8.0, "vision": 8.0}
    tables = {name: {"fp32": table} for name in ("onnxruntime", "openvino")}
    sets = PredictionSets((0.5, 0.9), (0.6,), typical, 120, tables)
    return dataclasses.replace(ClassCalibration(TEMPERATURE, sets), **changes)
