"""The commands that measure the figures of a report again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_msa.benchmark.records import BenchRecord
from edge_msa.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class Sources:
    """Where the models and the data of records are.

    Attributes:
        models: Folder of each run or bundle, by the name that records have.
        data: Name of the built-in data or path of the file, by digest.
        needs_data: Names of the bundles that do not know their data themselves.
    """

    models: Mapping[str, Path] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    needs_data: frozenset[str] = frozenset()


def evaluate_command(evaluation: Evaluation, sources: Sources) -> str | None:
    """Return the command that measures the metrics of a record again, or None if its data is not known."""
    source = evaluation.source
    words = ["edge-msa", "evaluate", _path(source.name, sources)]
    is_unknown = source.name not in sources.models
    if source.name in sources.needs_data or (source.kind == "bundle" and is_unknown):
        if evaluation.digest not in sources.data:
            return None
        words += ["--data", sources.data[evaluation.digest]]
    words += ["--split", evaluation.split]
    if source.kind == "bundle":
        words += ["--backend", source.backend, "--precision", source.precision]
    return shlex.join(words)


def bench_command(record: BenchRecord, measured_together: Iterable[BenchRecord], sources: Sources) -> str | None:
    """Return the command that measures the latency of a record again.

    Args:
        record: The record.
        measured_together: The records of the same file. Their bundles were measured interleaved.
        sources: Where the bundles are.

    Returns:
        The command, or None if the graphs did not run, or if no single command measures the model: a teacher.
    """
    if not record.executed or not record.target:
        return None
    names = dict.fromkeys(item.name for item in measured_together if item.executed and item.target)
    words = ["edge-msa", "bench", *(_path(name, sources) for name in names)]
    if threads := record.machine.get("threads"):
        words += ["--threads", threads]
    if record.rate_hz is not None:
        words += ["--rate", f"{record.rate_hz:g}"]
    return shlex.join(words)


def unmeasured_accuracy_command(name: str, backend: str, precision: str) -> str:
    """Return the command that measures the accuracy of a bundle of which only the latency is known."""
    words: Sequence[str] = ("edge-msa", "evaluate", name, "--backend", backend, "--precision", precision)
    return f"{shlex.join(words)} --output FILE"


def _path(name: str, sources: Sources) -> str:
    return str(sources.models.get(name, name))
