"""Format a reproduction as text: published and reproduced metrics, dropped frames, ablations, noise, significance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from edge_msa.evaluation.evaluate import merge_equal
from edge_msa.evaluation.metrics import BEST_CONSTANT, describe
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.evaluation.reproduction.conditions import Condition, dropped_condition
from edge_msa.evaluation.reproduction.corruption import DROP_SHARES, NOISES
from edge_msa.evaluation.reproduction.published import (
    AVERAGE,
    COLUMNS,
    PublishedRow,
    PublishedTable,
    find_published_table,
    swapped_f1,
)
from edge_msa.evaluation.reproduction.record import NAME, Difference, Reproduction, SeedSummary, VariantResult
from edge_msa.evaluation.reproduction.variants import FULL
from edge_msa.text_tables import ABSENT, text_table

Row = list[str]
NamedCells = tuple[str, Mapping[str, str]]
"""Name of a row, and its cells by column."""

_SUMMARY = "mean ± standard deviation over the seeds"


def format_reproduction(record: Reproduction) -> str:
    """Return all tables and notes for which the record has data. Accuracies and F1 are in percent."""
    table = find_published_table(record.model, record.paper)
    parts = [_title(record), main_table(record, table), curve_table(record)]
    if len(record.variants) > 1:
        parts.append(ablation_table(record, table))
    if record.noise:
        parts.append(noise_table(record))
    parts.append(significance_table(record))
    notes = [f"note: {note}" for note in dict.fromkeys((*table.notes, *record.notes))]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def main_table(record: Reproduction, table: PublishedTable) -> str:
    """Return a table with published rows, this reproduction, and the baselines for each metric."""
    columns = _columns(record, table)
    rows: list[Row] = []
    for metric in record.metrics:
        rows += _grouped(describe(metric).title, columns, _metric_rows(record, table, metric))
    title = f"by available modalities (l language, a audio, v vision); this reproduction: {_SUMMARY}"
    return f"{title}\n\n" + text_table(["metric", "model", *columns], rows, left=2)


def curve_table(record: Reproduction) -> str:
    """Return a table of the headline metric by share of dropped frames."""
    metric = record.headline
    rows = []
    for share in DROP_SHARES:
        by_subset = (record.full.conditions[dropped_condition(subset, share).key] for subset in record.subsets)
        rows.append([f"{share:.1f}", *(cell(metrics[metric], metric) for metrics in by_subset)])
    title = f"{describe(metric).title} with a share p of the frames of each available modality dropped"
    return f"{title}; at p = 1 there is no input\n\n" + text_table(["p", *record.subsets], rows)


def ablation_table(record: Reproduction, table: PublishedTable) -> str:
    """Return a table of the tested metrics of each variant, with significance marks and the published ablations."""
    names = {variant.name for variant in record.variants}
    ablation_rows = [row for row in table.rows if row.ablation in names and row.metric in record.tested]
    columns = _columns(record, PublishedTable(ablation_rows))
    rows: list[Row] = []
    for metric in record.tested:
        named: list[NamedCells] = []
        for variant in record.variants:
            named.append((variant.title, _marked(variant, record, metric)))
            named += [
                _format_published(row) for row in ablation_rows if (row.ablation, row.metric) == (variant.name, metric)
            ]
        rows += _grouped(describe(metric).title, columns, named)
    title = (
        f"ablations; this reproduction: {_SUMMARY}; * differs from the full method: the interval, which covers seeds "
        "and videos, excludes 0"
    )
    return f"{title}\n\n" + text_table(["metric", "variant", *columns], rows, left=2)


def noise_table(record: Reproduction) -> str:
    """Return a table of all kinds and grades of noise on the complete samples."""
    conditions = record.full.conditions
    rows = [["none", "", "", *(cell(conditions[record.complete][metric], metric) for metric in record.tested)]]
    for kind, noise in NOISES.items():
        for grade in noise.grades:
            metrics = conditions.get(Condition(record.complete, kind, grade).key)
            if metrics is not None:
                numbers = (cell(metrics[metric], metric) for metric in record.tested)
                rows.append([noise.title, f"{grade:g}", noise.unit, *numbers])
    header = ["noise", "grade", "unit", *(describe(metric).title for metric in record.tested)]
    title = f"noise that is unknown to the model, on the features of {record.complete}"
    return f"{title}\n\n" + text_table(header, rows, left=3)


def significance_table(record: Reproduction) -> str:
    """Return a table of the differences of the full method, and those of ablations on complete samples and average."""
    units = " and ".join(describe_unit(unit) for unit in dict.fromkeys(item.unit for item in record.differences))
    covered = f"seeds and {units}" if any(item.covers_seeds for item in record.differences) else f"{units}, not seeds"
    title = f"differences of the means over seeds; the 95 % intervals cover the choice of {covered}"
    header = ["difference", "metric", "available", "value", "low", "high", "excludes 0", "agreeing seeds"]
    always = {record.complete, AVERAGE}
    shown = [item for item in record.differences if item.variant == FULL or item.condition in always]
    text = f"{title}\n\n" + text_table(header, [_difference_row(record, item) for item in shown], left=3)
    hidden = len(record.differences) - len(shown)
    return f"{text}\n{NAME} has {hidden} more" if hidden else text


def cell(value: SeedSummary, metric: str) -> str:
    """Return mean ± standard deviation; only the mean with one seed."""
    name = describe(metric)
    mean = name.format(value.mean)
    return mean if value.deviation is None else f"{mean} ± {name.format(value.deviation)}"


def _title(record: Reproduction) -> str:
    seeds = f"{len(record.seeds)} seeds" if len(record.seeds) > 1 else "1 seed, so there are no standard deviations"
    return f"{record.model.upper()} on {record.dataset}: {record.samples['test']} test samples, {seeds}"


def _columns(record: Reproduction, table: PublishedTable) -> list[str]:
    """Return the columns with a value in any row, in the order of the paper."""
    filled = {column for row in table.rows for column in row.cells} | set(record.subsets)
    if record.full.average:
        filled.add(AVERAGE)
    return [column for column in COLUMNS if column in filled]


def _metric_rows(record: Reproduction, table: PublishedTable, metric: str) -> Iterator[NamedCells]:
    name = describe(metric)
    yield from _published_rows(table, metric)
    yield "this reproduction", _cells(record.full, record, metric)
    values = {
        baseline: (by_subset, record.baseline_constants[baseline]) for baseline, by_subset in record.baselines.items()
    }
    for baseline, (by_subset, numbers) in merge_equal(values).items():
        constant = ", ".join(f"{value:.3g}" for value in numbers)
        yield f"baseline: {baseline} ({constant})", {column: name.format(m[metric]) for column, m in by_subset.items()}
    accuracy = next(
        (key for key in (metric.replace("f1", "acc2"), metric.replace("f1", "acc")) if key in record.metrics), ""
    )
    if metric.startswith("f1") and metric != f"f1_{AVERAGE}" and accuracy:
        best = {column: metrics for column, metrics in record.baselines[BEST_CONSTANT].items() if column != AVERAGE}
        swapped = {column: swapped_f1(metrics[accuracy]) for column, metrics in best.items()}
        yield "best constant, swapped arguments", {column: name.format(value) for column, value in swapped.items()}


def _published_rows(table: PublishedTable, metric: str) -> Iterator[NamedCells]:
    yield from (_format_published(row) for row in table.rows if row.metric == metric and not row.ablation)


def _format_published(row: PublishedRow) -> NamedCells:
    return row.source, {column: f"{value:.{row.digits}f}" for column, value in row.cells.items()}


def _cells(variant: VariantResult, record: Reproduction, metric: str) -> dict[str, str]:
    cells = {subset: cell(variant.conditions[subset][metric], metric) for subset in record.subsets}
    return cells | ({AVERAGE: cell(variant.average[metric], metric)} if variant.average else {})


def _marked(variant: VariantResult, record: Reproduction, metric: str) -> dict[str, str]:
    """Return `_cells` with a mark where the variant differs from the full method."""
    significant = {(item.variant, item.condition, item.metric): item.is_significant for item in record.differences}
    cells = _cells(variant, record, metric)
    if variant.name == FULL:
        return cells
    return {c: f"{text} *" if significant.get((variant.name, c, metric)) else text for c, text in cells.items()}


def _grouped(title: str, columns: Sequence[str], rows: Iterable[NamedCells]) -> Iterator[Row]:
    """Yield the rows of one metric. Only the first row shows the metric's name."""
    for index, (name, cells) in enumerate(rows):
        yield ["" if index else title, name, *(cells.get(column, ABSENT) for column in columns)]


def _difference_row(record: Reproduction, item: Difference) -> Row:
    name = describe(item.metric)
    titles = {variant.name: variant.title for variant in record.variants}
    titles |= {baseline: f"baseline: {baseline.replace('_', ' ')}" for baseline in record.baselines}
    signed = (name.format_signed(value) for value in (item.value, item.low, item.high))
    excludes_zero = "no" if item.includes_zero else "yes" if item.covers_seeds else "one seed"
    agreeing = f"{item.agreeing_seeds} of {len(record.seeds)}"
    return [
        f"{titles[item.variant]} - {titles[item.reference]}",
        name.title,
        item.condition,
        *signed,
        excludes_zero,
        agreeing,
    ]
