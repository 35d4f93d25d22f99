"""What ALMT's exact saving brings: the network as it runs against the same weights with every token computed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edge_msa.models.almt import Almt, AlmtConfig, Embedding, Fusion, side_by_side
from edge_msa_runtime.modalities import MODALITIES

MOSI = AlmtConfig({"language": 768, "audio": 5, "vision": 20}, {"language": 50, "audio": 375, "vision": 500})
BATCHES = (1, 8)
_WARM = 3


@dataclass(frozen=True)
class AlmtTimes:
    """Median milliseconds of one pass over `batch` samples, both ways in turns; `difference` of their answers."""

    batch: int
    every_token: float
    as_run: float
    difference: float

    @property
    def ratio(self) -> float:
        """How many times as fast it runs."""
        return self.every_token / self.as_run


def compute_every_token(network: Almt, frames: Mapping[str, Tensor]) -> Tensor:
    """The published way through the network, on whole samples as long as its positions: (B, T, dim) -> (B, outputs)."""
    projections = (network.proj_l, network.proj_a, network.proj_v)
    language, audio, vision = (
        _every_position(proj[1], proj[0](frames[name])) for name, proj in zip(MODALITIES, projections, strict=True)
    )
    scales = network.l_encoder(language)
    hyper = network.hyper_modality(scales, audio, vision)
    if network.config.fusion == "cross":
        fused = _every_row(network.fusion_layer, scales, hyper)
    else:
        fused = side_by_side(scales[-1], hyper)
    outputs: Tensor = network.regression_layer(fused)
    return outputs


class EveryToken(nn.Module):
    """`compute_every_token` as a module of its own: language, audio and vision (1, T, dim) -> (1, outputs)."""

    def __init__(self, config: AlmtConfig) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = Almt(config).eval()

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Zeros of the shapes that it reads."""
        config = self.network.config
        return {name: torch.zeros(1, config.lengths[name], config.dims[name]) for name in MODALITIES}

    def forward(self, language: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        """The answer, every token computed."""
        return compute_every_token(self.network, {"language": language, "audio": audio, "vision": vision})


def _every_row(fusion: Fusion, scales: Sequence[Tensor], hyper: Tensor) -> Tensor:
    token = fusion.extra_token.expand(len(hyper), -1, -1)
    source = torch.cat([token, hyper], dim=1) + fusion.pos_embedding_s
    rows = torch.cat([token, scales[-1]], dim=1) + fusion.pos_embedding_t
    for attention, mlp in fusion.CrossTransformerEncoder.pairs():
        rows = mlp(attention(rows, source))
    return rows[:, 0]


def time_almt(config: AlmtConfig = MOSI, *, threads: int = 1, num_runs: int = 50) -> tuple[AlmtTimes, ...]:
    """Time both ways on the CPU in one run, with random weights, for every size of `BATCHES`.

    Args:
        config: of a network with all three modalities.
        threads: of torch.
        num_runs: timed passes a way.
    """
    with torch.random.fork_rng(devices=[]), _on_threads(threads), torch.inference_mode():
        torch.manual_seed(0)
        network = Almt(config).eval()
        return tuple(_timed(network, batch, num_runs) for batch in BATCHES)


def _timed(network: Almt, batch: int, num_runs: int) -> AlmtTimes:
    config = network.config
    frames = {name: torch.randn(batch, config.lengths[name], dim) for name, dim in config.dims.items()}
    valid = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in frames.items()}
    taken: tuple[list[float], list[float]] = ([], [])
    answers = [torch.empty(0), torch.empty(0)]
    for _ in range(_WARM + num_runs):
        for way, times in enumerate(taken):
            started = time.perf_counter()
            answers[way] = network(frames, valid) if way else compute_every_token(network, frames)
            times.append((time.perf_counter() - started) * 1e3)
    plain, own = (statistics.median(times[_WARM:]) for times in taken)
    return AlmtTimes(batch, plain, own, float((answers[0] - answers[1]).abs().max()))


def _every_position(embedding: torch.nn.Module, frames: Tensor) -> Tensor:
    assert isinstance(embedding, Embedding)  # noqa: S101 - for the type checker: `Almt` puts one there
    tokens, sequence = embedding.sequence(frames)
    for attention, mlp in embedding.encoder.pairs():
        sequence = mlp(attention(sequence, sequence))
    return sequence[:, : tokens.shape[1]]


@contextmanager
def _on_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
