"""VADER, a lexicon of English sentiment with rules, as a baseline for text models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import Task
from edge_msa_runtime.vendor_packages import import_package


class Vader:
    """VADER (Hutto and Gilbert 2014), whose compound value from -1 to 1 a line maps to the scale of a task.

    Args:
        texts: Validation texts.
        labels: Their scores, (n,). The line has the lowest mean absolute error on them.
        task: Limits the scores.

    Raises:
        PackageImportError: vaderSentiment is not installed.
    """

    def __init__(self, texts: Sequence[str], labels: FloatArray, task: Task) -> None:
        package = import_package("vaderSentiment.vaderSentiment")
        self._analyzer: Any = package.SentimentIntensityAnalyzer()
        self._task = task
        self.size_bytes = sum(file.stat().st_size for file in Path(package.__file__).parent.glob("*.txt"))
        """Size of its lexicons."""
        self.line = _fit_line(self._compound(texts), labels)
        """Slope and offset."""

    def predict(self, texts: Sequence[str]) -> FloatArray:
        """Return the scores of texts, (n,)."""
        slope, offset = self.line
        scores: FloatArray = np.clip(slope * self._compound(texts) + offset, self._task.low, self._task.high)
        return scores.astype(np.float32)

    def _compound(self, texts: Sequence[str]) -> FloatArray:
        return np.array([self._analyzer.polarity_scores(text)["compound"] for text in texts], np.float32)


def _fit_line(values: FloatArray, labels: FloatArray) -> tuple[float, float]:
    """Return the slope and the offset with the lowest mean absolute error, starting from those of least squares."""
    from scipy.optimize import minimize

    start = np.polyfit(values, labels, 1) if np.ptp(values) else np.array([0.0, np.median(labels)])
    found = minimize(lambda line: np.abs(line[0] * values + line[1] - labels).mean(), start, method="Nelder-Mead")
    return float(found.x[0]), float(found.x[1])
