from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edge_msa.data.tasks import MOSI
from edge_msa.evaluation.lexicon import Vader

VALUES = {"good": 0.5, "bad": -0.5, "great": 0.9, "so": 0.0}


@pytest.fixture(autouse=True)
def vader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package with the interface of vaderSentiment, which knows four words."""

    class SentimentIntensityAnalyzer:
        def polarity_scores(self, text: str) -> dict[str, float]:
            return {"compound": VALUES[text], "neg": 0.0, "neu": 1.0, "pos": 0.0}

    package, module = ModuleType("vaderSentiment"), ModuleType("vaderSentiment.vaderSentiment")
    module.__dict__.update(SentimentIntensityAnalyzer=SentimentIntensityAnalyzer, __file__=str(tmp_path / "a.py"))
    (tmp_path / "lexicon.txt").write_text("good 1.9")
    monkeypatch.setitem(sys.modules, "vaderSentiment", package)
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", module)


def test_the_line_has_the_lowest_absolute_error_on_validation() -> None:
    vader = Vader(["good", "bad", "great", "so"], np.array([1.2, -0.8, 2.0, -3.0], np.float32), MOSI)
    np.testing.assert_allclose(vader.line, (2.0, 0.2), atol=1e-2)  # the outlier does not move it
    np.testing.assert_allclose(vader.predict(["good", "so"]), [1.2, 0.2], atol=1e-2)
    assert vader.size_bytes == len("good 1.9")


def test_scores_stay_within_the_scale_of_the_task() -> None:
    vader = Vader(["good", "bad"], np.array([2.9, -2.9], np.float32), MOSI)
    assert vader.predict(["great"]).tolist() == [3.0]


def test_equal_values_become_the_median() -> None:
    assert Vader(["so", "so", "so"], np.array([0.0, 1.0, 3.0], np.float32), MOSI).predict(["so"])[0] == pytest.approx(1)
