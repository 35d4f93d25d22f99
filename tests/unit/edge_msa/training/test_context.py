from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.config.training import TrainingSchedule
from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.training.context import Hardware, TrainingContext
from edge_msa.training.loop import FitResult, Objective, fit

SCHEDULE = TrainingSchedule(epochs=3, batch_size=8, learning_rate=1e-2, warmup=0.0)


class Curve(Objective):
    """y = x**2, learned by a small network."""

    size = 32

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1))
        self.x = torch.linspace(-1, 1, 32)[:, None]

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(self.network(self.x[rows]), self.x[rows] ** 2)}

    def validate(self) -> dict[str, float]:
        return {"metric": float(self(torch.arange(32))["loss"])}


def train_curve(context: TrainingContext, folder: Path) -> FitResult:
    return fit(Curve(), SCHEDULE, context=context, seed=0, work_dir=folder)


def losses(result: FitResult) -> list[float]:
    return [float(row["loss"]) for row in result.rows]


def test_bf16_trains_like_float32_up_to_rounding(tmp_path: Path) -> None:
    plain = losses(train_curve(Hardware("cpu", "32").start(), tmp_path / "32"))
    bf16 = losses(train_curve(Hardware("cpu", "bf16").start(), tmp_path / "bf16"))
    assert bf16 == pytest.approx(plain, rel=0.05)
    assert bf16 != plain


def test_checkpoint_of_another_precision_is_ignored(tmp_path: Path) -> None:
    plain = train_curve(Hardware("cpu", "32").start(), tmp_path)
    bf16 = train_curve(Hardware("cpu", "bf16").start(), tmp_path)
    assert losses(plain) != losses(bf16)


def test_auto_precision_is_32_on_a_cpu() -> None:
    assert Hardware("cpu", "auto").start().precision == "32"


def test_unknown_precision_raises_an_error() -> None:
    with pytest.raises(UsageError, match=r"auto, 32, bf16, got '16'"):
        Hardware("cpu", "16").start()  # type: ignore[arg-type]


def test_compile_without_a_compiler_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendUnavailableError, match=r"C\+\+ compiler.*without --compile"):
        Hardware("cpu", compiled=True).start()


def test_tensorboard_files_contain_every_epoch(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    train_curve(Hardware("cpu", log_dir=tmp_path / "logs").start(), tmp_path / "work")
    (file,) = (tmp_path / "logs" / "train").glob("events.*")
    events = []
    content = file.read_bytes()
    while content:  # a record is its length (8 bytes), a checksum (4), the event, a checksum (4)
        size = int.from_bytes(content[:8], "little")
        events.append(Event.FromString(content[12 : 12 + size]))
        content = content[16 + size :]
    steps = [event.step for event in events for value in event.summary.value if value.tag == "valid_metric"]
    assert steps == [1, 2, 3]


def test_one_process_encodes_the_whole_batch() -> None:
    context = Hardware("cpu").start()
    rows = torch.tensor([3, 1, 2])
    assert context.is_first
    assert torch.equal(context.share(rows), rows)
    assert torch.equal(context.merge_shares(rows, 3), rows)
    assert context.broadcast("value") == "value"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
@pytest.mark.parametrize(("precision", "tolerance"), [("32", 1e-4), ("bf16", 5e-2)])
def test_gpu_trains_like_a_cpu_up_to_rounding(precision: str, tolerance: float, tmp_path: Path) -> None:
    expected = losses(train_curve(Hardware("cpu", "32").start(), tmp_path / "cpu"))
    context = Hardware("cuda", precision).start()  # type: ignore[arg-type]
    objective = Curve().to(context.device)
    objective.x = objective.x.to(context.device)
    result = fit(objective, SCHEDULE, context=context, seed=0, work_dir=tmp_path / "gpu")
    assert losses(result) == pytest.approx(expected, rel=tolerance)
