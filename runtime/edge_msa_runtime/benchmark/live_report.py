"""The tables of a measurement of live prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator

from edge_msa_runtime.benchmark.live import AUDIO_SHARE, MODEL_MS, VISION_MS, WORD_SECONDS

if TYPE_CHECKING:
    from edge_msa_runtime.benchmark.live import LiveBenchmark, Stages

_MEGABYTE = 1e6


def format_live(result: LiveBenchmark) -> list[str]:
    """Format the stages with their budgets, then the minutes of the run."""
    lines = ["  one core:", *(f"    {line}" for line in _format_stages(result.stages))]
    cores = "all cores" if result.cores is None else "1 core" if result.cores == 1 else f"{result.cores} cores"
    overdue = f", {result.overdue} predictions left out to keep real time" if result.overdue else ""
    lines.append(f"  in real time on {cores}: {result.pictures} pictures used, {result.dropped} dropped{overdue}")
    lines += [f"    {line}" for line in _format_model(result)]
    heads = ("minute", "predictions", "model p50", "p99 ms", "late ms", "words p50", "max s", "dropped", "cores", "MB")
    lines.append("  " + "".join(f"{head:>12}" for head in heads))
    for window in result.windows:
        memory = "-" if window.memory_bytes is None else f"{window.memory_bytes / _MEGABYTE:.1f}"
        cells = (
            f"{window.seconds / 60:.1f}",
            str(window.predictions),
            _number(window.model_ms[0], 2),
            _number(window.model_ms[1], 2),
            f"{window.late_ms:.1f}",
            _number(window.word_seconds[0], 2),
            _number(window.word_seconds[1], 2),
            str(window.dropped),
            f"{window.cores:.2f}",
            memory,
        )
        lines.append("  " + "".join(f"{cell:>12}" for cell in cells))
    if result.memory_slope is not None and result.delay_slope is not None:
        lines.append(
            f"  after the start, per minute: memory {result.memory_slope / _MEGABYTE:+.3f} MB, "
            f"delay of predictions {result.delay_slope:+.3f} ms"
        )
    return lines


def _format_stages(stages: Stages) -> Iterator[str]:
    if stages.audio_share is not None:
        budget = _budget(stages.audio_share, AUDIO_SHARE, f"{AUDIO_SHARE:g}")
        cpu = f"{_number(stages.audio_cpu_share, 4)} in processor time"
        yield f"audio   {stages.audio_share:.4f} of real time, {cpu}, over {stages.sound_seconds:.0f} s {budget}"
    if stages.picture_size is not None and stages.face_share is not None:
        size = "x".join(map(str, stages.picture_size))
        p50 = stages.vision_ms["p50"] or 0.0
        shown = ", ".join(f"{name} {_number(value, 2)}" for name, value in stages.vision_ms.items())
        budget = _budget(p50, VISION_MS, f"{VISION_MS:g} ms")
        cpu = f"{_number(stages.vision_cpu_ms, 2)} ms of processor time"
        yield f"vision  {shown} ms per picture of {size}, {stages.face_share:.0%} with a face, {cpu} {budget}"


def _format_model(result: LiveBenchmark) -> Iterator[str]:
    if result.model_ms["p50"] is not None:
        shown = ", ".join(f"{name} {_number(value, 2)}" for name, value in result.model_ms.items())
        yield f"model   {shown} ms per prediction {_budget(result.model_ms['p50'], MODEL_MS, f'{MODEL_MS:g} ms')}"
    if result.words and result.word_seconds["p50"] is not None:
        shown = ", ".join(f"{name} {_number(value, 2)}" for name, value in result.word_seconds.items())
        budget = _budget(result.word_seconds["p90"] or 0.0, WORD_SECONDS, f"{WORD_SECONDS:g} s for p90")
        yield f"words   {shown} s after their ends, {result.words} words {budget}"


def _budget(value: float, limit: float, text: str) -> str:
    return f"({'within' if value <= limit else 'over'} {text})"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
