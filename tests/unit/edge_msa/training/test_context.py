from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.training.context import Hardware, TrainingContext
from edge_msa.training.loop import FitPlan, Fitted, Objective, fit

PLAN = FitPlan(epochs=3, batch_size=8, learning_rate=1e-2)


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


def fitted(context: TrainingContext, folder: Path) -> Fitted:
    return fit(Curve(), PLAN, context=context, seed=0, work_dir=folder)


def losses(result: Fitted) -> list[float]:
    return [float(row["loss"]) for row in result.rows]


def test_bf16_learns_the_same_to_its_own_rounding(tmp_path: Path) -> None:
    plain = losses(fitted(Hardware("cpu", "32").start(), tmp_path / "32"))
    half = losses(fitted(Hardware("cpu", "bf16").start(), tmp_path / "bf16"))
    assert half == pytest.approx(plain, rel=0.05)
    assert half != plain


def test_a_checkpoint_of_one_precision_is_not_gone_on_from_in_another(tmp_path: Path) -> None:
    plain = fitted(Hardware("cpu", "32").start(), tmp_path)
    half = fitted(Hardware("cpu", "bf16").start(), tmp_path)
    assert losses(plain) != losses(half)


def test_auto_precision_is_full_on_a_cpu() -> None:
    assert Hardware("cpu", "auto").start().precision == "32"


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'16'.*auto, 32, bf16"):
        Hardware("cpu", "16").start()  # type: ignore[arg-type]


def test_compiling_without_a_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendUnavailableError, match=r"C\+\+ compiler.*without --compile"):
        Hardware("cpu", compiled=True).start()


def test_tensorboard_files_hold_every_epoch(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    fitted(Hardware("cpu", log_dir=tmp_path / "logs").start(), tmp_path / "work")
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
    assert torch.equal(context.whole(rows, 3), rows)
    assert context.agree("so") == "so"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
@pytest.mark.parametrize(("precision", "tolerance"), [("32", 1e-4), ("bf16", 5e-2)])
def test_a_gpu_learns_what_a_cpu_learns(precision: str, tolerance: float, tmp_path: Path) -> None:
    expected = losses(fitted(Hardware("cpu", "32").start(), tmp_path / "cpu"))
    context = Hardware("cuda", precision).start()  # type: ignore[arg-type]
    objective = Curve().to(context.device)
    objective.x = objective.x.to(context.device)
    found = fit(objective, PLAN, context=context, seed=0, work_dir=tmp_path / "gpu")
    assert losses(found) == pytest.approx(expected, rel=tolerance)
