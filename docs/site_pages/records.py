"""Every field of the JSON files that have a fixed schema, from the docstrings of their dataclasses."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import griffe
from pydantic import TypeAdapter

from edge_msa.artifacts.model_spec import ModelSpec, TextInputSpec
from edge_msa.artifacts.runs import RunInfo
from edge_msa.benchmark.records import BENCH_SCHEMA, BenchRecord
from edge_msa.reporting import figures
from edge_msa_runtime import classes, features, intervals
from edge_msa_runtime.benchmark.bench import ComparedWith
from edge_msa_runtime.benchmark.energy import Energy
from edge_msa_runtime.benchmark.latency_statistics import Measured, Outliers
from edge_msa_runtime.bundle import manifest
from site_pages.markdown import code, prose, table

_MANIFEST = (
    ("The manifest", "", manifest.Manifest),
    ("`task`", "task", manifest.TaskSpec),
    ("`modalities`", "modalities.<name>", manifest.ModalitySpec),
    ("`features` of a modality", "modalities.<name>.features", features.FeatureSource),
    ("`states` of a modality", "modalities.<name>.states[]", manifest.StateSpec),
    ("`language`", "language", manifest.TextSpec),
    ("`graphs`", "graphs[]", manifest.GraphSpec),
    ("`intervals`", "intervals", intervals.Intervals),
    ("`class_calibration`", "class_calibration", classes.ClassCalibration),
    ("`sets` of classes", "class_calibration.sets", classes.PredictionSets),
)
_RUN = (
    ("run.json", "", RunInfo),
    ("`spec`", "spec", ModelSpec),
    ("`text_input`", "spec.text_input", TextInputSpec),
)
_REPORT = (
    ("A report", "", figures.Figures),
    ("`data`", "data", figures.DataInfo),
    ("`verdicts`", "verdicts[]", figures.Verdict),
    ("`rows`", "rows[]", figures.Row),
    ("`provenance` of a row", "rows[].provenance", figures.Provenance),
    ("A value", "rows[].metrics.<subset>.<metric>", figures.Value),
    ("A table of text", "prediction_intervals[]", figures.TextTable),
    ("`sections`", "sections[]", figures.Section),
)
_BENCHMARK = (
    ("A benchmark record", "", BenchRecord),
    ("A measured value", "latency_ms.<subset>.<percentile>, load_ms, peak_memory_mib", Measured),
    ("`outliers`", "outliers.<subset>", Outliers),
    ("`comparisons`", "comparisons[]", ComparedWith),
    ("`energy`", "energy", Energy),
)
DESCRIBED = tuple(kind for _, _, kind in (*_MANIFEST, *_RUN, *_BENCHMARK))
"""The dataclasses whose fields the reference lists."""


def describe_manifest() -> str:
    """Return a section for each object in `manifest.json`."""
    return "\n".join(_section(title, path, kind) for title, path, kind in _MANIFEST)


def describe_run() -> str:
    """Return a table of the fields of `run.json`, and one for each object in it."""
    return "\n".join(_section(title, path, kind) for title, path, kind in _RUN)


def describe_benchmark() -> str:
    """Return the fields of a benchmark record."""
    return "\n".join(_section(title, path, kind) for title, path, kind in _BENCHMARK)


def describe_report() -> str:
    """Return the fields of a report as JSON."""
    parts = []
    for title, path, kind in _REPORT:
        where = f"At {code(path)}. " if path else ""
        rows = [
            (code(field.alias or name), code(_type_name(field.annotation)), prose(field.description or ""))
            for name, field in kind.model_fields.items()
        ]
        fields = table(("field", "type", "meaning"), rows)
        parts.append(f"### {title}\n\n{where}{prose(inspect.getdoc(kind) or '')}\n\n{fields}")
    return "\n".join(parts)


def _type_name(annotation: object) -> str:
    """Return a type without the modules of its parts."""
    text = annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else annotation
    return re.sub(r"(?:\w+\.)+(?=\w)", "", str(text))


def describe_benchmark_schema() -> str:
    """Return the JSON Schema (draft 2020-12) of a file with benchmark records, docs/reference/bench.schema.json.

    `python docs/site_pages/write_schema.py` writes the file.
    """
    record = TypeAdapter(BenchRecord).json_schema()
    definitions = {**record.pop("$defs"), "BenchRecord": record}
    for _, _, kind in _BENCHMARK:
        definition = definitions[kind.__name__]
        definition["description"] = (inspect.getdoc(kind) or "").split("\n\nAttributes:")[0].replace("\n", " ")
        meanings = field_meanings(kind)
        for name, value in definition["properties"].items():
            value.pop("title", None)
            value["description"] = " ".join(meanings[name].split())
    marks: dict[str, Any] = {"record": {"const": "bench"}, "schema": {"const": BENCH_SCHEMA}}
    record["properties"] = marks | record["properties"]
    record["required"] = [*marks, *record["required"]]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Benchmark records of edge-msa, schema {BENCH_SCHEMA}",
        "type": "array",
        "items": {"$ref": "#/$defs/BenchRecord"},
        "$defs": definitions,
    }
    return json.dumps(schema, indent=2) + "\n"


def field_meanings(kind: type) -> dict[str, str]:
    """Return the description of each documented field of a dataclass, by name, also of those of its base classes."""
    bases = [base for base in kind.__bases__ if dataclasses.is_dataclass(base)]
    meanings = {name: meaning for base in bases for name, meaning in field_meanings(base).items()}
    described = _load_class(kind)
    meanings |= {
        name: member.docstring.value for name, member in described.attributes.items() if member.docstring is not None
    }
    if described.docstring is not None:
        for part in described.docstring.parse("google", warnings=False):
            if part.kind is griffe.DocstringSectionKind.attributes:
                meanings |= {item.name: item.description for item in part.value}
    return meanings


@cache
def _load_class(kind: type) -> griffe.Class:
    path = Path(inspect.getsourcefile(kind) or "")
    module = griffe.visit(kind.__module__, path, path.read_text(encoding="utf-8"))
    found: griffe.Class = module[kind.__qualname__]
    return found


def _section(title: str, path: str, kind: type) -> str:
    heading = f"### {title}\n\n"
    where = f"At {code(path)}. " if path else ""
    summary, *rest = (inspect.getdoc(kind) or "").split("\n\nAttributes:")[0].split("\n\n", 1)
    text = where + prose(summary) + "\n\n" + "\n\n".join(rest).replace("<", "&lt;") + "\n\n"
    return heading + text + _fields_table(kind)


def _fields_table(kind: type) -> str:
    meanings = field_meanings(kind)
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    return table(
        ("field", "type", "meaning"), [(code(name), code(types[name]), prose(meanings[name])) for name in types]
    )
