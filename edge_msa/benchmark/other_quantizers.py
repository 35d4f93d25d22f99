"""Quantize the graphs of a bundle with other tools, to compare them with the int8 of this project.

Both tools get the fp32 graphs of the bundle and their own defaults. The session around the graphs stays the same, so
that only the graphs differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from edge_msa_runtime.backends.base import Backend, CreateProgram, Program
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.graphs import Graphs
from edge_msa_runtime.session import Session
from edge_msa_runtime.vendor_packages import import_package

FP32 = "fp32"
NNCF_SAMPLES = 300
"""Calibration samples of NNCF: the default of `nncf.quantize`."""

Inputs = Mapping[str, NDArray[np.generic]]
Quantize = Callable[[Path, Path], Path]
"""Quantizes a graph into a folder, and returns the path of the result, or that of the graph if it stays as it is."""


def onnxruntime_dynamic(graph: Path, folder: Path) -> Path:
    """Quantize a graph with `onnxruntime.quantization.quantize_dynamic` and its defaults."""
    quantize_dynamic = import_package("onnxruntime.quantization").quantize_dynamic
    path = folder / f"dynamic-{graph.name}"
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends a step that does not change these graphs
    try:
        # onnx names temporary files with uuid1, which stores a clock in /var/lib.
        with mock.patch.object(uuid, "uuid1", uuid.uuid4):
            quantize_dynamic(graph, path)
    finally:
        logging.disable(previous)
    return path


def nncf_default(recorded: Mapping[str, list[Inputs]]) -> Quantize:
    """Return a function that quantizes a graph for OpenVINO with `nncf.quantize` and its defaults.

    Args:
        recorded: Inputs of the graphs that ran on calibration data, by the name of their file. A graph without any
            stays as it is.

    Raises:
        BackendUnavailableError: NNCF is not installed.
    """
    openvino = import_package("openvino")  # before NNCF, which would import it with its telemetry
    # NNCF reports its use to a server when it is imported, unless this variable is set.
    os.environ.setdefault("NNCF_CI", "1")
    nncf = import_package("nncf")

    def quantize(graph: Path, folder: Path) -> Path:
        inputs = recorded.get(graph.name)
        if not inputs:
            return graph
        path = folder / f"nncf-{graph.stem}.xml"
        with _silent(nncf.set_log_level):
            quantized = nncf.quantize(
                openvino.Core().read_model(str(graph)), nncf.Dataset(inputs), subset_size=NNCF_SAMPLES
            )
        openvino.save_model(quantized, str(path), compress_to_fp16=False)
        return path

    return quantize


class QuantizedBackend(Backend):
    """A backend that quantizes each graph with another tool before it compiles it.

    `size_bytes` is the size of the graphs that were quantized.
    """

    def __init__(self, inner: Backend, quantize: Quantize, folder: Path) -> None:
        self.name, self.version, self.device = inner.name, inner.version, inner.device
        self.options, self.gains_from_batches = inner.options, inner.gains_from_batches
        self.size_bytes = 0
        self._inner, self._quantize, self._folder = inner, quantize, folder

    def compile(self, path: Path, precision: str = FP32) -> CreateProgram:
        """Quantize a graph and compile the result."""
        quantized = self._quantize(path, self._folder)
        if quantized != path:
            self.size_bytes += graph_size(quantized)
        return self._inner.compile(quantized, precision)


class RecordingBackend(Backend):
    """A backend that keeps the inputs of every run, at most `limit` per graph, by the name of the graph's file."""

    def __init__(self, inner: Backend, limit: int = NNCF_SAMPLES) -> None:
        self.name, self.version, self.device = inner.name, inner.version, inner.device
        self.options, self.gains_from_batches = inner.options, inner.gains_from_batches
        self.recorded: dict[str, list[Inputs]] = {}
        self._inner, self._limit = inner, limit

    def compile(self, path: Path, precision: str = FP32) -> CreateProgram:
        """Compile a graph whose programs record their inputs."""
        create, inputs = self._inner.compile(path, precision), self.recorded.setdefault(path.name, [])
        return lambda: _RecordingProgram(create(), inputs, self._limit)


class _RecordingProgram(Program):
    def __init__(self, inner: Program, recorded: list[Inputs], limit: int) -> None:
        self.inputs, self.outputs, self.device, self.notes = inner.inputs, inner.outputs, inner.device, inner.notes
        self._inner, self._recorded, self._limit = inner, recorded, limit

    def run(self) -> None:
        if len(self._recorded) < self._limit:
            self._recorded.append({name: values.copy() for name, values in self.inputs.items()})
        self._inner.run()

    def close(self) -> None:
        self._inner.close()


def open_on_backend(bundle: Bundle, backend: Backend) -> Session:
    """Return a session that runs the fp32 graphs of a bundle on a backend of the caller.

    Raises:
        BackendUnavailableError: The bundle has no fp32 graphs in ONNX.
    """
    names = [spec.backend for spec in bundle.manifest.graphs if spec.precision == FP32 and spec.file.endswith(".onnx")]
    if not names:
        raise BackendUnavailableError(
            f"{bundle.manifest.name} has no fp32 graphs that another tool could quantize. Export it with fp32."
        )
    chosen = backend.name if backend.name in names else names[0]
    graphs = tuple(
        dataclasses.replace(spec, backend=backend.name)
        for spec in bundle.manifest.graphs
        if spec.precision == FP32 and spec.backend == chosen
    )
    manifest = dataclasses.replace(bundle.manifest, graphs=graphs, intervals=None, class_calibration=None)
    executable = dataclasses.replace(bundle, manifest=manifest)
    return Session(executable, Graphs(executable, backend, FP32, strict=False))


def graph_size(path: Path) -> int:
    """Return the size in bytes of a graph, with the weights of an OpenVINO IR."""
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else None
    return path.stat().st_size + (weights.stat().st_size if weights else 0)


@contextlib.contextmanager
def _silent(set_log_level: Callable[[int], None]) -> Iterator[None]:
    """Keep NNCF's messages and progress bars away from the results on stdout."""
    set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield
