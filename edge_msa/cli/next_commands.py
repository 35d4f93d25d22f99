"""The command to suggest after a command that suggests none itself.

Commands whose stdout is the content of a file (`devices show`, `config show`, `predict` without --output) suggest none.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.bundle.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from edge_msa.data.inspect import Inspection

Values = Mapping[str, Any]
"""Parameters of a command by name."""
Words = list[Any]
"""A command line."""


def suggest_next(command: str, values: Mapping[str, Any]) -> str | None:
    """Return the command to run after another one, or None if there is nothing to suggest.

    Args:
        command: The command without the program, e.g. `data inspect`.
        values: Its parameters by name.
    """
    suggest = _SUGGESTIONS.get(command)
    words = suggest(values) if suggest else None
    return shlex.join(map(str, words)) if words else None


def suggest_for_data(file: str | Path, inspection: Inspection, *, task: str | None = None) -> str | None:
    """Return the command that uses a feature file; None if no command can.

    Args:
        file: The file, or `synthetic`.
        inspection: What is in it.
        task: The task that the user passed, which the file may not state.
    """
    options = ["--task", task] if task else []
    if not inspection.is_labeled:
        return shlex.join(["edge-msa", "predict", "MODEL", "--data", str(file), "--output", "predictions.csv"])
    if inspection.training_problem:
        return None
    if inspection.dims:
        return shlex.join(["edge-msa", "train", "--data", str(file), *options, "--output-dir", "teacher"])
    words = ["edge-msa", "text", "train", "--transcripts", str(file), "--encoder", "wordpieces"]
    return shlex.join([*words, *options, "--output-dir", "words"])


def _open_page(values: Values) -> Words | None:
    """Return what opens the page. Other formats are no pages, and --compare and --replay write none."""
    if values["output"].suffix != ".html" or values.get("compare") or values.get("replay"):
        return None
    return ["python", "-m", "webbrowser", values["output"]]


def _report(values: Values) -> Words:
    return ["edge-msa", "report", values["output_dir"], "--output", "report.html"]


def _after_evaluate(values: Values) -> Words:
    """Return what shows more about the model."""
    path, data = values["path"], values["data"]
    if _is_bundle(path):
        return ["edge-msa", "bench", path]
    return ["edge-msa", "explain", path, *(["--data", data] if data else []), "--output", "explanation.html"]


def _after_compare(values: Values) -> Words | None:
    runs = sorted(values["output_dir"].glob("*-seed0"))
    return ["edge-msa", "calibrate", runs[0], "--output-dir", "calibrated"] if runs else None


def _after_pipeline(values: Values) -> Words | None:
    """Return what measures the first bundle that can run here."""
    from edge_msa.benchmark.machine import can_run

    bundles = [path for path in sorted(values["output_dir"].glob("bundle-*")) if _is_bundle(path) and can_run(path)]
    return _evaluate(bundles[0], values["data"]) if bundles else None


def _after_inspect(values: Values) -> Words | None:
    return _evaluate(values["path"]) if _is_bundle(values["path"]) else None


def _after_predict(values: Values) -> Words | None:
    return _evaluate(values["model"]) if values["output"] else None


def _evaluate(path: Path, data: str | None = None) -> Words:
    """Return the evaluation of a run or bundle. A bundle that was made from a file needs the file."""
    if data is None and _is_bundle(path) and not _is_from_synthetic_data(path):
        data = "FILE"
    return ["edge-msa", "evaluate", path, *(["--data", data] if data else [])]


def _is_from_synthetic_data(bundle: Path) -> bool:
    from edge_msa.data.opening import is_synthetic
    from edge_msa.errors import EdgeMsaError
    from edge_msa_export.provenance import Provenance
    from edge_msa_runtime.bundle.loader import open_bundle

    try:
        data = Provenance.from_json(open_bundle(bundle).manifest.provenance).data
    except EdgeMsaError:
        return False
    return data is not None and is_synthetic(data.name)


def _is_bundle(path: Path) -> bool:
    return (path / MANIFEST_NAME).is_file()


_SUGGESTIONS: Mapping[str, Callable[[Values], Words | None]] = {
    "bench bundle": lambda values: _evaluate(values["bundles"][0]),
    "compare": _after_compare,
    "config list": lambda _: ["edge-msa", "config", "show", "hrlf"],
    "config validate": lambda values: ["edge-msa", "pipeline", "--recipe", values["file"], "--output-dir", "runs"],
    "devices list": lambda _: ["edge-msa", "devices", "show", "laptop-x86"],
    "evaluate": _after_evaluate,
    "explain": _open_page,
    "inspect": _after_inspect,
    "pipeline": _after_pipeline,
    "predict": _after_predict,
    "report": _open_page,
    "reproduce": _report,
    "search": _report,
    "text sweep": _report,
}
