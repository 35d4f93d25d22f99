"""The calibration of a student, and the files of a calibration run that hold it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.runs import Run
from edge_msa.errors import RunError

RANGES_NAME = "ranges.json"
SMOOTHING_NAME = "smoothing.npz"
FP32_WEIGHTS_NAME = "fp32_weights.json"

Ranges = Mapping[str, tuple[float, float]]
"""(low, high) of each tensor, by `<weight name>:input` and `<weight name>:output`."""
Smoothing = Mapping[str, NDArray[np.float32]]
"""Smoothing factors of a text encoder's layers, by weight name."""
Fp32Weights = Mapping[str, Mapping[str, str]]
"""By quantization scheme, the weights whose layers stay FP32, each with the reason."""


@dataclass(frozen=True)
class Calibration:
    """What is needed to quantize the graphs of a student to INT8."""

    ranges: Ranges
    """Ranges of the activations."""
    smoothing: Smoothing = field(default_factory=dict)
    """Smoothing factors; empty without a text encoder."""
    fp32_weights: Fp32Weights = field(default_factory=dict)
    """The layers that stay FP32."""

    def save(self, folder: Path) -> None:
        """Write the calibration into the folder of a run.

        Raises:
            EdgeMsaError: A file cannot be written.
        """
        ranges = {key: (float(low), float(high)) for key, (low, high) in self.ranges.items()}
        write_text(folder / RANGES_NAME, json.dumps(ranges, indent=1) + "\n")
        write_text(folder / FP32_WEIGHTS_NAME, json.dumps(self.fp32_weights, indent=1) + "\n")
        if self.smoothing:
            np.savez(folder / SMOOTHING_NAME, **dict(self.smoothing))  # type: ignore[arg-type]


def load_calibration(run: Run) -> Calibration | None:
    """Return the calibration of a run, or None if the run is not calibrated.

    Raises:
        RunError: A file is missing or damaged.
    """
    if run.info.kind != "calibration":
        return None
    return Calibration(
        _load_ranges(run.path / RANGES_NAME),
        _load_smoothing(run.path / SMOOTHING_NAME),
        _load_fp32_weights(run.path / FP32_WEIGHTS_NAME),
    )


def _load_ranges(path: Path) -> Ranges:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {key: (float(low), float(high)) for key, (low, high) in values.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None


def _load_smoothing(path: Path) -> Smoothing:
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name], np.float32) for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from None


def _load_fp32_weights(path: Path) -> Fp32Weights:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {
            scheme: {str(name): str(reason) for name, reason in weights.items()} for scheme, weights in values.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(f"Cannot read {path} ({error}). Calibrate again.")
