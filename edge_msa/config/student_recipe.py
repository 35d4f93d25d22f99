"""How a student is made: sizes, training, and what it is taught by; each term of distillation has a weight."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa.models.student import ModalitySizes, StudentConfig
from edge_msa.models.student_encoder import Recurrence
from edge_msa.training.loop import FitPlan
from edge_msa.training.losses import SCORE_LOSSES
from edge_msa.training.missing_modalities import MsmConfig
from edge_msa_runtime.modalities import MODALITIES

TERMS = ("hint", "hmi", "hal", "relations")
"""Terms beside the predictions, by the names of their weights."""


@dataclass(frozen=True)
class StudentRecipe:
    """How a student is made."""

    width: int = 32
    """Channels of every encoder."""
    blocks: int = 3
    """Causal convolutions a modality; the i-th is dilated by 2**i."""
    kernel: int = 3
    """Taps of each."""
    tokens: int = 4
    """Vectors that a modality's frames are pooled into."""
    hidden: int = 64
    """Width of the fusion."""
    stride: int = 1
    """Frames that are stacked into one row before the convolutions; a last row that is not full waits."""
    recurrence: Recurrence = "none"
    """`gru` for one behind the convolutions; it stays float in every context."""
    language: ModalitySizes = field(default_factory=ModalitySizes)
    """What the language encoder has of its own: width, blocks, kernel, stride, recurrence."""
    audio: ModalitySizes = field(default_factory=ModalitySizes)
    """Likewise."""
    vision: ModalitySizes = field(default_factory=ModalitySizes)
    """Likewise."""
    dropout: float = 0.3
    """On tokens, while training."""
    epochs: int = 25
    """Passes over the training split."""
    batch_size: int = 64
    """Samples a step."""
    learning_rate: float = 2e-3
    """Peak of AdamW's rate; it rises over the first tenth and falls along a cosine."""
    weight_decay: float = 1e-2
    """Decoupled."""
    patience: int | None = None
    """Stop after so many epochs without a better validation metric."""
    from_teacher: float = 0.5
    """Share of the loss that comes from the teachers' predictions; the labels have the rest. A sample without a label
    learns from the teachers alone, one of which no teacher reads anything from its label alone."""
    teacher_weights: tuple[float, ...] = ()
    """Of the teachers' predictions in their mean, in the order given; left out: all alike."""
    hint: float = 0.0
    """Weight of the squared distance between a linear map of the student's representation and the first teacher's of
    the same subset; 0: off."""
    hmi: float = 0.0
    """Weight of minus the mutual information of the two representations, as HRLF's L_HMI; 0: off."""
    hal: float = 0.0
    """Weight of the adversarial alignment of that map with the teacher's representation, as L_HAL; 0: off."""
    relations: float = 0.0
    """Weight of the difference between the two networks' distances among a batch's samples (RKD); 0: off."""
    curriculum: float = 0.0
    """Share of the epochs over which missingness grows from none to what `msm` says; 0: all of it at once."""
    qat_epochs: int = 3
    """Passes of quantization-aware training, where it is asked for."""
    qat_rate: float = 2e-4
    """Peak of its learning rate."""
    qat_scheme: str = "ort-x86-vnni"
    """Quantization scheme whose arithmetic it imitates; the grids of the x86 and ARM quantization schemes but one are the same."""
    score_loss: str = "l1"
    """l1, smooth_l1 or mse; emotions always take cross-entropy."""
    msm: MsmConfig = field(default_factory=MsmConfig)
    """What goes missing in training."""

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "kernel", "tokens", "hidden", "stride", "epochs", "batch_size", "qat_epochs"):
            _at_least_one(name, getattr(self, name))
        for modality in MODALITIES:
            for name, value in dataclasses.asdict(getattr(self, modality)).items():
                if isinstance(value, int):
                    _at_least_one(f"{modality}.{name}", value)
        _ = self.plan, self.qat_plan
        if self.score_loss not in SCORE_LOSSES:
            raise UsageError(f"student.score_loss is {self.score_loss!r}; it is one of: {', '.join(SCORE_LOSSES)}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"student.dropout is {self.dropout}; it is a share, at least 0 and below 1")
        self._check_teaching()

    def _check_teaching(self) -> None:
        for name in ("from_teacher", "curriculum"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"student.{name} is {getattr(self, name)}; it is a share between 0 and 1")
        for name in TERMS:
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(
                    f"student.{name} is {getattr(self, name)}; a loss weight is finite, at least 0 (0: off)"
                )
        if not all(0 < weight < math.inf for weight in self.teacher_weights):
            raise UsageError(f"student.teacher_weights is {list(self.teacher_weights)}; weights are finite, above 0")

    @property
    def plan(self) -> FitPlan:
        """The recipe's side of the training loop."""
        return FitPlan(
            self.epochs,
            self.batch_size,
            self.learning_rate,
            warmup=0.1,
            weight_decay=self.weight_decay,
            patience=self.patience,
        )

    @property
    def qat_plan(self) -> FitPlan:
        """As `plan`, of quantization-aware training."""
        return dataclasses.replace(self.plan, epochs=self.qat_epochs, learning_rate=self.qat_rate)

    @property
    def weights(self) -> dict[str, float]:
        """Of the terms beside the predictions that are switched on."""
        return {name: getattr(self, name) for name in TERMS if getattr(self, name)}

    def missing(self, epoch: int) -> MsmConfig:
        """What goes missing in that epoch (from 0)."""
        growing = self.curriculum * self.epochs
        share = min(1.0, epoch / growing) if growing else 1.0
        return dataclasses.replace(self.msm, inter=self.msm.inter * share, intra=self.msm.intra * share)

    def config(self, dims: Mapping[str, int], task: Task) -> StudentConfig:
        """The network for data of those widths."""
        own = {name: getattr(self, name) for name in dims}
        return StudentConfig(
            dict(dims),
            self.width,
            self.blocks,
            self.kernel,
            self.tokens,
            self.hidden,
            task.outputs,
            self.dropout,
            self.stride,
            self.recurrence,
            {name: sizes for name, sizes in own.items() if sizes != ModalitySizes()},
        )


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"student.{name} is {value}; it must be at least 1")
