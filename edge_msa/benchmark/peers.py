"""Measure a bundle beside what you could use instead, all on the same samples and in one run.

Beside the bundles are their teachers, in torch and in ONNX Runtime; ALMT as published; and the same networks after the
default int8 of other tools: ONNX Runtime's dynamic quantization, and NNCF for OpenVINO.

Single predictions are timed, interleaved. Each contender predicts the same samples in the same order. Bundles, and
bundles that another tool quantized, run through the runtime: the time includes checks of the inputs, normalization and
the interpretation of the output. Teachers get frames that are normalized and padded already, and that is not timed, so
the comparison favors them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge_msa.artifacts.runs import Run
from edge_msa.benchmark.almt import EveryToken, random_almt
from edge_msa.benchmark.machine import unavailable_reason
from edge_msa.benchmark.other_quantizers import (
    FP32,
    NNCF_SAMPLES,
    Inputs,
    Quantize,
    QuantizedBackend,
    RecordingBackend,
    graph_size,
    nncf_default,
    onnxruntime_dynamic,
    open_on_backend,
)
from edge_msa.benchmark.peer_table import Kind, Ratio
from edge_msa.benchmark.teachers import BACKEND as ONNXRUNTIME
from edge_msa.benchmark.teachers import TeacherVariant, graph_variant, teacher_variants
from edge_msa.console import activity
from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.errors import DataError
from edge_msa.evaluation.predictors import session_inputs, session_predictor
from edge_msa.evaluation.subsets import sample_rows
from edge_msa.models.almt import AlmtConfig
from edge_msa.training.load import load_model
from edge_msa.training.tensors import Batch, SplitTensors
from edge_msa_export.graphs.onnx_export import ExportableModule, export_onnx
from edge_msa_runtime import load
from edge_msa_runtime.backends import BackendOptions, open_backend
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.errors import BackendUnavailableError, first_line
from edge_msa_runtime.modalities import MODALITIES, Subset
from edge_msa_runtime.session import Session
from edge_msa_runtime.timing import BLOCK_SIZE, time_interleaved

DYNAMIC = "dynamic int8"
NNCF = "NNCF int8"
PUBLISHED_ALMT = "ALMT, untrained"
TIMED_SAMPLES = 64
"""Samples that the timed predictions go through, evenly spaced in the split."""
_WARMUP_RUNS = 20
_MIN_BLOCKS = 5
_RESAMPLES = 2000


@dataclass(frozen=True)
class Contender:
    """One network on one backend at one precision."""

    name: str
    """Name of the bundle or run, or of the published network."""
    kind: Kind
    backend: str
    """`torch`, or the backend that runs the graphs."""
    precision: str
    """Precision for people."""
    is_ours: bool = False
    """Whether this is the default of the first bundle, which all others are compared with."""
    size_bytes: int | None = None
    """Size of the files that the backend needs for all subsets and streams; for a graph of a teacher or a peer, of this
    graph only."""
    subset: str = ""
    """Modalities that it takes."""
    note: str = ""
    """Why it was not measured, or what was left out."""
    scores: FloatArray | None = None
    """Predictions of the samples, (n,) or (n, outputs); None if it was not measured or is not trained."""
    calls: tuple[Callable[[], object], ...] = ()
    """Predict one of the timed samples each. Empty if it was not measured."""


@dataclass(frozen=True)
class Samples:
    """The samples that all contenders predict."""

    rows: NDArray[np.int64]
    """Their rows in the split."""
    timed: NDArray[np.int64]
    """Positions in `rows` of the samples whose predictions are timed."""


def select_samples(inputs: Sequence[Split]) -> Samples:
    """Return the samples that have a valid frame in every one of these views of a split.

    Raises:
        DataError: There are none.
    """
    rows = functools.reduce(np.intersect1d, [sample_rows(split, _subset(split)) for split in inputs])
    if not len(rows):
        raise DataError("No sample of the split has a frame that all models take. Pass other data or fewer models.")
    return Samples(rows, np.unique(np.linspace(0, len(rows) - 1, TIMED_SAMPLES).astype(np.int64)))


def select_calibration(dataset: Dataset) -> Split | None:
    """Return samples of the train split, or else of the valid split, for tools that calibrate; None if both lack."""
    split = next((dataset.splits[name] for name in ("train", "valid") if name in dataset.splits), None)
    if split is None:
        return None
    rows = sample_rows(split, _subset(split))
    return split.select(rows[:: max(1, len(rows) // NNCF_SAMPLES)][:NNCF_SAMPLES])


def bundle_contenders(
    bundle: Bundle, split: Split, samples: Samples, stack: ExitStack, *, threads: int, is_first: bool
) -> Iterator[Contender]:
    """Yield a bundle on every backend and at every precision, through the runtime.

    Args:
        bundle: The bundle.
        split: The split, with the inputs of the bundle.
        samples: Which of its samples to predict.
        stack: Closes the sessions.
        threads: CPU threads.
        is_first: Whether its default is what all others are compared with.
    """
    manifest = bundle.manifest
    default = next((name for name in manifest.backends if unavailable_reason(name) is None), "")
    for backend in manifest.backends:
        reason = unavailable_reason(backend)
        for precision in bundle.precisions(backend):
            title = manifest.describe_precision(backend, precision) or precision
            ours = is_first and backend == default and manifest.precision.get(backend) == precision
            size = bundle.size(bundle.needed_files(backend, precision))
            contender = Contender(manifest.name, "student", backend, title, ours, size, _subset(split).value)
            if reason is not None:
                yield replace(contender, note=reason)
                continue
            session = stack.enter_context(load(bundle.path, backend=backend, precision=precision, threads=threads))
            yield _measured_session(contender, session, split, samples)


def quantized_bundles(
    bundle: Bundle,
    split: Split,
    calibration: Split | None,
    samples: Samples,
    stack: ExitStack,
    folder: Path,
    *,
    threads: int,
) -> Iterator[Contender]:
    """Yield the fp32 graphs of a bundle after the default int8 of ONNX Runtime and of NNCF.

    Args:
        bundle: The bundle.
        split: The split, with the inputs of the bundle.
        calibration: Samples for NNCF, with the inputs of the bundle.
        samples: Which of the samples of `split` to predict.
        stack: Closes the sessions.
        folder: Folder for the graphs, which must exist as long as the sessions.
        threads: CPU threads.
    """
    for backend, title in ((ONNXRUNTIME, DYNAMIC), ("openvino", NNCF)):
        contender = Contender(bundle.manifest.name, "peer", backend, title, subset=_subset(split).value)
        try:
            if title == NNCF:
                quantize: Quantize = nncf_default(_record_inputs(bundle, calibration))
            else:
                quantize = onnxruntime_dynamic
            target = folder / backend
            target.mkdir(parents=True)
            executing = QuantizedBackend(open_backend(backend, BackendOptions(threads=threads)), quantize, target)
            session = stack.enter_context(open_on_backend(bundle, executing))
            yield _measured_session(contender, session, split, samples, partial(getattr, executing, "size_bytes"))
        except BackendUnavailableError as error:
            yield replace(contender, note=str(error))


def teacher_contenders(
    run: Run, dataset: Dataset, split: Split, samples: Samples, folder: Path, *, threads: int
) -> Iterator[Contender]:
    """Yield a run in torch and in ONNX Runtime, and after ONNX Runtime's dynamic quantization.

    Args:
        run: A teacher.
        dataset: Its name is in messages.
        split: The split, with the inputs of the run, not normalized.
        samples: Which of its samples to predict.
        folder: Folder for the graphs, which must exist as long as the contenders.
        threads: CPU threads of ONNX Runtime.
    """
    model, name = load_model(run), run.path.resolve().name
    tensors = SplitTensors(run.spec.normalize_split(split.select(samples.rows)), run.spec.dims, torch.device("cpu"))
    batches = list(tensors.batches(1))
    folder.mkdir(parents=True)
    variants: list[tuple[Kind, TeacherVariant]] = [
        ("teacher", item) for item in teacher_variants(model, run.spec.windows, batches[0], folder, threads)
    ]
    if (published := variants[-1][1]).graph is not None:
        title = ", ".join(filter(None, [DYNAMIC, published.title.removeprefix(f"{FP32}, ")]))
        quantized = onnxruntime_dynamic(published.graph, folder)
        variants.append(("peer", graph_variant(title, quantized, published.inputs, threads)))
    for role, item in variants:
        with activity(f"Predicting {dataset.name}: {name}, {item.backend} {item.title or FP32}"):
            contender = Contender(name, role, item.backend, item.title or FP32, subset=_subset(split).value)
            yield _measured_variant(contender, item, batches, samples)


def published_almt(
    dims: Mapping[str, int], lengths: Mapping[str, int], outputs: int, folder: Path, *, threads: int
) -> Contender:
    """Return ALMT as published, with random weights, in ONNX Runtime. Its latency does not depend on the weights.

    Args:
        dims: Features per frame of each modality.
        lengths: Frames of each modality.
        outputs: Values of a prediction.
        folder: Folder for the graph.
        threads: CPU threads.
    """
    contender = Contender(
        PUBLISHED_ALMT, "peer", ONNXRUNTIME, f"{FP32}, every token", subset=Subset.of(MODALITIES).value
    )
    if set(dims) != set(MODALITIES):
        return replace(contender, note=f"needs language, audio and vision, got {', '.join(dims)}")
    if (reason := unavailable_reason(ONNXRUNTIME)) is not None:
        return replace(contender, note=reason)
    module = EveryToken(random_almt(AlmtConfig(dims, lengths, outputs=outputs)))
    folder.mkdir(parents=True)
    path = folder / "almt.onnx"
    path.write_bytes(export_onnx(ExportableModule(module, module.inputs, ("prediction",))).SerializeToString())
    program = open_backend(ONNXRUNTIME, BackendOptions(threads=threads)).load(path, FP32)
    for buffer in program.inputs.values():
        buffer[...] = np.random.default_rng(0).standard_normal(buffer.shape)
    note = "has random weights: only its latency and size are those of a trained one"
    return replace(contender, size_bytes=graph_size(path), note=note, calls=(program.run,))


def time_contenders(contenders: Sequence[Contender], num_runs: int) -> list[NDArray[np.float64] | None]:
    """Return the times of single predictions in milliseconds, (num_runs,) each; None if one was not measured.

    The predictions are interleaved in blocks. Each contender goes through its samples again and again.
    """
    measured = [item for item in contenders if item.calls]
    with activity(f"Measuring latency: {len(measured)} contenders, interleaved", is_timed=True), torch.inference_mode():
        calls = [partial(_call_next, itertools.cycle(item.calls)) for item in measured]
        times = iter(time_interleaved(calls, num_runs, _WARMUP_RUNS))
    return [next(times) if item.calls else None for item in contenders]


def latency_ratio(times: NDArray[np.float64], ours: NDArray[np.float64]) -> Ratio:
    """Return the ratio of two medians with its 95 % interval.

    The interval is a percentile bootstrap over the blocks of the measurement, because times that follow each other are
    alike (Künsch 1989, "The jackknife and the bootstrap for general stationary observations"). Both are resampled
    together: block i of one was measured just before or after block i of the other.

    Args:
        times: (n,): times of the other, interleaved with `ours`.
        ours: (n,): times of ours.
    """
    value = float(np.median(times) / np.median(ours))
    blocks = len(times) // BLOCK_SIZE
    if blocks < _MIN_BLOCKS:
        return Ratio(value, None, None)
    first, second = (values[: blocks * BLOCK_SIZE].reshape(blocks, BLOCK_SIZE) for values in (times, ours))
    generator = np.random.default_rng(0)
    drawn = generator.integers(blocks, size=(_RESAMPLES, blocks))
    ratios = [np.median(first[chosen]) / np.median(second[chosen]) for chosen in drawn]
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Ratio(value, float(low), float(high))


def _call_next(calls: Iterator[Callable[[], object]]) -> None:
    next(calls)()


def _measured_session(
    contender: Contender,
    session: Session,
    split: Split,
    samples: Samples,
    size: Callable[[], int] | None = None,
) -> Contender:
    """Return a contender with the predictions of a session. `size` is called after them."""
    subset = _subset(split)
    with activity(f"Predicting: {contender.name}, {contender.backend} {contender.precision}"):
        try:
            scores = session_predictor(session)(split.select(samples.rows), subset)
        except Exception as error:  # graphs of other tools may fail in any way, which is a result
            if contender.kind != "peer":
                raise
            return replace(contender, note=f"fails: {first_line(error)}")
    inputs = [session_inputs(session, split, int(samples.rows[position]), subset) for position in samples.timed]
    return replace(
        contender,
        size_bytes=contender.size_bytes if size is None else size(),
        scores=scores,
        calls=tuple(partial(session.predict, **item) for item in inputs),
    )


def _measured_variant(
    contender: Contender, variant: TeacherVariant, batches: Sequence[Batch], samples: Samples
) -> Contender:
    with torch.inference_mode():
        inputs = [variant.inputs(batch) for batch in batches]
        outputs = np.concatenate([variant.compute(item) for item in inputs])
    return replace(
        contender,
        size_bytes=variant.size_bytes,
        scores=outputs[:, 0] if outputs.shape[1] == 1 else outputs,
        calls=tuple(partial(variant.compute, inputs[position]) for position in samples.timed),
    )


def _record_inputs(bundle: Bundle, calibration: Split | None) -> Mapping[str, list[Inputs]]:
    """Return the inputs that samples give the graphs of a bundle, by the name of the graph's file.

    Raises:
        BackendUnavailableError: There are no samples, or ONNX Runtime is not installed.
    """
    if calibration is None:
        raise BackendUnavailableError("needs a train or valid split to calibrate, which the data does not have")
    recording = RecordingBackend(open_backend(ONNXRUNTIME))
    with open_on_backend(bundle, recording) as session, activity("Recording the inputs of the graphs"):
        session_predictor(session)(calibration, _subset(calibration))
    return recording.recorded


def _subset(split: Split) -> Subset:
    return Subset.of(split.modalities)
