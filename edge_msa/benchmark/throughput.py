"""Measure the training throughput of the teachers and of a text model: complete steps on random inputs.

The teachers train on random features of the shapes of CMU-MOSI, the text model on random words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from edge_msa.config.recipes import almt_preset, hrlf_preset
from edge_msa.config.students import TextRecipe
from edge_msa.config.training import TrainingSchedule
from edge_msa.console import activity
from edge_msa.data.dataset import Dataset, Frames, Split, SplitName
from edge_msa.data.tasks import MOSI
from edge_msa.data.tokenization import TextTokenizer, train_wordpiece_tokenizer
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import TextModel, TransformerTextEncoder
from edge_msa.text_tables import text_table
from edge_msa.training.context import Hardware, TrainingContext, cpu_has_bf16
from edge_msa.training.loop import Objective, train_step
from edge_msa.training.teachers.almt import AlmtObjective
from edge_msa.training.teachers.hrlf import RobustObjective, StageData, create_hrlf
from edge_msa.training.text.text_input import TextInput
from edge_msa.training.text.train import Corpus, TextObjective

SHAPES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "hrlf": {"language": (50, 300), "audio": (50, 5), "vision": (50, 20)},
    "almt": {"language": (50, 768), "audio": (375, 5), "vision": (500, 20)},
}
"""Frames and features of each modality of CMU-MOSI in each paper: aligned GloVe features, unaligned BERT features."""

TEXT_TOKENS = 24
"""Tokens of each text, about the mean of CMU-MOSI."""
TEXT_ENCODER: Mapping[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
"""Sizes of the text encoder, those of all-MiniLM-L6-v2."""

NO_GPU = "Not measured on a GPU: torch finds no GPU on this machine."


@dataclass(frozen=True)
class Throughput:
    """Training samples per second of one model at the batch size of its recipe; `stage` names its training stage."""

    model: str
    stage: str
    batch_size: int
    device: str
    precision: str
    compiled: bool
    samples_per_second: float


def available_models() -> tuple[str, ...]:
    """Return the names of the models that can be measured: without the package transformers, there is no `text`."""
    return tuple(name for name in _OBJECTIVES if name != "text" or find_spec("transformers"))


def describe_inputs(model: str) -> str:
    """Return what a model trains on."""
    if model == "text":
        layers, width = TEXT_ENCODER["num_hidden_layers"], TEXT_ENCODER["hidden_size"]
        return f"random texts ({TEXT_TOKENS} tokens, encoder of {layers} layers and width {width}), default batch size"
    shapes = ", ".join(f"{name} {frames} x {width}" for name, (frames, width) in SHAPES[model].items())
    return f"random features ({shapes}), published batch size"


def available_hardware() -> tuple[Hardware, ...]:
    """Return the configurations to compare.

    They are fp32 and, if the processor has instructions for it, bf16 on the CPU, and fp32, bf16 and compiled bf16 on
    the GPU, if there is one.
    """
    cpu = [Hardware("cpu", "32")]
    if cpu_has_bf16():
        cpu.append(Hardware("cpu", "bf16"))
    if not torch.cuda.is_available():
        return tuple(cpu)
    return (*cpu, Hardware("cuda", "32"), Hardware("cuda", "bf16"), Hardware("cuda", "bf16", compiled=True))


def measure_throughput(hardware: Hardware, model: str, *, seconds: float = 5.0) -> Throughput:
    """Train one model from random weights and measure its samples per second, after three warm-up steps.

    Args:
        hardware: Device and training precision.
        model: `hrlf`, `almt` or `text`.
        seconds: Minimum duration of the measurement, which has at least three steps.

    Raises:
        BackendUnavailableError: The hardware is not available.
    """
    context = hardware.start()
    objective, schedule, stage = _OBJECTIVES[model](context)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=schedule.learning_rate, fused=True)
    objective.begin(0)
    module, optimizer = context.prepare(objective.train(), optimizer)
    rows = torch.arange(schedule.batch_size)

    def step() -> None:
        train_step(objective, module, rows, optimizer, context, schedule.clip)

    with activity(f"Training {model} on {context.device.type}", is_timed=True):
        per_step = _seconds_per_step(step, context, seconds)
    device = torch.cuda.get_device_name(context.device) if context.device.type == "cuda" else "CPU"
    rate = schedule.batch_size / per_step
    return Throughput(model, stage, schedule.batch_size, device, context.precision, context.compiled, rate)


def format_throughput(results: Sequence[Throughput]) -> str:
    """Format the results as a table with one row per model and device, and say so if no GPU was measured."""
    cpu = {item.model: item.samples_per_second for item in results if (item.device, item.precision) == ("CPU", "32")}
    header = ["model", "stage", "batch", "device", "precision", "compiled", "samples/s", "relative to CPU, 32"]
    rows = [
        [
            item.model,
            item.stage,
            str(item.batch_size),
            item.device,
            item.precision,
            "yes" if item.compiled else "no",
            f"{item.samples_per_second:.0f}",
            f"{item.samples_per_second / cpu[item.model]:.2f}",
        ]
        for item in results
    ]
    lines = [text_table(header, rows, left=6)]
    if all(item.device == "CPU" for item in results):
        lines.append(NO_GPU)
    return "\n".join(lines)


def _seconds_per_step(step: Callable[[], None], context: TrainingContext, seconds: float) -> float:
    for _ in range(3):
        step()
    _synchronize(context)
    started, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - started < seconds:
        step()
        count += 1
    _synchronize(context)
    return (time.perf_counter() - started) / count


def _synchronize(context: TrainingContext) -> None:
    if context.device.type == "cuda":
        torch.cuda.synchronize(context.device)


def _hrlf(context: TrainingContext) -> tuple[Objective, TrainingSchedule, str]:
    recipe = hrlf_preset("paper-mosi")
    dataset = _random_dataset("hrlf", recipe.batch_size)
    data = StageData.load(dataset, context.device)
    networks = (create_hrlf(recipe, dataset, 0, context.device), create_hrlf(recipe, dataset, 1, context.device))
    return RobustObjective(networks, data, recipe, 0, context), recipe.schedule(1, recipe.learning_rate), "robust"


def _almt(context: TrainingContext) -> tuple[Objective, TrainingSchedule, str]:
    recipe = almt_preset("mosi")
    dataset = _random_dataset("almt", recipe.batch_size)
    return AlmtObjective.create(dataset, recipe, 0, context), recipe, "complete"


def _text(context: TrainingContext) -> tuple[Objective, TrainingSchedule, str]:
    from transformers import BertConfig, BertModel

    recipe = TextRecipe()
    words = [f"{first}{second}" for first in "abcdefghij" for second in "klmnopqrst"]
    random = np.random.default_rng(0)
    texts = tuple(" ".join(random.choice(words, TEXT_TOKENS - 2)) for _ in range(recipe.batch_size))
    tokenizer = TextTokenizer(train_wordpiece_tokenizer([" ".join(words)] * 2), TEXT_TOKENS, special=True)
    config = BertConfig(vocab_size=tokenizer.size, **TEXT_ENCODER)
    text_input = TextInput(tokenizer, TransformerTextEncoder(BertModel(config)))
    student = Student(recipe.network_config(text_input.text_encoder.dim, MOSI))
    model = TextModel(text_input.text_encoder, student).to(context.device)
    labels = random.uniform(-3, 3, len(texts)).astype(np.float32)
    valid = Split(texts, texts, labels, {}, texts)
    corpus = Corpus.concatenate([valid])
    objective = TextObjective(model, text_input, corpus, valid, MOSI, recipe, recipe.transfer, 0, context)
    return objective, recipe.schedule(1, recipe.transfer.learning_rate), "transfer"


_OBJECTIVES: Mapping[str, Callable[[TrainingContext], tuple[Objective, TrainingSchedule, str]]] = {
    "hrlf": _hrlf,
    "almt": _almt,
    "text": _text,
}


def _random_dataset(model: str, count: int) -> Dataset:
    """Return a dataset with `count` samples in each split that training needs."""
    generator = np.random.default_rng(0)
    splits: dict[SplitName, Split] = {}
    names: tuple[SplitName, ...] = ("train", "valid")
    for name in names:
        modalities = {
            modality: Frames(
                np.ones((count, frames), np.bool_),
                values=generator.standard_normal((count, frames, width)).astype(np.float32),
            )
            for modality, (frames, width) in SHAPES[model].items()
        }
        labels = generator.uniform(-3, 3, count).astype(np.float32)
        ids = tuple(f"{name}/{row}" for row in range(count))
        splits[name] = Split(ids, ids, labels, modalities)
    return Dataset("random", MOSI, splits, "random")
