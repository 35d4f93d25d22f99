"""The timeline of a replayed stream: scores with intervals, modalities, unused frames and latency over time."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.artifacts.files import write_text
from edge_msa.console import activity
from edge_msa.reporting.canvas import (
    INK,
    MUTED,
    OTHER_COLOR,
    PRECISION_COLORS,
    REFERENCE,
    STYLE,
    create_stacked_figure,
    figure_to_svg,
)
from edge_msa.reporting.stream_log import MISSING, UNUSED, Array, StreamLog
from edge_msa.reporting.templates import Table, render_template
from edge_msa.text_tables import ABSENT, format_number
from edge_msa_runtime.live.colors import label_color
from edge_msa_runtime.modalities import Subset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 600
"""Predictions that are drawn one by one. More are summarized in so many bins."""
_DROP_BINS = 120
_KIND_COLORS = {
    "late": PRECISION_COLORS["int8"],
    "duplicate": OTHER_COLOR,
    "overflow": REFERENCE,
    "masked": PRECISION_COLORS["fp16"],
    "refused": PRECISION_COLORS["fp32"],
    MISSING: MUTED,
}
_KIND_TITLES = {MISSING: "missing (never arrived)"}
_COUNTERS = ("sent", "used", "late", "duplicate", "overflow", "masked", "forgotten", "refused", "missing")
_MAX_ERRORS = 50


def write_stream_page(log: StreamLog, output: Path, title: str) -> Path:
    """Write the page to `output`, and return its path.

    Raises:
        EdgeMsaError: The file cannot be written.
    """
    from markupsafe import Markup

    with activity("Drawing the timeline"):
        plot = timeline_plot(log)
    text = render_template(
        "edge_msa.reporting",
        "stream_timeline.html.j2",
        title=title,
        subtitle=" · ".join(_subtitle(log)),
        summary=list(summarize_stream(log)),
        plot=Markup(plot),  # noqa: S704 - Matplotlib generated this markup and escaped every text in it.
        is_binned=len(log.times) > MAX_POINTS,
        has_intervals=bool(np.isfinite(log.intervals).any()),
        subsets=_subset_table(log),
        counters=_counters_table(log),
        events=_events_table(log),
        errors=[f"{elapsed:.1f} s, {origin}: {message}" for elapsed, origin, message in log.errors[:_MAX_ERRORS]],
        more_errors=max(0, len(log.errors) - _MAX_ERRORS),
        provenance=dict(_provenance(log)),
    )
    return write_text(output, text)


def summarize_stream(log: StreamLog) -> Iterator[str]:
    """Yield what happened, in sentences."""
    number = len(log.times)
    counts = f"{number:,} predictions and {int(log.finals.sum()):,} utterances"
    yield f"{counts} in {_format_time(log.seconds)} of stream time."
    if number:
        yield (
            f"Half of the predictions took at most {format_number(_quantile(log.latency_ms, 0.5))} ms, "
            f"99 % at most {format_number(_quantile(log.latency_ms, 0.99))} ms."
        )
    unused = {name: item["sent"] - item["used"] for name, item in log.counters.items() if item.get("sent")}
    if any(unused.values()):
        parts = [f"{100 * count / log.counters[name]['sent']:.1f} % of {name}" for name, count in unused.items()]
        yield f"Not used of the frames that were sent: {', '.join(parts)}."
    elif unused:
        yield "All frames that arrived were used."
    growth = memory_growth(log)
    if growth is not None:
        yield f"The memory of the process changed by {growth / 1e6:+.1f} MB after the first minute."
    if log.errors:
        yield f"{len(log.errors):,} lines or samples of the input could not be used. They are listed below."
    if log.summary is None:
        yield "The log has no end: the replay was killed, or still runs."
    elif log.summary.get("interrupted"):
        yield "The replay was interrupted."
    if log.unreadable:
        yield f"{log.unreadable:,} lines of the log could not be read."


def memory_growth(log: StreamLog) -> float | None:
    """Return the bytes by which the memory of the process grew after the first minute of stream time.

    It is the difference between the medians of the first and the last tenth of the values. None without 20 values.
    """
    values = log.memory[log.memory[:, 0] >= 60, 1] if len(log.memory) else log.memory
    if len(values) < 20:
        return None
    tenth = len(values) // 10
    return float(np.median(values[-tenth:]) - np.median(values[:tenth]))


def timeline_plot(log: StreamLog) -> str:
    """Return the plots over time as one SVG; "" without predictions."""
    if not len(log.times):
        return ""
    import matplotlib as mpl

    names = [name for name in log.header.get("modalities", ()) if any(name[0] in subset for subset in log.subsets)]
    panels: list[tuple[float, Callable[[Axes], None]]] = [
        (2.6, lambda axes: _draw_scores(axes, log, scale)),
        (0.32 * max(1, len(names)) + 0.35, lambda axes: _draw_modalities(axes, log, names, scale)),
        (1.5 if log.unused else 0.7, lambda axes: _draw_unused(axes, log, scale)),
        (1.7, lambda axes: _draw_latency(axes, log, scale)),
    ]
    if memory_growth(log) is not None:
        panels.append((1.3, lambda axes: _draw_memory(axes, log, scale)))
    scale, unit = _time_unit(log.seconds)
    with mpl.rc_context(STYLE):
        figure, all_axes = create_stacked_figure(7.6, [height for height, _ in panels])
        for axes, (_, draw) in zip(all_axes, panels, strict=True):
            draw(axes)
        all_axes[-1].set_xlim(0, max(log.seconds, 1e-3) * scale * 1.01)
        all_axes[-1].set_xlabel(f"stream time, {unit}")
        return figure_to_svg(figure, "timeline", "Scores, modalities, unused frames and latency over time")


def subset_rows(log: StreamLog) -> Iterator[dict[str, str | int | float | None]]:
    """Yield one row per subset: predictions, their share, mean width of the intervals, and latency."""
    subsets = np.array(log.subsets)
    for subset in Subset:
        mask = subsets == subset.value if len(subsets) else np.zeros(0, np.bool_)
        if mask.any():
            widths = np.diff(log.intervals[mask], axis=1)
            widths = widths[np.isfinite(widths)]
            yield {
                "subset": subset.value,
                "predictions": int(mask.sum()),
                "share": float(mask.mean()),
                "interval_width": float(widths.mean()) if len(widths) else None,
                "p50_ms": _quantile(log.latency_ms[mask], 0.5),
                "p99_ms": _quantile(log.latency_ms[mask], 0.99),
            }


def _subset_table(log: StreamLog) -> Table:
    rows = [
        [
            str(row["subset"]),
            f"{row['predictions']:,}",
            f"{100 * float(row['share'] or 0):.1f}",
            ABSENT if row["interval_width"] is None else f"{row['interval_width']:.2f}",
            *(format_number(float(row[name] or 0)) for name in ("p50_ms", "p99_ms")),
        ]
        for row in subset_rows(log)
    ]
    return Table(["subset", "predictions", "share %", "interval width", "p50 ms", "p99 ms"], rows)


def _draw_scores(axes: Axes, log: StreamLog, scale: float) -> None:
    color = PRECISION_COLORS["fp32"]
    times = log.times * scale
    if log.probabilities:
        what = "class" if log.header.get("task", {}).get("kind") == "classes" else "emotion"
        axes.set_title(f"probability of each {what}", loc="left", fontsize=11)
        for number, (label, values) in enumerate(log.probabilities.items()):
            x, y, _, _ = _summarize(times, values, log.finals)
            axes.plot(x, y, color=label_color(number), linewidth=1.2, label=label)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
        return
    has_intervals = bool(np.isfinite(log.intervals).any())
    is_binned = len(times) > MAX_POINTS
    coverage = log.header.get("coverage", 0.9)
    title = "score" + (f" with its {100 * coverage:.4g} % interval" if has_intervals else "")
    axes.set_title(f"{title}{', median per bin' if is_binned else ''}", loc="left", fontsize=11)
    x, y, low, high = _summarize(times, log.scores, log.finals)
    if has_intervals:
        lower = _summarize(times, log.intervals[:, 0], log.finals)[1]
        upper = _summarize(times, log.intervals[:, 1], log.finals)[1]
        axes.fill_between(x, lower, upper, color=color, alpha=0.18, linewidth=0)
    elif is_binned:
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(x, y, color=color, linewidth=1.4, marker="" if is_binned else "o", markersize=2.5)
    if not is_binned:
        ends = log.finals
        axes.scatter(
            times[ends], log.scores[ends], s=26, facecolors=color, edgecolors=INK, zorder=3, label="end of an utterance"
        )
        if ends.any():
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=9, borderaxespad=0.0)
    task = log.header.get("task", {})
    if task.get("low") is not None and task.get("high") is not None:
        axes.set_ylim(task["low"] * 1.03, task["high"] * 1.03)
    axes.axhline(0, color=MUTED, linewidth=0.8)


def _draw_modalities(axes: Axes, log: StreamLog, names: Sequence[str], scale: float) -> None:
    axes.set_title("modalities of the predictions", loc="left", fontsize=11)
    every = float(log.header.get("every") or 0.0) or float(np.median(np.diff(log.times, prepend=0.0)))
    for row, name in enumerate(reversed(names)):
        present = np.array([name[0] in subset for subset in log.subsets], np.float64)
        for start, stop, share in _spans(log.times, present, every):
            width = (stop - start) * scale
            axes.broken_barh([(start * scale, width)], (row - 0.36, 0.72), color=PRECISION_COLORS["fp32"], alpha=share)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.6, max(1, len(names)) - 0.4)
    axes.grid(visible=False)


def _draw_unused(axes: Axes, log: StreamLog, scale: float) -> None:
    axes.set_title("frames that were not used, or never arrived", loc="left", fontsize=11)
    edges = np.linspace(0, max(log.seconds, 1e-3), _DROP_BINS + 1)
    bottom = np.zeros(_DROP_BINS)
    for kind in (*UNUSED, MISSING):
        rows = [(elapsed, count) for elapsed, name, count in log.unused if name == kind]
        if rows:
            elapsed, counts = np.array(rows, np.float64).T
            heights, _ = np.histogram(elapsed, edges, weights=counts)
            title = _KIND_TITLES.get(kind, kind)
            width = (edges[1] - edges[0]) * scale
            axes.bar(edges[:-1] * scale, heights, width, bottom, align="edge", color=_KIND_COLORS[kind], label=title)
            bottom += heights
    if not log.unused:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=MUTED)
        axes.set_yticks([])
    else:
        axes.legend(
            loc="upper left", bbox_to_anchor=(0.0, -0.02), ncols=6, fontsize=9, columnspacing=1.0, handlelength=1.0
        )


def _draw_latency(axes: Axes, log: StreamLog, scale: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_title("latency of the predictions, ms", loc="left", fontsize=11)
    times = log.times * scale
    if len(times) > MAX_POINTS:
        for share, line, name in ((0.5, "-", "p50"), (0.99, ":", "p99")):
            x, y = _binned(times, log.latency_ms, functools.partial(_quantile, share=share))
            axes.plot(x, y, line, color=PRECISION_COLORS["fp16"], linewidth=1.3, label=name)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize=9, borderaxespad=0.0)
    else:
        axes.scatter(times, log.latency_ms, s=9, color=PRECISION_COLORS["fp16"])
    positive = log.latency_ms[log.latency_ms > 0]
    if len(positive) and positive.max() / np.median(positive) > 8:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=8))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)


def _draw_memory(axes: Axes, log: StreamLog, scale: float) -> None:
    axes.set_title("memory of the process, MB", loc="left", fontsize=11)
    axes.plot(log.memory[:, 0] * scale, log.memory[:, 1] / 1e6, color=OTHER_COLOR, linewidth=1.3)
    low, high = axes.get_ylim()
    if high - low < 10:
        middle = (low + high) / 2
        axes.set_ylim(middle - 5, middle + 5)


def _summarize(times: Array, values: Array, finals: NDArray[np.bool_]) -> tuple[Array, Array, Array, Array]:
    """Return times, values, and lowest and highest values to draw.

    Few values stay as they are, with a gap after each utterance. Many become medians of bins.
    """
    if len(times) > MAX_POINTS:
        x, y = _binned(times, values, lambda items: float(np.nanmedian(items)))
        _, low = _binned(times, values, lambda items: _quantile(items, 0.05))
        _, high = _binned(times, values, lambda items: _quantile(items, 0.95))
        return x, y, low, high
    gaps = np.flatnonzero(finals) + 1
    x, y = np.insert(times, gaps, np.nan), np.insert(values, gaps, np.nan)
    return x, y, y, y


def _binned(times: Array, values: Array, summarize: Callable[[Array], float]) -> tuple[Array, Array]:
    """Return the middles of bins and a summary of the values in each; NaN in empty bins."""
    edges = np.linspace(times[0], times[-1], MAX_POINTS + 1)
    starts = np.searchsorted(times, edges)
    starts[-1] = len(times)
    summaries = [
        summarize(values[first:last]) if last > first and np.isfinite(values[first:last]).any() else np.nan
        for first, last in itertools.pairwise(starts)
    ]
    return (edges[:-1] + edges[1:]) / 2, np.array(summaries)


def _spans(times: Array, present: Array, every: float) -> Iterator[tuple[float, float, float]]:
    """Yield start, stop and share of the spans in which a modality is present with about the same share.

    A prediction stands for the time since the previous one, at most for 1.5 times `every`.
    """
    if len(times) > MAX_POINTS:
        middles, shares = _binned(times, present, lambda values: float(values.mean()))
        half = (middles[1] - middles[0]) / 2
        starts, stops = middles - half, middles + half
        shares = np.nan_to_num(shares).round(1).astype(np.float64)
    else:
        starts = np.maximum(times - 1.5 * every, np.concatenate([[0.0], times[:-1]]))
        stops, shares = times, present
    begin = 0
    for index in range(1, len(starts) + 1):
        if index == len(starts) or shares[index] != shares[begin] or starts[index] > stops[index - 1] + 1e-9:
            if shares[begin] > 0:
                yield float(starts[begin]), float(stops[index - 1]), float(shares[begin])
            begin = index


def _counters_table(log: StreamLog) -> Table:
    rows = [[name, *(f"{item.get(key, 0):,}" for key in _COUNTERS)] for name, item in log.counters.items()]
    note = "In frames, or words of a text. Sent is used + late + duplicate + overflow + masked + forgotten + refused."
    return Table(["modality", *_COUNTERS], rows, notes=[note])


def _events_table(log: StreamLog) -> Table:
    modalities = [name for name in (*log.header.get("modalities", ()), "") if any(key[1] == name for key in log.events)]
    kinds = dict.fromkeys(kind for kind, _ in log.events)
    rows = [[kind, *(f"{log.events.get((kind, name), 0):,}" for name in modalities)] for kind in kinds]
    return Table(["event", *(name or "stream" for name in modalities)], rows)


def _subtitle(log: StreamLog) -> Iterator[str]:
    header = log.header
    scenario = header.get("scenario")
    if scenario is not None:
        yield f"scenario {scenario.get('name', 'unknown')}, seed {scenario.get('seed', 0)}"
    yield f"{header.get('backend', '')} {header.get('precision', '')}".strip()
    yield f"played from {header.get('source', 'unknown')}"


def _provenance(log: StreamLog) -> Iterator[tuple[str, str]]:
    header = log.header
    for name in ("bundle", "target", "threads", "coverage"):
        if name in header:
            yield name, str(header[name])
    speed, every = header.get("speed"), header.get("every")
    yield "speed", f"{speed:g} times real time" if speed else "as fast as possible"
    yield "predictions", f"every {every:g} s of stream time" if every else "when the input asks for them"
    for name, value in header.get("stream", {}).items():
        if value is not None:
            yield name, _format_option(value)
    yield from ((name, str(value)) for name, value in header.get("machine", {}).items())
    for name, value in header.get("conditions", {}).items():
        yield f"{name} at the start", str(value)
    for name, value in (log.summary or {}).get("conditions_after", {}).items():
        yield f"{name} at the end", str(value)
    faults: Mapping[str, Any] = header.get("scenario", {}).get("modalities", {})
    for name, fields in faults.items():
        active = {key: value for key, value in fields.items() if value not in (0, [], {"rate": 0, "length": 0})}
        if active:
            yield f"faults of {name}", ", ".join(f"{key} {_format_fault(value)}" for key, value in active.items())


def _format_fault(value: Any) -> str:
    """Return the value of a field of a scenario: `0.25`, `rate 0.05 and length 2`, or `(4, 6) and (8, 9)`."""
    if isinstance(value, Mapping):
        return " and ".join(f"{name} {_format_fault(item)}" for name, item in value.items())
    if isinstance(value, list):
        return " and ".join(f"({', '.join(map(_format_fault, pair))})" for pair in value)
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _format_option(value: Any) -> str:
    """Return the value of an option of the stream: numbers are seconds."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_format_option(item)}" for name, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g} s" if isinstance(value, int | float) else str(value)


def _time_unit(seconds: float) -> tuple[float, str]:
    """Return the factor from seconds to a unit, and the name of the unit."""
    if seconds >= 3 * 3600:
        return 1 / 3600, "hours"
    return (1 / 60, "minutes") if seconds >= 600 else (1.0, "seconds")


def _format_time(seconds: float) -> str:
    scale, unit = _time_unit(seconds)
    return f"{seconds * scale:.1f} {unit}"


def _quantile(values: Array, share: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, share)) if len(finite) else np.nan
