"""Measure a teacher on this machine, in torch and in ONNX Runtime, beside the bundles of its students."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.artifacts.runs import Run
from edge_msa.benchmark.almt import EveryToken, torch_threads
from edge_msa.benchmark.machine import describe_machine, unavailable_reason
from edge_msa.benchmark.records import BenchRecord
from edge_msa.console import activity
from edge_msa.data.dataset import FloatArray, Split
from edge_msa.evaluation.evaluate import Source
from edge_msa.models.almt import Almt
from edge_msa.training.load import load_model
from edge_msa.training.predict import Model
from edge_msa.training.tensors import Batch, SplitTensors
from edge_msa_export.graphs.onnx_export import ExportableModule, export_onnx
from edge_msa_runtime.backends import BackendOptions, open_backend
from edge_msa_runtime.backends.base import Program
from edge_msa_runtime.benchmark.latency_statistics import count_outliers, find_distribution, summarize
from edge_msa_runtime.modalities import MODALITIES, Subset
from edge_msa_runtime.timing import time_interleaved

BACKEND = "onnxruntime"
_PARITY_SAMPLES = 16
_WARMUP_RUNS = 5
_NOTE = "metrics are those of torch"

Inputs = Mapping[str, Tensor]
Compute = Callable[[Inputs], FloatArray]


@dataclass(frozen=True)
class TeacherVariant:
    """One way to compute a model's prediction for one sample."""

    backend: str
    """`torch`, or the backend that runs the graph."""
    title: str
    """The precision for people; empty if it is fp32."""
    inputs: Callable[[Batch], Inputs]
    """Returns the inputs of a batch of one normalized sample."""
    compute: Compute
    """Returns the prediction, (1, outputs)."""
    size_bytes: int
    """Size of the weights, or of the graph with its weights."""
    graph: Path | None = None
    """The ONNX graph; None for torch."""


class _WholeSample(nn.Module):
    """A network as a graph: the frames of each modality (1, T, dim), then their validity (1, T) -> (1, outputs)."""

    def __init__(self, network: Model, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the prediction, (1, outputs)."""
        count = len(self.names)
        frames = dict(zip(self.names, inputs[:count], strict=True))
        valid = dict(zip(self.names, inputs[count:], strict=True))
        outputs: Tensor = self.network(frames, valid)
        return outputs


def bench_teacher(
    run: Run, source: Source, split: Split, *, threads: int = 1, num_runs: int = 100
) -> list[BenchRecord]:
    """Measure the latency of a teacher for one sample with all its modalities, with interleaved timing.

    Inputs have the lengths of a student's windows. They are normalized before, which is not timed. In ONNX Runtime,
    ALMT is measured twice: as this project computes it, which skips the tokens that do not affect the prediction, and
    as published, with every token. The last record for ONNX Runtime is the reference for speedups.

    Args:
        run: The teacher.
        source: What its evaluation states.
        split: Samples with the modalities of the teacher, not normalized. The longest is timed.
        threads: CPU threads.
        num_runs: Timed predictions.

    Returns:
        One record for torch, then those for ONNX Runtime, if it is installed.
    """
    model, spec = load_model(run), run.spec
    totals = np.sum([frames.lengths for frames in split.modalities.values()], axis=0)
    rows = np.argsort(-totals, kind="stable")[:_PARITY_SAMPLES]
    tensors = SplitTensors(spec.normalize_split(split.select(rows)), spec.dims, torch.device("cpu"))
    batches = list(tensors.batches(1))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-msa-")))
        stack.enter_context(torch_threads(threads))
        stack.enter_context(torch.inference_mode())
        variants = teacher_variants(model, spec.windows, batches[0], folder, threads)
        outputs = [np.concatenate([item.compute(item.inputs(batch)) for batch in batches]) for item in variants]
        with activity(f"Measuring latency of the teacher: {len(variants)} variants, interleaved", is_timed=True):
            calls = [partial(item.compute, item.inputs(batches[0])) for item in variants]
            times = time_interleaved(calls, num_runs, _WARMUP_RUNS)
    subset, machine = Subset.of(spec.dims).value, {**describe_machine(), "threads": str(threads)}
    records = []
    for item, predicted, milliseconds in zip(variants, outputs, times, strict=True):
        is_torch = item is variants[0]
        records.append(
            BenchRecord(
                name=source.name,
                target="",
                backend=item.backend,
                precision=source.precision,
                device=source.device,
                latency_ms={subset: summarize([milliseconds])},
                distribution_ms={subset: tuple(find_distribution([milliseconds]))},
                predictions={subset: len(milliseconds)},
                outliers={subset: count_outliers([milliseconds])},
                size_bytes=item.size_bytes,
                parity=None if is_torch else float(np.abs(predicted - outputs[0]).max()),
                reference=item is variants[-1] and not is_torch,
                precision_title=item.title,
                note="" if is_torch else _NOTE,
                machine=machine,
            )
        )
    return records


def onnxruntime_source(source: Source) -> Source:
    """Return the source of a teacher's metrics in ONNX Runtime. They are those of torch, as its device says."""
    return replace(source, backend=BACKEND, device=f"{source.backend}, {source.device}")


def teacher_variants(
    model: Model, windows: Mapping[str, int], batch: Batch, folder: Path, threads: int
) -> list[TeacherVariant]:
    """Return the ways to compute a model: torch, then ONNX Runtime if it is installed.

    In ONNX Runtime, ALMT has two: the tokens that affect its prediction, and every token, as published.

    Args:
        model: The network, on the CPU.
        windows: Frames of each modality that a graph takes.
        batch: One normalized sample.
        folder: Folder for the graphs, which must exist as long as the variants are used.
        threads: CPU threads of ONNX Runtime.
    """
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    names = tuple(model.config.dims)
    whole = _WholeSample(model, names)
    fit_windows = partial(_whole_inputs, windows)
    variants = [TeacherVariant("torch", "", fit_windows, lambda inputs: whole(*inputs.values()).numpy(), size)]
    if unavailable_reason(BACKEND) is not None:
        return variants
    graphs: list[tuple[str, nn.Module, Callable[[Batch], Inputs]]] = [("", whole, fit_windows)]
    if isinstance(model, Almt) and set(names) == set(MODALITIES):
        frames_only = partial(_frame_inputs, model.config.lengths)
        graphs = [
            ("fp32, needed tokens", whole, fit_windows),
            ("fp32, every token", EveryToken(model), frames_only),
        ]
    for title, module, inputs in graphs:
        path = folder / f"{len(variants)}.onnx"
        path.write_bytes(export_onnx(ExportableModule(module, inputs(batch), ("prediction",))).SerializeToString())
        variants.append(graph_variant(title, path, inputs, threads))
    return variants


def graph_variant(title: str, graph: Path, inputs: Callable[[Batch], Inputs], threads: int) -> TeacherVariant:
    """Return the variant of a graph in ONNX Runtime.

    Args:
        title: The precision for people; empty if it is fp32.
        graph: The ONNX file, without external weights.
        inputs: As in `TeacherVariant`.
        threads: CPU threads.
    """
    program = open_backend(BACKEND, BackendOptions(threads=threads)).load(graph, "fp32")
    return TeacherVariant(BACKEND, title, inputs, partial(_run, program), graph.stat().st_size, graph)


def _run(program: Program, inputs: Inputs) -> FloatArray:
    outputs: FloatArray = program({name: value.numpy() for name, value in inputs.items()})["prediction"]
    return outputs


def _whole_inputs(windows: Mapping[str, int], batch: Batch) -> Inputs:
    """Return the frames (1, T, dim) and the validity (1, T) of each modality, padded or cut to its window."""
    valid = {name: _fit(mask[..., None], windows[name])[..., 0] for name, mask in batch.valid.items()}
    return dict(_frame_inputs(windows, batch)) | {f"valid_{name}": mask for name, mask in valid.items()}


def _frame_inputs(lengths: Mapping[str, int], batch: Batch) -> Inputs:
    """Return the frames of each modality, (1, T, dim). Those that are not valid are zeros."""
    return {
        name: _fit(batch.frames[name] * batch.valid[name][..., None], lengths[name])
        for name in MODALITIES
        if name in batch.frames
    }


def _fit(values: Tensor, length: int) -> Tensor:
    """Return values (1, T, d) padded or cut to (1, length, d)."""
    values = values[:, :length]
    return F.pad(values, (0, 0, 0, length - values.shape[1])).contiguous()
