"""Plots of a reproduction as PNG files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_msa.artifacts.files import write_bytes
from edge_msa.evaluation.evaluate import merge_equal
from edge_msa.evaluation.metrics import describe
from edge_msa.evaluation.reproduction.conditions import Condition, dropped_condition
from edge_msa.evaluation.reproduction.corruption import DROP_SHARES, NOISES
from edge_msa.evaluation.reproduction.record import Reproduction, SeedSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES, ABLATIONS, NOISE = "dropped-frames.png", "ablations.png", "noise.png"
PLOT_NAMES = (CURVES, ABLATIONS, NOISE)

_INK, _MUTED, _GRID = "#1c2126", "#5d6771", "#dfe3e7"
_SUBSETS = {
    "l": "#2166c4",
    "a": "#2a8a57",
    "v": "#c2570c",
    "la": "#00838f",
    "lv": "#7a4fb5",
    "av": "#8a6d00",
    "lav": "#b0216a",
}
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _MUTED,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def write_plots(record: Reproduction, folder: Path) -> list[Path]:
    """Write all plots for which the record has data, and return their paths.

    Raises:
        EdgeMsaError: A file cannot be written.
    """
    import matplotlib as mpl

    paths = []
    with mpl.rc_context(_STYLE):
        paths.append(_write(folder / CURVES, plot_dropped_frames(record)))
        if len(record.variants) > 1:
            paths.append(_write(folder / ABLATIONS, plot_ablations(record)))
        if record.noise:
            paths.append(_write(folder / NOISE, plot_noise(record)))
    return paths


def plot_dropped_frames(record: Reproduction) -> Figure:
    """Plot the headline metric by share of dropped frames: one line per subset, and the baselines."""
    figure, axes = _axes(7.6, 4.2)
    for subset in record.subsets:
        by_share = [record.full.conditions[dropped_condition(subset, share).key] for share in DROP_SHARES]
        _line(axes, DROP_SHARES, [metrics[record.headline] for metrics in by_share], record, subset)
    _baselines(axes, record)
    axes.set_xlabel("share p of dropped frames of each available modality")
    axes.set_xticks(DROP_SHARES)
    _title(axes, record, "by dropped frames", "band: one standard deviation")
    _legend(figure, axes)
    return figure


def plot_ablations(record: Reproduction) -> Figure:
    """Plot the headline metric of all variants, on complete samples and averaged over missing modalities."""
    figure, axes = _axes(7.6, 1.6 + 0.52 * len(record.variants))
    groups = {f"complete ({record.complete})": [variant.conditions[record.complete] for variant in record.variants]}
    if record.full.average:
        groups["average over missing modalities"] = [variant.average for variant in record.variants]
    for index, (group, by_variant) in enumerate(groups.items()):
        places = [place + (index - (len(groups) - 1) / 2) * 0.38 for place in range(len(by_variant))]
        color = _SUBSETS[("l", "v")[index]]
        _bars(axes, places, [metrics[record.headline] for metrics in by_variant], record, (group, color))
    _baselines(axes, record, across=False)
    axes.set_yticks(range(len(record.variants)), [variant.title for variant in record.variants])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    _title(axes, record, "by variant", "one point per seed")
    _legend(figure, axes)
    return figure


def _bars(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[SeedSummary],
    record: Reproduction,
    label_and_color: tuple[str, str],
) -> None:
    """Draw one bar with its value per variant, and one point per seed."""
    scale, digits = _scale(record), 1 if describe(record.headline).percent else 3
    means = [scale * value.mean for value in values]
    axes.barh(places, means, 0.34, color=label_and_color[1], alpha=0.75, label=label_and_color[0])
    for place, mean, value in zip(places, means, values, strict=True):
        if value.deviation is not None:
            axes.plot(scale * np.array(value.values), [place] * len(value.values), "o", color=_INK, markersize=2.5)
        end = (max(mean, scale * max(value.values), 0.0), place)
        axes.annotate(f"{mean:.{digits}f}", end, (5, 0), textcoords="offset points", va="center", fontsize=8)


def plot_noise(record: Reproduction) -> Figure:
    """Plot the headline metric of complete samples by grade of noise, one panel per kind."""
    from matplotlib.figure import Figure

    kinds = [
        kind for kind in NOISES if Condition(record.complete, kind, NOISES[kind].grades[0]).key in _conditions(record)
    ]
    columns = min(3, len(kinds))
    rows = -(-len(kinds) // columns)
    figure = Figure(figsize=(2.9 * columns, 2.6 * rows + 0.7), layout="constrained")
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    clean = _conditions(record)[record.complete][record.headline]
    for kind, axes in zip(kinds, panels, strict=False):
        _prepare(axes)
        grades = NOISES[kind].grades
        by_grade = [
            _conditions(record)[Condition(record.complete, kind, grade).key][record.headline] for grade in grades
        ]
        _line(axes, (0.0, *grades), [clean, *by_grade], record, record.complete)
        _baselines(axes, record)
        axes.set_xticks((0.0, *grades))
        axes.set_xlabel(NOISES[kind].unit, fontsize=9)
        axes.set_title(NOISES[kind].title, loc="left", fontsize=10)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    name = describe(record.headline)
    figure.suptitle(
        f"{_unit(record)} of {record.complete} by noise ({_better(name.higher_is_better)})",
        x=0.01,
        ha="left",
        fontsize=10,
    )
    _legend(figure, figure.axes[0])
    return figure


def _conditions(record: Reproduction) -> Mapping[str, Mapping[str, SeedSummary]]:
    return record.full.conditions


def _line(
    axes: Axes, places: Sequence[float], values: Sequence[SeedSummary], record: Reproduction, subset: str
) -> None:
    color, scale = _SUBSETS[subset], _scale(record)
    means = scale * np.array([value.mean for value in values])
    axes.plot(places, means, marker="o", markersize=3.5, color=color, linewidth=1.6, label=subset)
    deviation = scale * np.array([value.deviation or 0.0 for value in values])
    if deviation.any():
        axes.fill_between(places, means - deviation, means + deviation, color=color, alpha=0.15, linewidth=0)


def _baselines(axes: Axes, record: Reproduction, *, across: bool = True) -> None:
    values = {name: by_subset[record.complete][record.headline] for name, by_subset in record.baselines.items()}
    for (name, value), dashes in zip(merge_equal(values).items(), ("--", ":"), strict=False):
        line = axes.axhline if across else axes.axvline
        line(_scale(record) * value, color=_MUTED, linestyle=dashes, linewidth=1.3, label=f"baseline: {name}", zorder=1)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    _prepare(axes)
    return figure, axes


def _prepare(axes: Axes) -> None:
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.tick_params(length=0)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) > 24 else 4
    figure.set_figheight(figure.get_figheight() + 0.22 * (-(-len(handles) // columns)))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, handletextpad=0.5, columnspacing=1.6)


def _title(axes: Axes, record: Reproduction, what: str, seeds: str) -> None:
    seed_text = f"{len(record.seeds)} seeds, {seeds}" if len(record.seeds) > 1 else "1 seed"
    better = _better(describe(record.headline).higher_is_better)
    text = f"{record.model.upper()} on {record.dataset}\n{_unit(record)} {what} ({better}; {seed_text})"
    axes.set_title(text, loc="left", fontsize=10)


def _unit(record: Reproduction) -> str:
    name = describe(record.headline)
    return f"{name.title}{' %' if name.percent else ''}"


def _better(higher: bool) -> str:
    return "higher is better" if higher else "lower is better"


def _scale(record: Reproduction) -> float:
    return 100.0 if describe(record.headline).percent else 1.0


def _write(path: Path, figure: Figure) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return write_bytes(path, buffer.getvalue())
