from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.errors import BackendUnavailableError, RunError, TrainingError, UsageError
from edge_msa.training.checkpoint import FILE
from edge_msa.training.context import Hardware
from edge_msa.training.device import resolve_device
from edge_msa.training.loop import FitPlan, Objective, fit

CONTEXT = Hardware("cpu").start()
PLAN = FitPlan(epochs=6, batch_size=8, learning_rate=1e-2, warmup=0.1)


class Killed(Exception):  # noqa: N818
    pass


class Line(Objective):
    """y = 2x, learned with dropout; `killed_at` stops it as a signal would."""

    def __init__(self, killed_at: int | None = None, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 1))
        self.size = 33
        self.x = torch.randn(33, 4, generator=torch.Generator().manual_seed(1))
        self.y = 2 * self.x[:, :1] * scale
        self.killed_at, self.seen = killed_at, [0] * 33
        self.metrics: list[float] | None = None

    def begin(self, epoch: int) -> None:
        if epoch == self.killed_at:
            raise Killed

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        for row in rows.tolist():
            self.seen[row] += 1
        return {"loss": F.mse_loss(self.network(self.x[rows]), self.y[rows])}

    def validate(self) -> dict[str, float]:
        if self.metrics is not None:
            return {"metric": self.metrics.pop(0)}
        return {"metric": F.mse_loss(self.network(self.x), self.y).item()}


def without_seconds(rows: list[dict[str, float | int | str]]) -> list[dict[str, float | int | str]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_the_loss_falls_and_every_epoch_is_logged(tmp_path: Path) -> None:
    fitted = fit(Line(), PLAN, context=CONTEXT, seed=0, work_dir=tmp_path)
    losses = [float(row["loss"]) for row in fitted.rows]
    assert [row["epoch"] for row in fitted.rows] == [1, 2, 3, 4, 5, 6]
    assert losses[-1] < losses[0]
    assert fitted.best == pytest.approx(min(float(row["valid_metric"]) for row in fitted.rows), abs=1e-6)


@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path, killed_at: int) -> None:
    whole = Line()
    expected = fit(whole, PLAN, context=CONTEXT, seed=3, work_dir=tmp_path / "whole")
    with pytest.raises(Killed):
        fit(Line(killed_at), PLAN, context=CONTEXT, seed=3, work_dir=tmp_path / "cut")
    torch.manual_seed(12345)  # a new process has another global generator
    resumed = Line()
    found = fit(resumed, PLAN, context=CONTEXT, seed=3, work_dir=tmp_path / "cut")
    assert sum(resumed.seen) < sum(whole.seen)
    assert without_seconds(found.rows) == without_seconds(expected.rows)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_a_finished_training_is_not_run_again(tmp_path: Path) -> None:
    fit(Line(), PLAN, context=CONTEXT, seed=0, work_dir=tmp_path)
    again = Line()
    fit(again, PLAN, context=CONTEXT, seed=0, work_dir=tmp_path)
    assert sum(again.seen) == 0


def test_a_checkpoint_of_another_recipe_or_seed_is_not_gone_on_from(tmp_path: Path) -> None:
    fit(Line(), PLAN, context=CONTEXT, seed=0, work_dir=tmp_path, fingerprint="a")
    for seed, fingerprint in ((0, "b"), (1, "b")):
        other = Line()
        fit(other, PLAN, context=CONTEXT, seed=seed, work_dir=tmp_path, fingerprint=fingerprint)
        assert sum(other.seen) > 0


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 no checkpoint")
    with pytest.raises(RunError, match=r"checkpoint\.pt.*delete"):
        fit(Line(), PLAN, context=CONTEXT, seed=0, work_dir=tmp_path)


def test_the_best_epoch_is_kept_and_patience_ends_early(tmp_path: Path) -> None:
    line = Line()
    line.metrics = [3.0, 1.0, 2.0, 2.0, 0.5, 0.4]
    plan = FitPlan(epochs=6, batch_size=8, learning_rate=1e-2, patience=2)
    fitted = fit(line, plan, context=CONTEXT, seed=0, work_dir=tmp_path)
    assert (fitted.best, fitted.best_epoch, len(fitted.rows)) == (1.0, 1, 4)


def test_a_lone_last_sample_waits_for_another_epoch(tmp_path: Path) -> None:
    line = Line()
    fit(line, FitPlan(epochs=1, batch_size=8, learning_rate=1e-3), context=CONTEXT, seed=0, work_dir=tmp_path)
    assert sorted(set(line.seen)) == [0, 1]
    assert sum(line.seen) == 32


def test_a_loss_that_is_not_finite_names_epoch_step_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss is (inf|nan) at epoch 1, step \d+ of 4: lower the learning rate"):
        fit(Line(scale=1e30), PLAN, context=CONTEXT, seed=0, work_dir=tmp_path)


def test_the_callers_generator_is_left_alone(tmp_path: Path) -> None:
    line = Line()
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    fit(line, PLAN, context=CONTEXT, seed=0, work_dir=tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_a_progress_bar_goes_to_stderr_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(Line(), PLAN, context=dataclasses.replace(CONTEXT, progress=True), seed=0, work_dir=tmp_path)
    assert not capsys.readouterr().out


def test_learning_rate_rises_then_falls() -> None:
    plan = FitPlan(epochs=10, batch_size=1, learning_rate=1.0, warmup=0.2)
    rates = [plan.rate(step, 100) for step in range(100)]
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 0.01


@pytest.mark.parametrize(
    "values", [{"epochs": 0}, {"batch_size": -1}, {"learning_rate": 0.0}, {"patience": 0}, {"warmup": 1.0}]
)
def test_impossible_plans_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        FitPlan(**({"epochs": 1, "batch_size": 1, "learning_rate": 0.1} | values))  # type: ignore[arg-type]


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(BackendUnavailableError, match="--device cpu") as caught:
        resolve_device("cuda")
    assert caught.value.exit_code == 4
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        resolve_device("gpu")
