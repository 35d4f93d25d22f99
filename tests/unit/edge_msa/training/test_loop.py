from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.config.training import TrainingSchedule
from edge_msa.console import Progress, messages
from edge_msa.errors import RunError, TrainingError
from edge_msa.training.checkpoint import FILE
from edge_msa.training.context import Hardware
from edge_msa.training.loop import Objective, fit, learning_rate_at

CONTEXT = Hardware("cpu").start()
SCHEDULE = TrainingSchedule(epochs=6, batch_size=8, learning_rate=1e-2, warmup=0.1)


class Interrupted(Exception):  # noqa: N818 - not an error of the code
    pass


class Line(Objective):
    """y = 2x, learned with dropout. `interrupted_at` is the epoch at which an exception is raised."""

    def __init__(self, interrupted_at: int | None = None, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 1))
        self.size = 33
        self.x = torch.randn(33, 4, generator=torch.Generator().manual_seed(1))
        self.y = 2 * self.x[:, :1] * scale
        self.interrupted_at, self.seen = interrupted_at, [0] * 33
        self.metrics: list[float] | None = None

    def begin(self, epoch: int) -> None:
        if epoch == self.interrupted_at:
            raise Interrupted

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


def test_loss_falls_and_every_epoch_is_logged(tmp_path: Path) -> None:
    result = fit(Line(), SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path)
    losses = [float(row["loss"]) for row in result.rows]
    assert [row["epoch"] for row in result.rows] == [1, 2, 3, 4, 5, 6]
    assert losses[-1] < losses[0]
    assert result.best == pytest.approx(min(float(row["valid_metric"]) for row in result.rows), rel=1e-5)


@pytest.mark.parametrize(("interrupted_at", "ema"), [(1, 0.0), (3, 0.0), (5, 0.0), (1, 0.95), (5, 0.95)])
def test_resumed_training_gives_identical_weights(tmp_path: Path, interrupted_at: int, ema: float) -> None:
    whole, schedule = Line(), SCHEDULE.model_copy(update={"ema": ema})
    expected = fit(whole, schedule, context=CONTEXT, seed=3, work_dir=tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(Line(interrupted_at), schedule, context=CONTEXT, seed=3, work_dir=tmp_path / "cut")
    torch.manual_seed(12345)  # a new process has another state of the global generator
    resumed = Line()
    result = fit(resumed, schedule, context=CONTEXT, seed=3, work_dir=tmp_path / "cut")
    assert sum(resumed.seen) < sum(whole.seen)
    assert without_seconds(result.rows) == without_seconds(expected.rows)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


class Recorded(Line):
    """Records the weights at the start of each epoch and at each validation."""

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[Tensor] = []
        self.validated: list[Tensor] = []

    def begin(self, epoch: int) -> None:
        super().begin(epoch)
        self.trained.append(nn.utils.parameters_to_vector(self.parameters()).detach())

    def validate(self) -> dict[str, float]:
        self.validated.append(nn.utils.parameters_to_vector(self.parameters()).detach())
        return super().validate()


def test_averaged_weights_are_validated_and_returned(tmp_path: Path) -> None:
    line = Recorded()
    schedule = TrainingSchedule(epochs=4, batch_size=33, learning_rate=1e-2, ema=0.15)
    result = fit(line, schedule, context=CONTEXT, seed=0, work_dir=tmp_path)
    average = line.trained[0]
    for step, (weights, validated) in enumerate(zip(line.trained[1:], line.validated, strict=False)):
        decay = min(0.15, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights
        torch.testing.assert_close(validated, average)
        assert not torch.equal(validated, weights)
    final = nn.utils.parameters_to_vector(line.parameters())
    assert torch.equal(final, line.validated[result.best_epoch])


def test_finished_training_does_not_run_again(tmp_path: Path) -> None:
    fit(Line(), SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path)
    again = Line()
    fit(again, SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path)
    assert sum(again.seen) == 0


def test_checkpoint_with_another_fingerprint_is_ignored(tmp_path: Path) -> None:
    fit(Line(), SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path, fingerprint="a")
    for seed, fingerprint in ((0, "b"), (1, "b")):
        other = Line()
        fit(other, SCHEDULE, context=CONTEXT, seed=seed, work_dir=tmp_path, fingerprint=fingerprint)
        assert sum(other.seen) > 0


@pytest.mark.usefixtures("printing")
def test_damaged_checkpoint_restarts_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 no checkpoint")
    result = fit(Line(), SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path)
    assert len(result.rows) == SCHEDULE.epochs
    note = capsys.readouterr().err.splitlines()[0]
    assert note.startswith(f"note: Cannot resume from {tmp_path / FILE}: ")
    assert note.endswith("The training starts again at the first epoch.")


def test_a_checkpoint_that_cannot_be_read_is_an_error_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(Line(), SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(RunError, match=r"Cannot read .*: .*Input/output error\. Check the drive"):
        fit(Line(), SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_patience_stops_after_the_best_epoch(tmp_path: Path) -> None:
    line = Line()
    line.metrics = [3.0, 1.0, 2.0, 2.0, 0.5, 0.4]
    schedule = TrainingSchedule(epochs=6, batch_size=8, learning_rate=1e-2, patience=2)
    result = fit(line, schedule, context=CONTEXT, seed=0, work_dir=tmp_path)
    assert (result.best, result.best_epoch, len(result.rows)) == (1.0, 1, 4)


def test_batch_of_one_sample_is_skipped(tmp_path: Path) -> None:
    line = Line()
    fit(line, TrainingSchedule(epochs=1, batch_size=8, learning_rate=1e-3), context=CONTEXT, seed=0, work_dir=tmp_path)
    assert sorted(set(line.seen)) == [0, 1]
    assert sum(line.seen) == 32


def test_loss_that_is_not_finite_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss is (inf|nan) at epoch 1, step \d+ of 4\. Lower the learning rate"):
        fit(Line(scale=1e30), SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path)


def test_global_generator_keeps_its_state(tmp_path: Path) -> None:
    line = Line()
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    fit(line, SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.case("F26")
def test_every_epoch_prints_one_line_and_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Progress] = []
    with messages(verbose=True, on_progress=events.append):
        result = fit(Line(), SCHEDULE, context=CONTEXT, seed=0, work_dir=tmp_path, stage="student")
    out, err = capsys.readouterr()
    assert not out
    lines = [line for line in err.splitlines() if ": loss" in line]
    assert [event.text for event in events] == lines
    assert [(event.step, event.done, event.total) for event in events] == [
        ("student: epoch", epoch, 6) for epoch in range(1, 7)
    ]
    assert [line.split(":")[0] for line in lines] == [f"student epoch {epoch}/6" for epoch in range(1, 7)]
    assert f"validation {result.best:.4f}" in lines[result.best_epoch]


def test_learning_rate_rises_and_then_decays() -> None:
    schedule = TrainingSchedule(epochs=10, batch_size=1, learning_rate=1.0, warmup=0.2)
    rates = [learning_rate_at(step, 100, schedule) for step in range(100)]
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 0.01
