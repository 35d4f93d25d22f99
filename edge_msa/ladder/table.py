"""A ladder as a table of text."""

from __future__ import annotations

from edge_msa.ladder.record import Ladder, Step, front
from edge_msa.metrics import describe
from edge_msa.report.points import shown
from edge_msa.study.record import OverSeeds
from edge_msa.tables import ABSENT, text_table

COLUMNS = ("mae", "corr", "acc2_non0", "acc7")
LEFT = 3


def ladder_rows(ladder: Ladder) -> tuple[list[str], list[list[str]]]:
    """Header and cells: a row a step, then the floors."""
    best = front(ladder.steps)
    header = ["reader", "precision", "engine", "parameters", "size KB", "p50 ms", "p99 ms"]
    header += [describe(name).title for name in COLUMNS]
    rows = [
        [
            step.title + ("*" if step in best else ""),
            step.precision,
            step.engine,
            f"{step.parameters:,}",
            f"{step.size_bytes / 1e3:,.0f}",
            shown(step.latency_ms["p50"]),
            shown(step.latency_ms.get("p99")),
            *(_over_seeds(name, step) for name in COLUMNS),
        ]
        for step in ladder.steps
    ]
    for name, metrics in ladder.floors.items():
        cells = [describe(column).format(metrics[column]) if column in metrics else ABSENT for column in COLUMNS]
        rows.append([f"floor: {name}", *[ABSENT] * 6, *cells])
    return header, rows


def format_ladder(ladder: Ladder) -> str:
    """The table with what must be known beside it."""
    header, rows = ladder_rows(ladder)
    return "\n".join([text_table(header, rows, left=LEFT), "", *notes(ladder)])


def notes(ladder: Ladder) -> list[str]:
    """What the numbers are of."""
    seeds = ", ".join(map(str, ladder.seeds))
    tokens = sorted({step.tokens for step in ladder.steps})
    read = (
        f"test split of {ladder.dataset}, {ladder.samples} samples, through bundles for {ladder.target}, raw words in; "
        f"mean and deviation over seeds {seeds}, the best epoch by validation"
    )
    timed = (
        f"latency: one thread, from words to reading, tokenizing included, an utterance of {_list(tokens)} tokens, all "
        "readers in turns in one run"
    )
    return [read, timed, "* nothing here is both faster and nearer to the labels"]


def _list(values: list[int]) -> str:
    return " or ".join(map(str, values))


def _over_seeds(name: str, step: Step) -> str:
    values: OverSeeds | None = step.metrics.get(name)
    if values is None:
        return ABSENT
    what = describe(name)
    text = what.format(values.mean)
    return text if values.deviation is None else f"{text} +- {what.format(values.deviation)}"
