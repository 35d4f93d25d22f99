"""Score mixed-precision plans: compare INT8 with FP32 predictions of a student's window graphs on validation data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.evaluation.metrics import gate_points, measure
from edge_msa.evaluation.subsets import available_subsets, subsets_with_signal
from edge_msa.quantization.calibration_files import Calibration
from edge_msa.quantization.text_encoder_graph import TextEncoderGraph
from edge_msa_calibrate.gate import check_accuracy, measure_distance
from edge_msa_calibrate.layers import encoder_of
from edge_msa_calibrate.plan import make_plan
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.schemes import scheme_named
from edge_msa_calibrate.sensitivity import PlanScore
from edge_msa_export.graphs.files import Graph, GraphsByKey
from edge_msa_export.int8_layers import representative_keys
from edge_msa_export.request import GraphVariant
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.backends.base import Program
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset

Rows = NDArray[np.int64]


class PlanScorer:
    """Score plans of one quantization scheme. Call it with the weights whose layers stay FP32.

    Layers that the calibration keeps in FP32 stay FP32 in every plan. A plan for the layers of a text encoder encodes
    the texts again.

    Args:
        graphs: FP32 graphs of the student.
        calibration: The student's calibration.
        backend: Backend of the target. If it does not run on a workstation (TensorRT), another one replaces it.
        scheme: Quantization scheme of the backend.
        dataset: The data, not normalized. The samples come from its validation split.
        gap_frames: The student's gap frames (d,), not normalized, by modality.
        text_encoder: The student's text encoder, or None if it has none.
        scratch: Folder for graph files.
        num_samples: Number of samples.
        seed: Seed of their random selection.
    """

    def __init__(
        self,
        graphs: GraphsByKey,
        calibration: Calibration,
        backend: str,
        scheme: str,
        dataset: Dataset,
        gap_frames: Mapping[str, FloatArray],
        text_encoder: TextEncoderGraph | None,
        scratch: Path,
        *,
        num_samples: int,
        seed: int,
    ) -> None:
        valid = dataset.split("valid")
        rows = np.sort(np.random.default_rng(seed).permutation(len(valid))[:num_samples])
        self._graphs = graphs
        self._calibration = calibration
        self._scheme = scheme
        self._task = dataset.task
        self._split = valid.select(rows)
        self._gap_frames = gap_frames
        self._text_encoder = text_encoder
        self._scratch = scratch
        self._backend = open_backend(GraphVariant(backend, "int8", scheme).measured_by)
        self._reference = {
            subset: self._predict(self._window(subset), self._split.select(part), subset)
            for subset, part in available_subsets(self._split)
        }
        self._signal = frozenset(
            subsets_with_signal(self._task, self._split, lambda _, subset: _squeeze(self._reference[subset]))
        )
        self._predictions: dict[tuple[Subset, frozenset[str]], FloatArray] = {}
        self._encoded: tuple[frozenset[str], Split] | None = None

    @property
    def backend_name(self) -> str:
        """Name of the backend that runs the graphs."""
        return self._backend.name

    @property
    def num_samples(self) -> int:
        """Number of validation samples."""
        return len(self._split)

    @property
    def weights(self) -> tuple[str, ...]:
        """The weights whose layers may be INT8: those of the encoders, then those of the text encoder."""
        graphs = [self._graphs[representative_keys(self._graphs)[0]]]
        if self._text_encoder is not None:
            graphs.append(self._text_encoder.graph)
        calibrated = {encoder_of(key) for key in self._calibration.ranges}
        scheme = scheme_named(self._scheme)
        return tuple(
            layer.weight for graph in graphs for layer in make_plan(graph, scheme, calibrated, self._always_fp32).layers
        )

    def __call__(self, fp32_weights: Collection[str]) -> PlanScore:
        """Return the score of the plan that keeps these weights' layers in FP32."""
        predictions = {
            subset: self._predict_int8(subset, rows, frozenset(fp32_weights))
            for subset, rows in available_subsets(self._split)
        }
        gate = check_accuracy(self._points(self._reference), self._points(predictions), self._signal, 0.0)
        return PlanScore(gate.drop, measure_distance(self._reference, predictions))

    @property
    def _always_fp32(self) -> Mapping[str, str]:
        return self._calibration.fp32_weights.get(self._scheme, {})

    def _predict_int8(self, subset: Subset, rows: Rows, fp32_weights: frozenset[str]) -> FloatArray:
        """Return INT8 predictions, cached by subset and by the FP32 weights among the layers that the subset uses."""
        graph = self._window(subset)
        all_fp32 = fp32_weights.union(self._always_fp32)
        in_window = all_fp32.intersection(tensor.name for tensor in graph.graph.initializer)
        in_text_encoder: frozenset[str] = frozenset()
        if self._text_encoder is not None and "language" in subset.modalities:
            in_text_encoder = all_fp32 & self._text_encoder.weights
        key = (subset, in_window | in_text_encoder)
        if key not in self._predictions:
            split = self._encode_texts(in_text_encoder) if "language" in subset.modalities else self._split
            self._predictions[key] = self._predict(self._quantize(graph, in_window), split.select(rows), subset)
        return self._predictions[key]

    def _encode_texts(self, fp32_weights: frozenset[str]) -> Split:
        """Return the split with the language frames of the INT8 text encoder; unchanged if there is none."""
        if self._text_encoder is None:
            return self._split
        # Cache only the latest encoding, because each is as large as the split.
        if self._encoded is None or self._encoded[0] != fp32_weights:
            graph = self._quantize(self._text_encoder.graph, fp32_weights)
            split = self._text_encoder.encode_split(graph, self._split, self._backend, self._scratch)
            self._encoded = (fp32_weights, split)
        return self._encoded[1]

    def _predict(self, graph: Graph, split: Split, subset: Subset) -> FloatArray:
        path = self._scratch / "graph.onnx"
        path.write_bytes(graph.SerializeToString())
        program = self._backend.load(path)
        samples = (split.packed_sample(row, self._gap_frames) for row in range(len(split)))
        predictions = [_predict_sample(program, sample, subset) for sample in samples]
        program.close()
        return np.stack(predictions)

    def _window(self, subset: Subset) -> Graph:
        return self._graphs[GraphKey.window(subset)]

    def _quantize(self, graph: Graph, fp32_weights: frozenset[str]) -> Graph:
        calibration = self._calibration
        return quantize(graph, calibration.ranges, self._scheme, fp32_weights, calibration.smoothing)

    def _points(self, predictions: Mapping[Subset, FloatArray]) -> dict[str, float]:
        return {
            subset.value: gate_points(
                self._task, measure(self._task, self._split.labels[rows], _squeeze(predictions[subset]))
            )
            for subset, rows in available_subsets(self._split)
        }


def _predict_sample(program: Program, sample: Mapping[str, FloatArray], subset: Subset) -> FloatArray:
    """Return the prediction (outputs,) of a window graph on rows by modality. They are cut to the window."""
    for name in subset.modalities:
        buffer, valid = program.inputs[f"frames.{name}"], program.inputs[f"valid.{name}"]
        frames = sample.get(name, buffer[0, :0])[: buffer.shape[1]]
        buffer[...], valid[...] = 0, 0
        buffer[0, : len(frames)], valid[0, : len(frames)] = frames, 1
    program.run()
    return np.array(program.outputs["prediction"][0], np.float32)


def _squeeze(predictions: FloatArray) -> FloatArray:
    """Return scores (N, 1) as (N,), which metrics expect; other predictions unchanged."""
    return predictions[:, 0] if predictions.shape[1] == 1 else predictions
