"""Check the figures of a report: parse its commands, and compare its figures with new measurements."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from edge_msa import result_tables
from edge_msa.errors import UsageError
from edge_msa.evaluation.metrics import describe
from edge_msa.reporting.comparison import is_close, latency_outcome
from edge_msa.reporting.figures import Figures, Row, Value, Verdict
from edge_msa.reporting.page_check import page_differences
from edge_msa.reporting.values import format_latency, format_value
from edge_msa.text_tables import format_kilobytes, format_number, text_table
from edge_msa_runtime import __version__
from edge_msa_runtime.wording import format_count

Status = Literal["held", "changed", "not testable here"]
ALLOWED: Mapping[str, frozenset[str]] = {
    "evaluate": frozenset({"--data", "--split", "--backend", "--precision", "--task"}),
    "bench": frozenset({"--processes", "--threads", "--rate", "--backend", "--repeats"}),
}
"""The commands that a report may name, and their options. Options that start other programs, write files or reach other
machines are not among them: a page may come from anyone."""
_LARGEST: Mapping[str, int] = {"--repeats": 100_000, "--processes": 100, "--threads": 256}
"""Largest values of options, so that a page cannot keep a machine busy for days."""
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?=x\b|\W|$)", re.IGNORECASE)
"""A number in a sentence that is not part of a name such as `int8`."""
_CONSTANTS = (95.0, 10.0)
"""Numbers in the sentence of any verdict: the confidence of intervals, and the noise if there is no interval."""
_ROUNDING = 1e-4
"""Metrics of the same predictions on other machines differ by less."""
_UNSTEADY = 1.5
"""Load times, memory and latencies without an interval may differ by this factor between runs."""


@dataclass(frozen=True)
class Check:
    """One figure of the page beside its new measurement."""

    row: str
    """Id of the row, or the target of a verdict."""
    figure: str
    """Name for people, such as `MAE on lav`."""
    page: str
    """The figure in the page, as text."""
    measured: str
    """The new measurement; empty if there is none."""
    status: Status
    reason: str = ""
    """Why it is not testable here."""


@dataclass(frozen=True, repr=False)
class ReportReplay(result_tables.Table):
    """The figures of a report, measured again. `print` shows the changed ones, and counts the others."""

    page: str
    """The page."""
    checks: tuple[Check, ...]
    """One per figure."""
    commands: tuple[tuple[str, str], ...]
    """The commands that ran, each with what happened."""

    def __repr__(self) -> str:
        """Return how many figures held."""
        return f"<ReportReplay of {self.page}: {self.summary}>"

    @property
    def changed(self) -> tuple[Check, ...]:
        """The figures that changed."""
        return tuple(item for item in self.checks if item.status == "changed")

    @property
    def summary(self) -> str:
        """How many figures held, changed and are not testable here."""
        names: tuple[Status, ...] = ("held", "changed", "not testable here")
        return ", ".join(f"{sum(item.status == name for item in self.checks)} {name}" for name in names)

    def __str__(self) -> str:
        """Return the result for people."""
        header = ["row", "figure", "in the page", "measured now"]
        rows = [[item.row, item.figure, item.page, item.measured] for item in self.changed]
        lines = [text_table(header, rows, left=2)] if rows else ["No figure changed."]
        lines.append(f"{self.page}, {format_count(len(self.checks), 'figure')}: {self.summary}")
        reasons = dict.fromkeys(f"{item.row}: {item.reason}" for item in self.checks if item.reason)
        lines += [f"not testable here: {reason}" for reason in reasons]
        return "\n".join([*lines, *(f"{result}: {command}" for command, result in self.commands)])

    @property
    def rows(self) -> tuple[result_tables.Row, ...]:
        """One row per figure."""
        return tuple(vars(item) for item in self.checks)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "page": self.page,
            "checks": [dict(vars(item)) for item in self.checks],
            "commands": [list(item) for item in self.commands],
        }


def parse_command(text: str) -> list[str]:
    """Return the arguments of a command of a report, without `edge-msa`.

    Raises:
        UsageError: It is not a measurement by this program, or has an option that a report must not use.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if len(words) < 3 or words[0] != "edge-msa" or words[1] not in ALLOWED:
        raise UsageError(f"A command must be edge-msa {' or '.join(ALLOWED)}, got {text!r}. It was not run.")
    command, *rest = words[1:]
    models = 0
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            models += 1
            continue
        if word not in ALLOWED[command] or not rest or rest[0].startswith("-"):
            options = ", ".join(sorted(ALLOWED[command]))
            raise UsageError(f"An option of {command} must be one of {options}, got {word!r}. It was not run.")
        value, largest = rest.pop(0), _LARGEST.get(word)
        if largest is not None and not (value.isdecimal() and len(value) < 10 and 0 < int(value) <= largest):
            raise UsageError(f"{word} must be from 1 to {largest}, got {value[:20]!r}. It was not run.")
    if not models:
        raise UsageError(f"A command must name a model, got {text!r}. It was not run.")
    # Without the sub-command, `bench` would run the sub-command that a model is named after.
    return ["bench", "bundle", *words[2:]] if command == "bench" else words[1:]


def report_commands(figures: Figures) -> tuple[str, ...]:
    """Return the commands of a report, each once."""
    return tuple(
        dict.fromkeys(
            command
            for row in figures.rows
            for command in (row.provenance.metrics, row.provenance.latency)
            if command is not None
        )
    )


def check_figures(figures: Figures, measured: Figures | None, failures: Mapping[str, str]) -> Iterator[Check]:
    """Yield a check of every figure of a report.

    Args:
        figures: The report.
        measured: A report of new records; None if no command gave any.
        failures: Why a command gave no record, by command.
    """
    same_data = measured is not None and _digest(measured) == _digest(figures)
    for row in figures.rows:
        new = None if measured is None else measured.row(row.id)
        yield from _check_metrics(row, new if same_data else None, _reason(row.provenance.metrics, failures, same_data))
        yield from _check_costs(row, new, _reason(row.provenance.latency, failures, has_record=new is not None))
    yield from _check_verdicts(figures)
    yield from _check_peers(figures)


def _digest(figures: Figures) -> str:
    return "" if figures.data is None else figures.data.digest


def _reason(command: str | None, failures: Mapping[str, str], has_record: bool) -> str:
    if command is None:
        return "no command measures it"
    return failures.get(command) or ("" if has_record else "the command measured other data or models")


def _check_metrics(row: Row, new: Row | None, reason: str) -> Iterator[Check]:
    for subset, items in row.metrics.items():
        for name, old in items.items():
            title = f"{describe(name).title} on {subset.replace('_', ' ')}"
            value = None if new is None else new.metrics.get(subset, {}).get(name)
            if old.value is None or value is None or value.value is None or reason:
                yield Check(row.id, title, format_value(old, name), "", "not testable here", reason or "not measured")
                continue
            pairs = [(old.value, value.value), (old.low, value.low), (old.high, value.high)]
            held = all(before is None or after is None or is_close(before, after, _ROUNDING) for before, after in pairs)
            status: Status = "held" if held else "changed"
            yield Check(row.id, title, format_value(old, name), format_value(value, name), status)


def _check_costs(row: Row, new: Row | None, reason: str) -> Iterator[Check]:
    exact = {"size": (row.size_bytes, None if new is None else new.size_bytes)}
    if row.size_bytes is not None:
        old, value = exact["size"]
        yield _cost_check(row, "size", format_kilobytes(old), format_kilobytes(value), reason, held=old == value)
    elsewhere = ""
    if new is not None and row.machine.get("machine") != new.machine.get("machine"):
        elsewhere = "measured on another machine"
    for subset, items in row.latency_ms.items():
        for name, latency in items.items():
            value_now = None if new is None else new.latency_ms.get(subset, {}).get(name)
            why = reason or elsewhere or ("" if value_now is not None else "not measured")
            held = value_now is not None and _is_same_latency(latency, value_now)
            texts = format_latency(latency, interval=True), format_latency(value_now, interval=True)
            yield _cost_check(row, f"{name} on {subset}, ms", *texts, why, held=held)
    for title, before, after in (
        ("load, ms", row.load_ms, None if new is None else new.load_ms),
        ("peak memory, MiB", row.peak_memory_mib, None if new is None else new.peak_memory_mib),
    ):
        if before is not None:
            why = reason or elsewhere or ("" if after is not None else "not measured")
            held = after is not None and _is_within(before, after)
            yield _cost_check(row, title, format_number(before), format_number(after), why, held=held)


def _cost_check(row: Row, title: str, page: str, measured: str, reason: str, *, held: bool) -> Check:
    if reason:
        return Check(row.id, title, page, "", "not testable here", reason)
    return Check(row.id, title, page, measured, "held" if held else "changed")


def _is_same_latency(old: Value, new: Value) -> bool:
    if old.value is None or new.value is None:
        return False
    if old.low is None or new.low is None:
        return _is_within(old.value, new.value)
    return latency_outcome(old, new)[0] in {"same", "within noise"}


def _is_within(before: float, after: float) -> bool:
    return min(before, after) > 0 and max(before, after) / min(before, after) <= _UNSTEADY


def _check_verdicts(figures: Figures) -> Iterator[Check]:
    """Yield whether the figures of each verdict follow from the rows of the page, and are those of its text."""
    reference = next((row for row in figures.rows if row.reference), None)
    for verdict in figures.verdicts:
        row = figures.row(verdict.row)
        if row is None or reference is None:
            continue
        if verdict.speedup is not None and verdict.speedup.value is not None:
            times = [item.latency_ms.get(figures.subset, {}).get("p50") for item in (reference, row)]
            found = [time.value for time in times if time is not None and time.value]
            computed = found[0] / found[1] if len(found) == 2 else None
            yield _derived(verdict.target, "speedup of the verdict", verdict.speedup.value, computed)
        if verdict.difference is not None and verdict.difference.value is not None:
            values = [item.metrics.get(figures.subset, {}).get(figures.metric) for item in (reference, row)]
            known = [value.value for value in values if value is not None and value.value is not None]
            computed = known[1] - known[0] if len(known) == 2 else None
            yield _derived(verdict.target, "difference of the verdict", verdict.difference.value, computed)
        yield _sentence_check(figures, verdict, row)


def _check_peers(figures: Figures) -> Iterator[Check]:
    """Yield whether each peer is drawn where its ratio puts it. Its measurement needs `bench peers`."""
    for comparison in figures.peers:
        row = figures.row(comparison.row)
        base = comparison.ours.p50_ms
        if row is not None:
            latency = row.latency_ms.get(comparison.ours.subset, {}).get("p50")
            base = None if latency is None else latency.value
        for item in comparison.contenders:
            if item.drawn_ms is not None and item.drawn_ms.value is not None:
                ratio = None if item.ratio is None else item.ratio.value
                computed = None if base is None or ratio is None else base * ratio
                yield _derived(comparison.file, f"place of {item.label}, ms", item.drawn_ms.value, computed)
        reason = "edge-msa bench peers measures the ratios"
        yield Check(comparison.file, "ratios of peers", "", "", "not testable here", reason)
    for times in figures.layers:
        reason = "edge-msa bench layers measures the layers"
        yield Check(times.file, "times of layers", "", "", "not testable here", reason)


def _derived(target: str, title: str, stated: float, computed: float | None) -> Check:
    page = format_number(stated)
    if computed is None:
        return Check(target, title, page, "", "not testable here", "a row of the page lacks the value")
    status: Status = "held" if is_close(stated, computed, _ROUNDING) else "changed"
    return Check(target, title, page, format_number(computed), status)


def _sentence_check(figures: Figures, verdict: Verdict, row: Row) -> Check:
    """Return whether each number in the sentence of a verdict is a figure of the verdict or of its row."""
    metrics, latencies = (items.get(figures.subset, {}) for items in (row.metrics, row.latency_ms))
    values = [verdict.speedup, verdict.difference, *verdict.without.values(), metrics.get(figures.metric)]
    ends = [end for item in (*values, *latencies.values()) if item for end in (item.value, item.low, item.high)]
    # A verdict says how many times as fast a row is, and cuts intervals at the largest possible difference.
    limit = describe(figures.metric).largest_difference
    ends += [-limit, limit, row.size_bytes, *_CONSTANTS]
    known = [end for end in ends if end is not None]
    text = verdict.sentence.replace(row.name, "").replace(describe(figures.metric).title, "")
    wrong = [number for number in _NUMBER.findall(text) if not any(_shows(number, value) for value in known)]
    title = "numbers in the sentence of the verdict"
    return Check(verdict.target, title, ", ".join(wrong), "", "changed" if wrong else "held")


def check_page(html: str, figures: Figures) -> Iterator[Check]:
    """Yield each figure in the texts, labels and charts of a page that does not follow from its JSON.

    Args:
        html: The page.
        figures: The figures in it.
    """
    if figures.version != __version__:
        reason = f"edge-msa {figures.version} wrote the page, and only the same version can draw it again"
        yield Check("page", "texts and charts", "", "", "not testable here", reason)
        return
    for item in page_differences(html, figures):
        yield Check("page", item.place, item.shown, item.expected, "changed")


def _shows(number: str, value: float) -> bool:
    """Return whether a number is a value, in its unit, in percent or in thousands, rounded as far as it is printed."""
    number = number.replace(",", "").lower()
    mantissa, _, exponent = number.partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    rounding = 0.51 * float(f"1e{-digits}")
    if not math.isfinite(float(number)):
        return False
    return any(abs(float(number) - shown) <= rounding for shown in (value, 100 * value, value / 1000))
