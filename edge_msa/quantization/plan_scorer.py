"""What a plan costs: a student's window graphs at int8 read validation, beside the same graphs at fp32.

Where an encoder reads words, its graph makes the language stream anew under each plan of its layers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import gate_points, measure
from edge_msa.evaluation.subsets import available_subsets, subsets_with_signal
from edge_msa.quantization.calibration_files import telling
from edge_msa.quantization.text_plan_inputs import Encoder
from edge_msa_calibrate.gate import check_accuracy
from edge_msa_calibrate.layers import encoder_of
from edge_msa_calibrate.plan import make_plan
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.schemes import scheme_named
from edge_msa_calibrate.sensitivity import PlanScore
from edge_msa_export.graphs.files import Graph, GraphsByKey
from edge_msa_export.profiles import BackendProfile
from edge_msa_export.request import ExportRequest, Variant
from edge_msa_runtime.backends import Backend, open_backend
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class _Reader:
    """Window graphs by subset, and the backend that runs them from files in `scratch`."""

    graphs: GraphsByKey
    backend: Backend
    scratch: Path

    def read(self, split: Split, subset: Subset) -> FloatArray:
        """Predictions (N, outputs) of normalized samples, each cut to the windows."""
        path = self.scratch / "graph.onnx"
        path.write_bytes(self.graphs[GraphKey.window(subset)].SerializeToString())
        program = self.backend.load(path)
        rows = []
        for row in range(len(split)):
            sample = split.sample(row)
            for name in subset.modalities:
                buffer, valid = program.inputs[f"frames.{name}"], program.inputs[f"valid.{name}"]
                frames = sample.get(name, buffer[0, :0])[: buffer.shape[1]]
                buffer[...], valid[...] = 0, 0
                buffer[0, : len(frames)], valid[0, : len(frames)] = frames, 1
            program.run()
            rows.append(np.array(program.outputs["prediction"][0], np.float32))
        program.close()
        return np.stack(rows)


@dataclass(frozen=True)
class PlanScorer:
    """Scores a plan; `executes` is the backend that reads, which for TensorRT is a stand-in."""

    request: ExportRequest
    scheme: str
    executes: str
    task: Task
    split: Split
    reader: _Reader
    reference: Mapping[Subset, FloatArray]
    signal: frozenset[str]
    encoder: Encoder | None = None
    known: dict[tuple[Subset, frozenset[str]], FloatArray] = field(default_factory=dict)
    attended: dict[frozenset[str], Split] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        graphs: GraphsByKey,
        request: ExportRequest,
        backend: BackendProfile,
        dataset: Dataset,
        scratch: Path,
        samples: int,
        seed: int,
    ) -> PlanScorer:
        """A scorer for one backend's quantization scheme.

        Args:
            graphs: at fp32.
            request: with ranges.
            backend: of the target.
            dataset: normalized; its valid split is read.
            scratch: where a graph may lie.
            samples: of validation, drawn by `seed`.
            seed: as said.
        """
        whole = dataset.split("valid")
        rows = np.sort(np.random.default_rng(seed).permutation(len(whole))[:samples])
        split = whole.select(rows)
        executes = Variant(backend.name, "int8", backend.scheme or "").measured_by
        reader = _Reader(graphs, open_backend(executes), scratch)
        reference = {subset: reader.read(split.select(found), subset) for subset, found in available_subsets(split)}
        signal = subsets_with_signal(dataset.task, split, lambda _, subset: _columns(reference[subset]))
        return cls(
            request,
            backend.scheme or "",
            executes,
            dataset.task,
            split,
            reader,
            reference,
            frozenset(signal),
            Encoder.of(request.text, request.windows.get("language", 0)),
        )

    @property
    def weights(self) -> tuple[str, ...]:
        """The weights whose layers may be int8: those of the fullest graph, then those of an encoder of words."""
        graphs = [self.reader.graphs[telling(self.reader.graphs)[0]], *([self.encoder.graph] if self.encoder else [])]
        seen = {encoder_of(key) for key in self.request.ranges or {}}
        rules = scheme_named(self.scheme)
        return tuple(site.weight for graph in graphs for site in make_plan(graph, rules, seen, self._kept).layers)

    @property
    def _kept(self) -> Mapping[str, str]:
        return self.request.fp32_weights.get(self.scheme, {})

    @property
    def samples(self) -> int:
        """How many a plan is read on."""
        return len(self.split)

    def __call__(self, floats: Collection[str]) -> PlanScore:
        """The score with those weights' layers float, and those that the request keeps so."""
        found = {
            subset: self._predictions(subset, rows, frozenset(floats)) for subset, rows in available_subsets(self.split)
        }
        verdict = check_accuracy(self._points(self.reference), self._points(found), self.signal, 0.0)
        spread = max(float(np.std(np.concatenate(list(self.reference.values())))), 1e-9)
        distances = [
            np.abs(found[subset] - prediction).mean() / spread for subset, prediction in self.reference.items()
        ]
        distance = float(np.mean(distances))
        return PlanScore(verdict.drop, distance if np.isfinite(distance) else float("inf"))

    def _predictions(self, subset: Subset, rows: Rows, floats: frozenset[str]) -> FloatArray:
        """Predictions at int8; asked once of each plan of the layers that the subset's graphs have."""
        graph = self.reader.graphs[GraphKey.window(subset)]
        there = floats.union(self._kept)
        own = there.intersection(tensor.name for tensor in graph.graph.initializer)
        text_encoder = there & self.encoder.weights if self.encoder and "language" in subset.modalities else frozenset()
        if (subset, own | text_encoder) not in self.known:
            split = self.split if self.encoder is None else self._attended(self.encoder, text_encoder)
            reader = _Reader({GraphKey.window(subset): self._lowered(graph, own)}, *self._place)
            self.known[subset, own | text_encoder] = reader.read(split.select(rows), subset)
        return self.known[subset, own | text_encoder]

    def _attended(self, encoder: Encoder, floats: frozenset[str]) -> Split:
        """The split as the encoder at int8 hears it."""
        if floats not in self.attended:
            self.attended.clear()  # each is as large as the split
            self.attended[floats] = encoder.read(self._lowered(encoder.graph, floats), self.split, *self._place)
        return self.attended[floats]

    @property
    def _place(self) -> tuple[Backend, Path]:
        return self.reader.backend, self.reader.scratch

    def _lowered(self, graph: Graph, floats: frozenset[str]) -> Graph:
        return quantize(graph, self.request.ranges or {}, self.scheme, floats, self.request.smoothing)

    def _points(self, predictions: Mapping[Subset, FloatArray]) -> dict[str, float]:
        return {
            subset.value: gate_points(
                self.task, measure(self.task, self.split.labels[rows], _columns(predictions[subset]))
            )
            for subset, rows in available_subsets(self.split)
        }


def _columns(predictions: FloatArray) -> FloatArray:
    """(N, 1) scores as (N,), as metrics take them."""
    return predictions[:, 0] if predictions.shape[1] == 1 else predictions
