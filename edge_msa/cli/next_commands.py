"""The command to suggest after a command that suggests none itself.

Commands whose stdout is the content of a file (`devices show`, `config show`, `predict` without --output) suggest none.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_msa_runtime.bundle.manifest import MANIFEST_NAME

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


def _open_page(values: Values) -> Words:
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
    bundles = sorted(values["output_dir"].glob("bundle-*"))
    return ["edge-msa", "evaluate", bundles[0]] if bundles else None


def _after_inspect(values: Values) -> Words | None:
    return ["edge-msa", "evaluate", values["path"]] if _is_bundle(values["path"]) else None


def _after_predict(values: Values) -> Words | None:
    return ["edge-msa", "evaluate", values["model"]] if values["output"] else None


def _is_bundle(path: Path) -> bool:
    return (path / MANIFEST_NAME).is_file()


_SUGGESTIONS: Mapping[str, Callable[[Values], Words | None]] = {
    "bench bundle": lambda values: ["edge-msa", "evaluate", values["bundles"][0]],
    "compare": _after_compare,
    "config list": lambda _: ["edge-msa", "config", "show", "hrlf"],
    "config validate": lambda values: ["edge-msa", "pipeline", "--recipe", values["file"], "--output-dir", "runs"],
    "data inspect": lambda values: ["edge-msa", "train", "--data", values["file"], "--output-dir", "teacher"],
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
