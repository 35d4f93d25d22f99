"""The HTML page that explains a model, which works offline. It shows the figures of the record inside it only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import Interval
from edge_msa.reporting.explain.attention import EmbeddingShares
from edge_msa.reporting.explain.baseline_check import BaselineCheck
from edge_msa.reporting.explain.charts import (
    Bars,
    axis_header,
    bars_drawing,
    before_after_drawing,
    interval_drawing,
    prediction_key,
    predictions_drawing,
    value_axis,
    zero_axis,
)
from edge_msa.reporting.explain.importance import ModalityCells, SampleExplanation
from edge_msa.reporting.explain.interventions import Intervention
from edge_msa.reporting.explain.noise import PLACES, NoiseEffect
from edge_msa.reporting.explain.removal import PredictionRow, Removal, format_output, format_signed
from edge_msa.reporting.figures import SCRIPT_ID
from edge_msa.reporting.grids import Cell, Grid, GridRow
from edge_msa.reporting.templates import Table, render_template
from edge_msa.text_tables import ABSENT

TOP = 20
"""Number of interventions that are shown at once. The others are below, in a part that opens."""
_MAX_TINT = 42
"""Largest share of a color in the background of a word, in percent. Text stays readable on it."""
_PLACE_TITLES = {"most": "most attention", "least": "least attention"}


@dataclass(frozen=True)
class Figure:
    """A figure with notes. `svg` is markup that this package generated, "" if there is no figure."""

    svg: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Card:
    """One main result.

    Attributes:
        question: What it is about.
        headline: The result in a few words.
        facts: The figures, as sentences.
        kind: `good`, `bad` or `neutral`.
    """

    question: str
    headline: str
    facts: Sequence[str]
    kind: str = "neutral"


@dataclass(frozen=True)
class Explanation:
    """Content of the page.

    Attributes:
        title: Heading.
        subtitle: Model, dataset and split.
        model: `hrlf`, `almt` or `student`.
        task: Task of the labels.
        quality: Comparison with constant predictions.
        removals: Effect of removing each modality over the whole split.
        removal: The same as a table for people.
        interventions: Effects of replacing features, the largest first.
        interventions_over: Description of the samples of the interventions.
        skipped_features: Why features of a modality were not replaced one by one, as sentences.
        noise: Effects of noise on each modality. Empty if no sample has two frames of a modality.
        noise_over: Description of the samples of the noise experiment.
        interval_unit: What intervals are bootstrapped over.
        selection: How the shown samples were selected.
        predictions: Predictions of the shown samples, for a drawing.
        samples: Table of the samples' predictions.
        explained: Words and frames of the shown samples.
        averaged_over: Description of the samples that averages and projections use.
        streams_over: Description of the samples that the projection of the streams uses.
        guided: Mean attention of AHL.
        embedding_shares: Where the attention of ALMT's embeddings goes.
        joint: Projections of the joint representation.
        streams: Projection of ALMT's streams.
        omissions: Sentences on what the page does not show, and why.
        provenance: Run, data and methods.
    """

    title: str
    subtitle: str
    model: str
    task: Task
    quality: BaselineCheck
    removals: Sequence[Removal]
    removal: Table
    interventions: Sequence[Intervention]
    interventions_over: str
    skipped_features: Sequence[str]
    noise: Sequence[NoiseEffect]
    noise_over: str
    interval_unit: str
    selection: str
    predictions: Sequence[PredictionRow]
    samples: Table
    explained: Sequence[SampleExplanation]
    averaged_over: str = ""
    streams_over: str = ""
    guided: Figure = field(default_factory=Figure)
    embedding_shares: Sequence[EmbeddingShares] = ()
    joint: Figure = field(default_factory=Figure)
    streams: Figure = field(default_factory=Figure)
    omissions: Sequence[str] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Word:
    text: str
    values: str
    tint: int
    kind: str


@dataclass(frozen=True)
class _Strip:
    modality: str
    path: str
    title: str
    note: str
    rows: Sequence[tuple[str, Markup]]
    table: Grid


@dataclass(frozen=True)
class _Sample:
    name: str
    text: str
    description: str
    words: Sequence[_Word]
    strips: Sequence[_Strip]


def render_explanation(explanation: Explanation, record: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        explanation: Content of the page.
        record: Every figure of the page as plain JSON values.
    """
    interventions = _intervention_grids(explanation)
    script = json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        script = script.replace(character, f"\\u{ord(character):04x}")
    return render_template(
        "edge_msa.reporting.explain",
        "explain.html.j2",
        title=explanation.title,
        subtitle=explanation.subtitle,
        page=explanation,
        cards=summary_cards(explanation),
        removal=_removal_grid(explanation.removals, explanation.task),
        interventions=interventions[0],
        more_interventions=interventions[1],
        interval_count=_count_intervals(explanation.interventions),
        noise=_noise_grid(explanation.noise),
        noise_changes=_noise_change_grid(explanation.noise),
        predictions=_predictions_grid(explanation),
        prediction_keys=[(name, prediction_key(name)) for name in _prediction_names(explanation.predictions)],
        samples=[_sample(sample, number, explanation.task) for number, sample in enumerate(explanation.explained)],
        shares=_shares_grid(explanation.embedding_shares),
        script_id=SCRIPT_ID,
        figures=Markup(script),  # noqa: S704 - without < > &
    )


def summary_cards(explanation: Explanation) -> list[Card]:
    """Return the main results: quality, modalities, features and attention."""
    return list(_summary_cards(explanation))


def _summary_cards(explanation: Explanation) -> Iterator[Card]:
    quality = explanation.quality
    if quality.beats_constant is None:
        yield Card("Is the model any good?", "Cannot tell", [quality.sentence])
    elif quality.beats_constant:
        yield Card("Is the model any good?", "Better than a constant", [quality.sentence], "good")
    else:
        yield Card("Is the model any good?", "No better than a constant", [quality.sentence], "bad")
    if explanation.removals:
        facts = [_removal_fact(item) for item in sorted(explanation.removals, key=lambda item: -item.change.value)]
        yield Card("Which modality matters?", _removal_headline(explanation.removals), facts)
    features = [item for item in explanation.interventions if item.kind in {"feature", "group"}]
    if features:
        yield _features_card(features, _count_intervals(explanation.interventions))
    if explanation.noise:
        yield _noise_card(explanation.noise)


def noise_sentence(effect: NoiseEffect) -> str:
    """Return what noise on the most attended frame of a modality does, as one sentence."""
    most = effect.places["most"]
    return (
        f"{effect.modality}: noise in the place of the frame with the most attention changes its attention from "
        f"{most.before.value:.2f} to {most.after.value:.2f} (1 is uniform) and the prediction by "
        f"{most.prediction_change.value:.3f}, which is {_signed(effect.prediction_difference)} compared with the same "
        "noise on the frame with the least attention."
    )


def _removal_headline(removals: Sequence[Removal]) -> str:
    known = [item for item in removals if item.error_increase is not None and item.error_increase.low > 0]
    if known:
        largest = max(known, key=lambda item: item.error_increase.value if item.error_increase else 0.0)
        return f"Without {largest.modality}, the error rises most"
    if any(item.error_increase is None for item in removals):
        return f"Without {max(removals, key=lambda item: item.change.value).modality}, predictions change most"
    return "Removing one does not raise the error significantly"


def _removal_fact(item: Removal) -> str:
    fact = f"Without {item.modality}, predictions change by {item.change.value:.3f}"
    if item.error_increase is None:
        return f"{fact}."
    return f"{fact}, and the mean absolute error by {_signed(item.error_increase)}."


def _features_card(features: Sequence[Intervention], intervals: int) -> Card:
    def effect(item: Intervention) -> Interval:
        return item.shift if item.error_increase is None else item.error_increase

    found = [item for item in features if effect(item).low > 0 or effect(item).high < 0]
    what = "prediction" if features[0].error_increase is None else "error"
    facts = [f"{_capitalize(item.modality)}, {item.name}: {_signed(effect(item))}." for item in found[:3]]
    facts.append(
        f"The {intervals} intervals below are simultaneous: with a probability of 95 %, all of them contain the true "
        "changes."
    )
    return Card("Which features matter?", f"{len(found)} of {len(features)} change the {what}", facts)


def _noise_card(effects: Sequence[NoiseEffect]) -> Card:
    names = [item.modality for item in effects if item.prediction_difference.low > 0]
    headline = (
        f"It marks frames that matter in {' and '.join(names)}" if names else "It does not mark the frames that matter"
    )
    facts = [
        f"{_capitalize(item.modality)}: noise on the most attended frame changes the prediction by "
        f"{item.places['most'].prediction_change.value:.3f}, {_signed(item.prediction_difference)} compared with "
        "noise on the least attended."
        for item in effects
    ]
    return Card("What does attention say?", headline, facts)


def _count_intervals(interventions: Sequence[Intervention]) -> int:
    return sum(1 if item.error_increase is None else 2 for item in interventions)


def _removal_grid(removals: Sequence[Removal], task: Task) -> Grid:
    has_labels = any(item.error_increase is not None for item in removals)
    error = "MAE" if task.is_score else "mean |label - probability|"
    header: list[str | Markup] = ["removed", "samples with it", "mean |change|"]
    increases = [item.error_increase for item in removals if item.error_increase is not None]
    axis = zero_axis(increases)
    if has_labels:
        header += [
            f"{error} with it",
            "without it",
            axis_header(axis, "difference, drawn"),
            "difference",
        ]
    rows = []
    for item in removals:
        path = f"removal.{item.modality}"
        cells: list[Cell | Markup] = [
            Cell(item.modality),
            Cell(f"{item.samples:,}", f"{path}.samples", item.samples),
            Cell(f"{item.change.value:.3f}", f"{path}.mean_change", item.change.value),
        ]
        if item.error_increase is not None and item.error is not None and item.error_without is not None:
            cells += [
                Cell(f"{item.error:.3f}", f"{path}.error", item.error),
                Cell(f"{item.error_without:.3f}", f"{path}.error_without", item.error_without),
                interval_drawing(axis, item.error_increase, "fp32"),
                Cell(_signed(item.error_increase), f"{path}.difference", item.error_increase.value),
            ]
        elif has_labels:
            cells += [Cell(ABSENT), Cell(ABSENT), Markup(""), Cell(ABSENT)]
        rows.append(GridRow(cells))
    return Grid("Removing a modality from the samples that have it, with 95 % intervals", header, rows)


def _intervention_grids(explanation: Explanation) -> tuple[Grid | None, Grid | None]:
    items = explanation.interventions
    if not items:
        return None, None
    has_labels = items[0].error_increase is not None
    axis = zero_axis([item.error_increase or item.shift for item in items])
    drawn = "change of the MAE" if has_labels else "change of the prediction"
    prediction = "mean change of the prediction" if explanation.task.is_score else "mean |change| of the probabilities"
    header: list[str | Markup] = ["input", "modality", axis_header(axis, f"{drawn}, drawn")]
    header += ["change of the MAE", prediction] if has_labels else [prediction]
    rows = []
    for number, item in enumerate(items):
        path = f"interventions.{number}"
        effect = item.error_increase or item.shift
        cells: list[Cell | Markup] = [
            Cell(item.name),
            Cell(item.modality),
            interval_drawing(axis, effect, "other" if item.kind == "removed" else "fp32"),
        ]
        if item.error_increase is not None:
            cells.append(Cell(_signed(item.error_increase), f"{path}.error_change", item.error_increase.value))
        cells.append(Cell(_signed(item.shift), f"{path}.prediction_change", item.shift.value))
        rows.append(GridRow(cells, highlighted=item.kind == "removed"))
    first = Grid("Features replaced by their mean, and modalities removed, with 95 % intervals", header, rows[:TOP], 2)
    more = Grid(f"The other {len(rows) - TOP} interventions", header, rows[TOP:], 2) if len(rows) > TOP else None
    return first, more


def _noise_grid(effects: Sequence[NoiseEffect]) -> Grid | None:
    if not effects:
        return None
    places = [item.places[place] for item in effects for place in PLACES]
    ends = [end for item in places for part in (item.before, item.after) for end in (part.value, part.low, part.high)]
    axis = value_axis([0.0, 1.0, *ends])
    header = ["modality", "frame with", "samples", "before", axis_header(axis, "attention, drawn"), "with noise"]
    header.append("change")
    rows = []
    for item in effects:
        for place in PLACES:
            result, path = item.places[place], f"noise.{item.modality}.{place}"
            rows.append(
                GridRow(
                    [
                        Cell(item.modality),
                        Cell(_PLACE_TITLES[place]),
                        Cell(f"{item.samples:,}", f"noise.{item.modality}.samples", item.samples),
                        Cell(f"{result.before.value:.2f}", f"{path}.before.value", result.before.value),
                        before_after_drawing(axis, result.before, result.after),
                        Cell(_plain(result.after), f"{path}.after", result.after.value),
                        Cell(
                            _signed(result.attention_change, 2),
                            f"{path}.attention_change",
                            result.attention_change.value,
                        ),
                    ]
                )
            )
    return Grid("Attention on the replaced frame (1 is uniform), with 95 % intervals", header, rows, 2)


def _noise_change_grid(effects: Sequence[NoiseEffect]) -> Grid | None:
    if not effects:
        return None
    axis = zero_axis([item.prediction_difference for item in effects])
    has_labels = any(item.error_increase is not None for item in effects)
    header = ["modality", "most attention", "least attention", axis_header(axis, "difference, drawn")]
    header += ["difference", "attention on the noise: difference"]
    header += ["change of the MAE, most attention"] if has_labels else []
    rows = []
    for item in effects:
        path = f"noise.{item.modality}"
        cells: list[Cell | Markup] = [Cell(item.modality)]
        for place in PLACES:
            change = item.places[place].prediction_change
            cells.append(Cell(f"{change.value:.3f}", f"{path}.{place}.prediction_change.value", change.value))
        cells += [
            interval_drawing(axis, item.prediction_difference, "fp32"),
            Cell(
                _signed(item.prediction_difference), f"{path}.prediction_difference", item.prediction_difference.value
            ),
            Cell(_signed(item.after_difference, 2), f"{path}.after_difference", item.after_difference.value),
        ]
        if item.error_increase is not None:
            cells.append(Cell(_signed(item.error_increase), f"{path}.error_change", item.error_increase.value))
        rows.append(GridRow(cells))
    return Grid("Mean |change| of the prediction by noise on one frame, with 95 % intervals", header, rows)


def _predictions_grid(explanation: Explanation) -> Grid:
    """Return the table of the samples' predictions with a drawing of each row."""
    table, lines = explanation.samples, explanation.predictions
    values = [value for line in lines for value in line.predictions.values()]
    axis = value_axis([*values, *(line.label for line in lines if line.label is not None)])
    position = (
        next(number for number, name in enumerate(table.header) if name.startswith("only "))
        if any(name.startswith("only ") for name in table.header)
        else len(table.header)
    )
    title = "score" if explanation.task.is_score else "probability"
    header = [*table.header[:position], axis_header(axis, f"{title}, drawn"), *table.header[position:]]
    rows = [
        GridRow(
            [
                *(Cell(text) for text in cells[:position]),
                predictions_drawing(axis, line.label, line.predictions),
                *(Cell(text) for text in cells[position:]),
            ]
        )
        for cells, line in zip(table.rows, lines, strict=True)
    ]
    return Grid(f"Predictions of single samples, {explanation.selection}", header, rows, table.left)


def _prediction_names(lines: Sequence[PredictionRow]) -> list[str]:
    return list(dict.fromkeys(name for line in lines for name in line.predictions))


def _shares_grid(shares: Sequence[EmbeddingShares]) -> Grid | None:
    if not shares:
        return None
    parts = ("frames", "learned", "padding")
    titles = ("frames %", "learned tokens %", "padding %")
    header = ["modality", *titles, *(f"uniform: {title}" for title in titles)]
    rows = []
    for item in shares:
        values = [(f"shares.{item.modality}.{part}", getattr(item, part)) for part in parts]
        values += [(f"shares.{item.modality}.uniform.{index}", value) for index, value in enumerate(item.uniform)]
        rows.append(
            GridRow([Cell(item.modality), *(Cell(f"{100 * value:.0f}", path, value) for path, value in values)])
        )
    return Grid("Where the attention of ALMT's embeddings goes", header, rows)


def _sample(sample: SampleExplanation, number: int, task: Task) -> _Sample:
    language = sample.modalities.get("language")
    words = list(_words(language, sample)) if language is not None and language.words else []
    strips = [_strip(name, cells, sample, number, task) for name, cells in sample.modalities.items()]
    names = ("",) if task.is_score else task.labels
    description = "; ".join(
        f"{name} label {format_output(np.nan if label is None else label, task)}, "
        f"prediction {format_output(value, task)}".strip()
        for name, label, value in zip(names, sample.label, sample.prediction, strict=True)
    )
    if sample.output:
        description += f". Effects are those on the probability of {sample.output}"
    return _Sample(sample.name, "" if words else sample.text, f"{description}.", words, strips)


def _words(cells: ModalityCells, sample: SampleExplanation) -> Iterator[_Word]:
    largest = _largest_effect(sample)
    for index, word in enumerate(cells.words):
        effect = cells.effect[index]
        strength = 0 if effect is None else round(_MAX_TINT * min(1.0, abs(effect) / largest))
        kind = "raises" if (effect or 0.0) >= 0 else "lowers"
        yield _Word(word, _describe_cell(cells, index), strength, kind if strength else "")


def _strip(name: str, cells: ModalityCells, sample: SampleExplanation, number: int, task: Task) -> _Strip:
    noise = cells.noise
    known = [value for value in (*cells.attention, *(noise.attention if noise else ())) if value is not None]
    limit = max(2.0, *known) if known else 2.0
    marked = None if noise is None else noise.cell
    rows = [(f"attention, 0 to {limit:.2f}", bars_drawing(Bars("attention", "", cells.attention, limit, 1.0, marked)))]
    if noise is not None:
        rows.append(("with noise", bars_drawing(Bars("noise", "", noise.attention, limit, 1.0, marked))))
    largest = _largest_effect(sample)
    rows.append((f"effect, ±{largest:.3f}", bars_drawing(Bars("effect", "", cells.effect, largest, 0.0))))
    unit = "word" if cells.words else "frame"
    title = f"{name}, {cells.frames} {unit}{'' if cells.frames == 1 else 's'}"
    note = cells.note
    if noise is not None:
        before, after = sample.prediction[sample.explained], noise.prediction
        word = f" ({cells.words[noise.cell]})" if cells.words else ""
        note = (
            f"{note} Noise in the place of {unit} {noise.frame}{word}, which has the most attention, changes the "
            f"prediction from {format_output(before, task)} to {format_output(after, task)}."
        ).strip()
    path = f"shown.{number}.modalities.{name}"
    return _Strip(name, path, title, note, rows, _cells_grid(name, cells, path))


def _cells_grid(name: str, cells: ModalityCells, path: str) -> Grid:
    header = [*(["word"] if cells.words else []), "frame", "attention"]
    header += ["with noise"] if cells.noise else []
    header.append("effect")
    rows = []
    for index in range(len(cells.segments)):
        line = [Cell(cells.words[index])] if cells.words else []
        line.append(Cell(_frame_name(cells, index)))
        line.append(_value_cell(cells.attention[index], f"{path}.attention.{index}", "{:.2f}"))
        if cells.noise is not None:
            line.append(_value_cell(cells.noise.attention[index], f"{path}.noise.attention.{index}", "{:.2f}"))
        effect = cells.effect[index]
        line.append(
            Cell(ABSENT) if effect is None else Cell(format_signed(effect, 3), f"{path}.effect.{index}", effect)
        )
        rows.append(GridRow(line))
    number = path.split(".")[1]
    return Grid(f"Values of {name}, sample {int(number) + 1}", header, rows, 2 if cells.words else 1)


def _value_cell(value: float | None, path: str, template: str) -> Cell:
    return Cell(ABSENT) if value is None else Cell(template.format(value), path, value)


def _describe_cell(cells: ModalityCells, index: int) -> str:
    """Return the values of a cell, as the script of the page does."""
    parts = []
    effect, attention = cells.effect[index], cells.attention[index]
    if effect is not None:
        parts.append(f"effect {format_signed(effect, 3)}")
    if attention is not None:
        parts.append(f"attention {attention:.2f}")
    if cells.noise is not None and (noisy := cells.noise.attention[index]) is not None:
        parts.append(f"with noise {noisy:.2f}")
    return ", ".join(parts)


def _frame_name(cells: ModalityCells, index: int) -> str:
    first, last = cells.segments[index]
    return str(last) if last - first == 1 else f"{first + 1} to {last}"


def _largest_effect(sample: SampleExplanation) -> float:
    """Return the largest effect in a sample, so that its modalities share one scale."""
    effects = [abs(value) for cells in sample.modalities.values() for value in cells.effect if value is not None]
    return max([*effects, 1e-3])


def _signed(interval: Interval, digits: int = 3) -> str:
    low, high = format_signed(interval.low, digits), format_signed(interval.high, digits)
    return f"{format_signed(interval.value, digits)} ({low} to {high})"


def _plain(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
