"""All figures of a report as one JSON value: the page, the tables and the comparisons of reports are made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_msa.errors import RunError

SCHEMA: Literal[1] = 1
SCRIPT_ID = "figures"
"""Id of the element of the page that contains the figures as JSON."""
_SCRIPT = re.compile(rf'<script type="application/json" id="{SCRIPT_ID}">(.*?)</script>', re.DOTALL)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Value(_Model):
    """A measured value with its 95 % interval."""

    value: float | None = Field(description="The value. null if it is not a finite number.")
    low: float | None = Field(default=None, description="Lower end of the 95 % interval. null if it was not estimated.")
    high: float | None = Field(
        default=None, description="Upper end of the 95 % interval. null if it was not estimated."
    )

    @property
    def has_interval(self) -> bool:
        """Whether the interval was estimated."""
        return self.low is not None and self.high is not None

    @property
    def includes_zero(self) -> bool:
        """Whether the interval contains 0. True without an interval: then no difference can be claimed."""
        return self.low is None or self.high is None or self.low <= 0.0 <= self.high


class Provenance(_Model):
    """The commands that measure the figures of a row again."""

    metrics: str | None = Field(
        default=None, description="Command that measures `metrics` again. null if it is not known."
    )
    latency: str | None = Field(
        default=None,
        description="Command that measures `latency_ms`, `size_bytes`, `load_ms` and `peak_memory_mib` again. null if "
        "they were not measured, or if no single command measures them.",
    )


class Row(_Model):
    """One model on one backend and device, at one precision."""

    id: str = Field(description="Unique name of the row: name, backend, precision and device, separated by slashes.")
    number: int = Field(description="Number of the row in tables and plots, from 1.")
    label: str = Field(description="Short name for people.")
    kind: Literal["bundle", "teacher", "run"] = Field(
        description="`bundle` is an exported model, `teacher` the model that it was distilled from, and `run` another "
        "trained model."
    )
    name: str = Field(description="Name of the bundle or run.")
    target: str = Field(description="Device profile of the bundle. Empty for a run, or if no benchmark states it.")
    backend: str = Field(description="Backend that executed the model.")
    precision: str = Field(description="Precision of the graphs.")
    precision_title: str = Field(description="The precision for people, with the share of int8.")
    device: str = Field(description="Device that executed the graphs.")
    chosen: bool = Field(description="Whether `export` chose this precision for the backend.")
    executed: bool = Field(description="Whether the graphs ran.")
    on_target: bool = Field(
        description="Whether the machine has the architecture of the target. If not, the latency is no measurement of "
        "the target."
    )
    reference: bool = Field(description="Whether speeds and accuracies are compared with this row.")
    pareto: bool = Field(description="Whether no other row is both faster and more accurate.")
    metrics: dict[str, dict[str, Value]] = Field(
        description="Metrics by subset and name. Shares are fractions from 0 to 1. `missing_average` is the mean over "
        "the subsets that lack a modality."
    )
    differences: dict[str, dict[str, Value]] = Field(
        description="Differences of metrics from the reference row, paired by video, by subset and metric."
    )
    samples: dict[str, int] = Field(description="Number of evaluated samples by subset.")
    latency_ms: dict[str, dict[str, Value]] = Field(
        description="Latency of one prediction in milliseconds, by subset and percentile."
    )
    size_bytes: int | None = Field(description="Size of the files that the backend needs, in bytes.")
    distribution_ms: dict[str, list[float]] = Field(
        default_factory=dict, description="Quantiles 0, 0.05, ..., 1 of the latency in milliseconds, by subset."
    )
    predictions: dict[str, int] = Field(default_factory=dict, description="Number of timed predictions by subset.")
    processes: int = Field(
        default=0,
        description="Number of fresh processes that measured only this model. 0 if it shared one process with others.",
    )
    load_ms: float | None = Field(description="Time to load the model in a fresh process, in milliseconds.")
    peak_memory_mib: float | None = Field(description="Peak memory of that process, in MiB.")
    parity: float | None = Field(
        description="Largest difference between a prediction of the graphs and of the trained model."
    )
    machine: dict[str, str] = Field(description="Machine, versions and threads of the benchmark.")
    conditions: dict[str, str] = Field(
        default_factory=dict,
        description="Clocks, power mode, temperature and load before and after the benchmark, as far as known.",
    )
    noise: list[str] = Field(default_factory=list, description="What makes the latency less reliable, in sentences.")
    warning: str = Field(description="A warning if the model does not beat a constant. Empty if it does.")
    remark: str = Field(description="What you must know to interpret the figures. Empty if nothing.")
    files: list[str] = Field(description="Files with the records of the row.")
    provenance: Provenance = Field(description="Commands that measure the figures again.")


class Verdict(_Model):
    """What to ship for one target."""

    target: str = Field(description="Device profile.")
    decision: Literal["ship", "cannot tell", "do not ship"] = Field(description="The verdict.")
    row: str | None = Field(description="Id of the row to ship. null if the decision is not `ship`.")
    headline: str = Field(description="The verdict in a few words.")
    facts: list[str] = Field(description="What to expect of the row, in phrases.")
    reasons: list[str] = Field(description="Why this row and not the others, and what was not measured, in sentences.")
    command: str | None = Field(
        default=None, description="Command that measures what the verdict lacks. null if nothing."
    )
    speedup: Value | None = Field(
        default=None, description="How many times as fast as the reference row it is, by p50."
    )
    difference: Value | None = Field(
        default=None, description="Difference of `metric` from the reference row, on `subset`."
    )
    without: dict[str, Value] = Field(
        default_factory=dict, description="`metric` if one modality is missing, by the missing modality."
    )

    @property
    def sentence(self) -> str:
        """The headline and the facts."""
        return f"{self.headline}: {'; '.join(self.facts)}." if self.facts else f"{self.headline}."


class DataInfo(_Model):
    """The data that all metrics were measured on."""

    dataset: str = Field(description="Name of the data set.")
    split: str = Field(description="Name of the split.")
    task: str = Field(description="Name of the task.")
    digest: str = Field(description="SHA-256 of the data set.")
    samples: int = Field(description="Samples in the split.")
    interval_unit: str = Field(description="What the intervals of metrics resample: `groups` (videos) or `samples`.")


class TextTable(_Model):
    """A table of the page whose cells are text."""

    caption: str = Field(description="Text above the table.")
    header: list[str] = Field(description="Column titles.")
    rows: list[list[str]] = Field(description="Cells of each row.")
    notes: list[str] = Field(default_factory=list, description="Paragraphs below the table.")


class RiskCurve(_Model):
    """Errors among the answered predictions of a subset, from answering all of them to the widest intervals or sets."""

    subset: str = Field(description="The available modalities.")
    answered: list[float] = Field(description="Share of the predictions that are answered.")
    risk: list[float] = Field(description="Share of these with a wrong sign or class.")


class Peer(_Model):
    """A model that was measured beside one of ours in the same run."""

    label: str = Field(description="Letter of the point in the chart. Empty if a row of the report shows this model.")
    name: str = Field(description="Name of the bundle or run, or of a published network.")
    kind: Literal["student", "teacher", "peer"] = Field(
        description="`peer` is what another project or tool gives. `student` is a bundle, `teacher` a teacher."
    )
    backend: str = Field(description="Backend that ran the graphs, or `torch`.")
    precision: str = Field(description="Precision for people.")
    subset: str = Field(description="Modalities that it takes.")
    is_ours: bool = Field(description="Whether the others are compared with this one.")
    row: str | None = Field(description="Id of the row that shows the same model. null if none does.")
    size_bytes: int | None = Field(
        description="Size of the files that the backend needs, in bytes; of a teacher or a peer, of the measured graph."
    )
    p50_ms: float | None = Field(description="Median latency in that run, in milliseconds. null if not measured.")
    ratio: Value | None = Field(description="Median latency divided by that of ours. null if not measured.")
    min_ratio: float | None = Field(description="Shortest time divided by that of ours. null if not measured.")
    drawn_ms: Value | None = Field(
        description="Where the chart shows it: `ratio` times the p50 of the row that is ours, or of ours in that run "
        "if no row is. In a disturbed run, the interval also contains `min_ratio`. null if it is not drawn."
    )
    metrics: dict[str, Value] = Field(description="Metrics by name. Empty if not measured, or if it is not trained.")
    differences: dict[str, Value] = Field(description="Metrics minus those of ours, paired by video.")
    note: str = Field(description="Why it was not measured, or what is special about it.")


class PeerComparison(_Model):
    """A record of `edge-msa bench peers`."""

    file: str = Field(description="The record.")
    dataset: str = Field(description="Name of the data set.")
    digest: str = Field(description="SHA-256 of the data set.")
    split: str = Field(description="Name of the split.")
    samples: int = Field(description="Samples that each model predicted.")
    predictions: int = Field(description="Timed predictions of each model.")
    row: str | None = Field(
        description="Id of the row that is ours, measured on the same machine and data. null if there is none: then "
        "the record has a chart of its own."
    )
    contenders: list[Peer] = Field(description="The models, ours included.")
    machine: dict[str, str] = Field(description="Machine, versions, threads and conditions of the run.")
    noisy: bool = Field(description="Whether other programs disturbed the run.")
    notes: list[str] = Field(description="What you must know to interpret the figures.")

    @property
    def ours(self) -> Peer:
        """The model that the others are compared with."""
        return next(item for item in self.contenders if item.is_ours)


class LayerTime(_Model):
    """A layer that a backend executes."""

    name: str = Field(description="Type and shape of the output.")
    type: str = Field(description="Type in the notation of the backend.")
    precision: str = Field(description="Precision in which it computes.")
    time_us: float = Field(description="Time in microseconds.")
    bound_us: float = Field(description="Shortest time by the roofline of the machine, in microseconds.")
    macs: int = Field(description="Multiply-accumulate operations.")
    bytes: int = Field(description="Bytes of all inputs, weights and outputs.")
    is_reformat: bool = Field(description="Whether it only changes the layout or the element type.")
    kernel: str = Field(description="Kernel that the backend chose. Empty if it does not say so.")


class LayerShare(_Model):
    """What the layers of a precision, or all reformats, contribute."""

    name: str = Field(description="The precision, or `reformat`.")
    layers: int = Field(description="Number of layers.")
    time: float = Field(description="Share of the time.")
    macs: float = Field(description="Share of the MACs.")


class LayerTimes(_Model):
    """A record of `edge-msa bench layers`."""

    file: str = Field(description="The record.")
    name: str = Field(description="Name of the bundle.")
    target: str = Field(description="Device profile of the bundle.")
    backend: str = Field(description="Backend that ran the graph.")
    precision: str = Field(description="Precision of the graph.")
    device: str = Field(description="Device that ran it.")
    subset: str = Field(description="Modalities of the graph.")
    layers: list[LayerTime] = Field(description="The layers, in the order in which they run.")
    shares: list[LayerShare] = Field(description="Number, time and MACs of the layers by precision; reformats apart.")
    total_us: float = Field(description="Sum of the times of the layers. Profiling adds to it.")
    bound_us: float = Field(description="Sum of the bounds of the layers.")
    times_bound: float | None = Field(description="How many times as long as its bound the graph takes.")
    least_times_bound: float | None = Field(description="The smallest such factor of a layer whose time is not 0.")
    most_times_bound: float | None = Field(description="The largest such factor of a layer.")
    macs_per_second: dict[str, float] = Field(description="Measured peak of the machine, by precision.")
    bytes_per_second: float = Field(description="Measured bandwidth of copies of as much memory as the graph touches.")
    machine: dict[str, str] = Field(description="Machine, versions and threads.")


class Section(_Model):
    """A record of another command, as text."""

    title: str = Field(description="Kind and file of the record.")
    text: str = Field(description="The table that the command prints.")


class Figures(_Model):
    """A report: every figure that its page shows."""

    record: Literal["report"] = Field(default="report", description="Kind of the file.")
    schema_: Literal[1] = Field(default=SCHEMA, alias="schema", description="Version of this format.")
    title: str = Field(description="Heading of the page.")
    version: str = Field(description="Version of edge-msa that wrote the report.")
    data: DataInfo | None = Field(description="The data of the metrics. null if no accuracy was measured.")
    subset: str = Field(
        description="Subset of the verdicts and of the trade-off: the letters of the available modalities, l language, "
        "a audio, v vision."
    )
    metric: str = Field(description="Metric of the verdicts. Empty if no accuracy was measured.")
    verdicts: list[Verdict] = Field(description="What to ship, one per target.")
    rows: list[Row] = Field(description="The models.")
    baselines: dict[str, dict[str, float | None]] = Field(
        description="Metrics of constant predictions, by baseline and metric."
    )
    baseline_predictions: dict[str, str] = Field(
        default_factory=dict, description="What each baseline predicts: a score, a class, or emotions."
    )
    bayes_optimum: dict[str, dict[str, float | None]] = Field(
        description="Expected metrics of the optimal predictor, by subset and metric. Empty if it is not known."
    )
    findings: list[str] = Field(description="Further results, as sentences.")
    prediction_intervals: list[TextTable] = Field(
        description="Coverage and width of prediction intervals or sets, one table per condition."
    )
    predicts_sets: bool = Field(
        default=False, description="Whether `prediction_intervals` are about sets of classes, not intervals."
    )
    risk: list[RiskCurve] = Field(
        default_factory=list, description="Errors among the answered predictions, by subset, on complete utterances."
    )
    classes: list[TextTable] = Field(description="Metrics of each class and the confusion matrix, one table per row.")
    notes: list[str] = Field(description="What you must know about the metrics, as sentences.")
    peers: list[PeerComparison] = Field(
        default_factory=list, description="Comparisons with alternatives. They are no part of a verdict."
    )
    layers: list[LayerTimes] = Field(default_factory=list, description="Where the time of graphs goes.")
    sections: list[Section] = Field(description="Records of other commands.")
    provenance: dict[str, str] = Field(description="Seed, revision and digest of each run, and digest of the data.")
    skipped: list[str] = Field(description="Files that are not part of the report, each with the reason.")

    def row(self, identifier: str | None) -> Row | None:
        """Return the row with this id, or None."""
        return next((row for row in self.rows if row.id == identifier), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.model_dump(by_alias=True)

    def to_text(self) -> str:
        """Return the JSON of a file."""
        return json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_script(self) -> str:
        """Return the JSON of a `<script>` element, without characters that could end it."""
        text = json.dumps(self.to_json(), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a report."""
    schema = Figures.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def is_report_file(path: Path) -> bool:
    """Return whether a file is a page, or a JSON file with the figures of a report, and not a record."""
    if path.suffix != ".json":
        return True
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("record") == "report"


def load_figures(path: Path) -> Figures:
    """Load the figures of a report from its JSON file or its page.

    Raises:
        RunError: The file cannot be read, is not a report, or has another schema.
    """
    advice = "Pass a page or a JSON file that edge-msa report wrote"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({error}). {advice}.") from None
    if path.suffix != ".json":
        found = _SCRIPT.search(text)
        if found is None:
            raise RunError(f"{path} must contain the figures of a report, got a file without them. {advice}.")
        text = found[1]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is not valid JSON ({error}). {advice}.") from None
    return parse_figures(value, str(path))


def parse_figures(value: object, where: str) -> Figures:
    """Return the figures of plain JSON values.

    Args:
        value: What `Figures.to_json` returned.
        where: Name of the value in messages.

    Raises:
        RunError: The value is not a report, or has another schema.
    """
    kind, schema = (value.get("record"), value.get("schema")) if isinstance(value, Mapping) else (None, None)
    if kind != "report" or schema != SCHEMA:
        fix = "Update edge-msa" if isinstance(schema, int) and schema > SCHEMA else "Run edge-msa report again"
        actual = f"{kind!r} of schema {schema!r}"
        raise RunError(f"{where} must be a report of schema {SCHEMA}, got {actual}. {fix}.")
    try:
        return Figures.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RunError(f"{where} is not a valid report ({place}: {first['msg']}). Run edge-msa report again.") from None


def values_at(rows: Sequence[Row], subset: str, metric: str) -> list[tuple[Row, Value]]:
    """Return the rows with a finite metric on a subset, and the metric."""
    found = ((row, row.metrics.get(subset, {}).get(metric)) for row in rows)
    return [(row, value) for row, value in found if value is not None and value.value is not None]
