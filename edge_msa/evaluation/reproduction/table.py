"""A reproduction for people: the paper's table beside ours, then curves, ablations, noise and significance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from edge_msa.evaluation.evaluate import once
from edge_msa.evaluation.metrics import BEST_CONSTANT, describe
from edge_msa.evaluation.reproduction.conditions import Condition, dropped_condition
from edge_msa.evaluation.reproduction.corruption import NOISES, RATIOS
from edge_msa.evaluation.reproduction.published import (
    AVERAGE,
    COLUMNS,
    F1,
    Published,
    PublishedRow,
    published,
    swapped_f1,
)
from edge_msa.evaluation.reproduction.record import NAME, Difference, OverSeeds, Reproduction, VariantResult
from edge_msa.evaluation.reproduction.variants import FULL
from edge_msa.text_tables import ABSENT, text_table

Row = list[str]
Named = tuple[str, Mapping[str, str]]
"""A row's name, and its cells by column."""

_SUMMED = "mean over the seeds ± their standard deviation"


def format_reproduction(record: Reproduction) -> str:
    """All tables and notes that the record has something for. Shares are percent; MAE, RMSE, Corr are as they are."""
    printed = published(record.model, record.paper)
    parts = [_title(record), main_table(record, printed), curve_table(record, printed)]
    if len(record.variants) > 1:
        parts.append(ablation_table(record, printed))
    if record.noise:
        parts.append(noise_table(record))
    parts.append(significance_table(record))
    notes = [f"note: {note}" for note in dict.fromkeys((*printed.notes, *record.notes))]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def main_table(record: Reproduction, printed: Published) -> str:
    """Metric by metric: the printed rows, ours, the baselines."""
    columns = _columns(record, printed)
    rows: list[Row] = []
    unnamed = list(_printed_rows(printed, F1)) if F1 not in record.metrics else []
    rows += _grouped("F1, in print", columns, unnamed)
    for metric in record.metrics:
        rows += _grouped(describe(metric).title, columns, _metric_rows(record, printed, metric))
    title = f"by available modalities (l language, a audio, v vision); ours: {_SUMMED}"
    return f"{title}\n\n" + text_table(["metric", "prediction", *columns], rows, left=2)


def curve_table(record: Reproduction, printed: Published) -> str:
    """The headline metric by share of dropped frames."""
    metric = record.headline
    rows = []
    for share in RATIOS:
        found = (record.whole.conditions[dropped_condition(subset, share).key] for subset in record.subsets)
        rows.append([f"{share:.1f}", *(cell(metrics[metric], metric) for metrics in found)])
    title = f"{describe(metric).title} with a share p of the frames of every available modality dropped"
    lines = [f"{title}; p = 1 is the prediction of nothing\n", text_table(["p", *record.subsets], rows)]
    if printed.dropped:
        told = ", ".join(f"{value} at {share:g}" for share, value in printed.dropped.items())
        lines.append(f"ALMT in print, Acc-2 of complete samples by p: {told}")
    return "\n".join(lines)


def ablation_table(record: Reproduction, printed: Published) -> str:
    """Each variant's tested metrics, marked where they differ, beside the printed rows of that ablation."""
    whose = {variant.name for variant in record.variants}
    beside = [row for row in printed.rows if row.ablation in whose and row.metric in {*record.tested, F1}]
    columns = _columns(record, Published(beside))
    rows: list[Row] = []
    for metric in record.tested:
        named: list[Named] = []
        for variant in record.variants:
            named.append((variant.title, _marked(variant, record, metric)))
            wanted = {metric, F1} if metric.startswith("f1") else {metric}
            named += [_printed(row) for row in beside if row.ablation == variant.name and row.metric in wanted]
        rows += _grouped(describe(metric).title, columns, named)
    title = f"ablations; ours: {_SUMMED}; * told apart from the full method, see the differences"
    return f"{title}\n\n" + text_table(["metric", "variant", *columns], rows, left=2)


def noise_table(record: Reproduction) -> str:
    """Every kind and grade of noise on all there is."""
    whole = record.whole.conditions
    rows = [["none", "", "", *(cell(whole[record.complete][metric], metric) for metric in record.tested)]]
    for kind, noise in NOISES.items():
        for grade in noise.grades:
            found = whole.get(Condition(record.complete, kind, grade).key)
            if found is not None:
                numbers = (cell(found[metric], metric) for metric in record.tested)
                rows.append([noise.title, f"{grade:g}", noise.unit, *numbers])
    header = ["noise", "grade", "unit", *(describe(metric).title for metric in record.tested)]
    title = f"noise that the model is not told of, from {record.complete}; on features, not on sound and pixels"
    return f"{title}\n\n" + text_table(header, rows, left=3)


def significance_table(record: Reproduction) -> str:
    """The differences with their intervals: of the method all of them, of ablations those of complete samples."""
    unit = "videos" if record.interval_unit == "groups" else "samples (too few videos to draw from: too narrow)"
    title = f"differences of the means over seeds; 95 % intervals of these very trainings, paired bootstrap over {unit}"
    header = ["difference", "metric", "available", "value", "from", "to", "told apart", "seeds agree"]
    shown = [item for item in record.differences if item.what == FULL or item.condition == record.complete]
    text = f"{title}\n\n" + text_table(header, [_difference_row(record, item) for item in shown], left=3)
    hidden = len(record.differences) - len(shown)
    return f"{text}\n{hidden} more are in {NAME}" if hidden else text


def cell(value: OverSeeds, metric: str) -> str:
    """Mean ± deviation; the mean alone where one training has none."""
    name = describe(metric)
    mean = name.format(value.mean)
    return mean if value.deviation is None else f"{mean} ± {name.format(value.deviation)}"


def _title(record: Reproduction) -> str:
    seeds = f"{len(record.seeds)} seeds" if len(record.seeds) > 1 else "1 seed, so nothing has a deviation"
    return f"{record.model.upper()} on {record.dataset}: {record.samples['test']} test samples, {seeds}"


def _columns(record: Reproduction, printed: Published) -> list[str]:
    """Those in which any row has a value, in the paper's order."""
    filled = {column for row in printed.rows for column in row.cells} | set(record.subsets)
    if record.whole.average:
        filled.add(AVERAGE)
    return [column for column in COLUMNS if column in filled]


def _metric_rows(record: Reproduction, printed: Published, metric: str) -> Iterator[Named]:
    name = describe(metric)
    yield from _printed_rows(printed, metric)
    yield "ours", _own(record.whole, record, metric)
    values = {
        baseline: (by_subset, record.baseline_constants[baseline]) for baseline, by_subset in record.baselines.items()
    }
    for baseline, (by_subset, numbers) in once(values).items():
        constant = ", ".join(f"{value:.3g}" for value in numbers)
        yield f"baseline: {baseline} ({constant})", {column: name.format(m[metric]) for column, m in by_subset.items()}
    accuracy = next(
        (key for key in (metric.replace("f1", "acc2"), metric.replace("f1", "acc")) if key in record.metrics), ""
    )
    if metric.startswith("f1") and metric != f"f1_{AVERAGE}" and accuracy:
        best = {column: metrics for column, metrics in record.baselines[BEST_CONSTANT].items() if column != AVERAGE}
        swapped = {column: swapped_f1(metrics[accuracy]) for column, metrics in best.items()}
        yield "best constant, arguments swapped", {column: name.format(value) for column, value in swapped.items()}


def _printed_rows(printed: Published, metric: str) -> Iterator[Named]:
    yield from (_printed(row) for row in printed.rows if row.metric == metric and not row.ablation)


def _printed(row: PublishedRow) -> Named:
    return row.who, {column: f"{value:.{row.digits}f}" for column, value in row.cells.items()}


def _own(variant: VariantResult, record: Reproduction, metric: str) -> dict[str, str]:
    cells = {subset: cell(variant.conditions[subset][metric], metric) for subset in record.subsets}
    return cells | ({AVERAGE: cell(variant.average[metric], metric)} if variant.average else {})


def _marked(variant: VariantResult, record: Reproduction, metric: str) -> dict[str, str]:
    """`_own`, with a mark where the variant is told apart from the full method."""
    found = {(item.what, item.condition, item.metric): item.holds_zero for item in record.differences}
    cells = _own(variant, record, metric)
    if variant.name == FULL:
        return cells
    return {c: text if found.get((variant.name, c, metric), True) else f"{text} *" for c, text in cells.items()}


def _grouped(title: str, columns: Sequence[str], found: Iterable[Named]) -> Iterator[Row]:
    """Rows of one metric, which the first of them names."""
    for index, (who, cells) in enumerate(found):
        yield ["" if index else title, who, *(cells.get(column, ABSENT) for column in columns)]


def _difference_row(record: Reproduction, item: Difference) -> Row:
    name = describe(item.metric)
    titles = {variant.name: variant.title for variant in record.variants}
    titles |= {baseline: f"baseline: {baseline.replace('_', ' ')}" for baseline in record.baselines}
    signed = (f"{'+' if value >= 0 else ''}{name.format(value)}" for value in (item.value, item.low, item.high))
    told = "no" if item.holds_zero else "yes"
    agree = f"{item.agree} of {len(record.seeds)}"
    return [f"{titles[item.what]} - {titles[item.against]}", name.title, item.condition, *signed, told, agree]
