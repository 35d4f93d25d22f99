"""A sweep as a table of text."""

from __future__ import annotations

from edge_msa.evaluation.metrics import describe
from edge_msa.evaluation.reproduction.record import OverSeeds
from edge_msa.reporting.points import shown
from edge_msa.reporting.text_sweep.record import SweepPoint, TextSweep, front
from edge_msa.text_tables import ABSENT, text_table

COLUMNS = ("mae", "corr", "acc2_non0", "acc7")
LEFT = 3


def sweep_rows(sweep: TextSweep) -> tuple[list[str], list[list[str]]]:
    """Header and cells: a row a step, then the baselines."""
    best = front(sweep.steps)
    header = ["reader", "precision", "backend", "parameters", "size KB", "p50 ms", "p99 ms"]
    header += [describe(name).title for name in COLUMNS]
    rows = [
        [
            step.title + ("*" if step in best else ""),
            step.precision,
            step.backend,
            f"{step.parameters:,}",
            f"{step.size_bytes / 1e3:,.0f}",
            shown(step.latency_ms["p50"]),
            shown(step.latency_ms.get("p99")),
            *(_over_seeds(name, step) for name in COLUMNS),
        ]
        for step in sweep.steps
    ]
    for name, metrics in sweep.baselines.items():
        cells = [describe(column).format(metrics[column]) if column in metrics else ABSENT for column in COLUMNS]
        rows.append([f"baseline: {name}", *[ABSENT] * 6, *cells])
    return header, rows


def format_sweep(sweep: TextSweep) -> str:
    """The table with what must be known beside it."""
    header, rows = sweep_rows(sweep)
    return "\n".join([text_table(header, rows, left=LEFT), "", *notes(sweep)])


def notes(sweep: TextSweep) -> list[str]:
    """What the numbers are of."""
    seeds = ", ".join(map(str, sweep.seeds))
    tokens = sorted({step.tokens for step in sweep.steps})
    read = (
        f"test split of {sweep.dataset}, {sweep.samples} samples, through bundles for {sweep.target}, raw words in; "
        f"mean and deviation over seeds {seeds}, the best epoch by validation"
    )
    timed = (
        f"latency: one thread, from words to prediction, tokenizing included, an utterance of {_list(tokens)} tokens, all "
        "readers in turns in one run"
    )
    return [read, timed, "* nothing here is both faster and nearer to the labels"]


def _list(values: list[int]) -> str:
    return " or ".join(map(str, values))


def _over_seeds(name: str, step: SweepPoint) -> str:
    values: OverSeeds | None = step.metrics.get(name)
    if values is None:
        return ABSENT
    what = describe(name)
    text = what.format(values.mean)
    return text if values.deviation is None else f"{text} +- {what.format(values.deviation)}"
