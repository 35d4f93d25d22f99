"""Measure how much faster ALMT runs when it skips the tokens that do not affect its prediction.

`edge_msa.models.almt` computes only the tokens that the prediction depends on. The published code computes every token.
Both compute the same prediction, up to rounding.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from edge_msa.models.almt import Almt, AlmtConfig, AlmtFusion, ModalityEmbedding, concatenate_means
from edge_msa.text_tables import text_table
from edge_msa_runtime.modalities import MODALITIES

MOSI = AlmtConfig({"language": 768, "audio": 5, "vision": 20}, {"language": 50, "audio": 375, "vision": 500})
BATCHES = (1, 8)
_WARMUP_RUNS = 3


@dataclass(frozen=True)
class AlmtLatency:
    """Median latency of one forward pass over `batch` samples, with interleaved timing.

    `every_token_ms` is the published computation, `optimized_ms` the one of `edge_msa.models.almt`. `max_difference` is
    the largest absolute difference between their predictions.
    """

    batch: int
    every_token_ms: float
    optimized_ms: float
    max_difference: float

    @property
    def speedup(self) -> float:
        """Latency of the published computation divided by that of the optimized one."""
        return self.every_token_ms / self.optimized_ms


def format_latencies(latencies: Sequence[AlmtLatency]) -> str:
    """Format the latencies as a table with one row per batch size."""
    header = ["batch", "every token ms", "optimized ms", "speedup", "max difference"]
    rows = [
        [
            str(item.batch),
            f"{item.every_token_ms:.2f}",
            f"{item.optimized_ms:.2f}",
            f"{item.speedup:.2f}",
            f"{item.max_difference:.1e}",
        ]
        for item in latencies
    ]
    return text_table(header, rows)


def compute_every_token(network: Almt, frames: Mapping[str, Tensor]) -> Tensor:
    """Run the network as published: compute every token.

    Args:
        network: The network.
        frames: Features of each modality, (B, T, dim). T is the number of positions of that modality.

    Returns:
        Predictions, (B, outputs).
    """
    projections = (network.proj_l, network.proj_a, network.proj_v)
    language, audio, vision = (
        _every_position(proj[1], proj[0](frames[name])) for name, proj in zip(MODALITIES, projections, strict=True)
    )
    scales = network.l_encoder(language)
    hyper = network.hyper_modality(scales, audio, vision)
    if network.config.fusion == "cross":
        fused = _every_row(network.fusion_layer, scales, hyper)
    else:
        fused = concatenate_means(scales[-1], hyper)
    outputs: Tensor = network.regression_layer(fused)
    return outputs


def random_almt(config: AlmtConfig) -> Almt:
    """Return a network with random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Almt(config).eval()


class EveryToken(nn.Module):
    """ALMT that computes every token: language, audio and vision (1, T, dim) -> (1, outputs)."""

    def __init__(self, network: Almt) -> None:
        super().__init__()
        self.network = network

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Return zeros of the input shapes."""
        config = self.network.config
        return {name: torch.zeros(1, config.lengths[name], config.dims[name]) for name in MODALITIES}

    def forward(self, language: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        """Return the prediction, (1, outputs)."""
        return compute_every_token(self.network, {"language": language, "audio": audio, "vision": vision})


def _every_row(fusion: AlmtFusion, scales: Sequence[Tensor], hyper: Tensor) -> Tensor:
    token = fusion.extra_token.expand(len(hyper), -1, -1)
    source = torch.cat([token, hyper], dim=1) + fusion.pos_embedding_s
    rows = torch.cat([token, scales[-1]], dim=1) + fusion.pos_embedding_t
    for attention, mlp in fusion.CrossTransformerEncoder.blocks():
        rows = mlp(attention(rows, source))
    return rows[:, 0]


def measure_almt(config: AlmtConfig = MOSI, *, threads: int = 1, num_runs: int = 50) -> tuple[AlmtLatency, ...]:
    """Measure both computations on the CPU, with random weights, for every batch size of `BATCHES`.

    Args:
        config: Sizes of the network, which must have all three modalities.
        threads: Threads of torch.
        num_runs: Timed forward passes of each computation.
    """
    with torch.random.fork_rng(devices=[]), torch_threads(threads), torch.inference_mode():
        torch.manual_seed(0)
        network = Almt(config).eval()
        return tuple(_measure(network, batch, num_runs) for batch in BATCHES)


def _measure(network: Almt, batch: int, num_runs: int) -> AlmtLatency:
    config = network.config
    frames = {name: torch.randn(batch, config.lengths[name], dim) for name, dim in config.dims.items()}
    valid = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in frames.items()}
    computations: Sequence[Callable[[], Tensor]] = (
        partial(compute_every_token, network, frames),
        partial(network, frames, valid),
    )
    latencies: tuple[list[float], list[float]] = ([], [])
    predictions = [torch.empty(0), torch.empty(0)]
    for _ in range(_WARMUP_RUNS + num_runs):
        for index, compute in enumerate(computations):
            started = time.perf_counter()
            predictions[index] = compute()
            latencies[index].append((time.perf_counter() - started) * 1e3)
    every_token, optimized = (statistics.median(values[_WARMUP_RUNS:]) for values in latencies)
    return AlmtLatency(batch, every_token, optimized, float((predictions[0] - predictions[1]).abs().max()))


def _every_position(embedding: torch.nn.Module, frames: Tensor) -> Tensor:
    assert isinstance(embedding, ModalityEmbedding)  # noqa: S101 - for the type checker
    tokens, sequence = embedding.sequence(frames)
    for attention, mlp in embedding.encoder.blocks():
        sequence = mlp(attention(sequence, sequence))
    return sequence[:, : tokens.shape[1]]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Set the number of threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
