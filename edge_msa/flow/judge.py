"""What a placement costs: a student's window graphs at int8 read validation, beside the same graphs at fp32.

Where an encoder reads words, its graph makes the language stream anew under each placement of its layers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.flow.calibrated import telling
from edge_msa.flow.judge_words import Encoder
from edge_msa.flow.measure import readable, with_signal
from edge_msa.metrics import gate_points, measure
from edge_msa_calibrate.gate import decide
from edge_msa_calibrate.placement import place, rule_set_named
from edge_msa_calibrate.qdq import quantise
from edge_msa_calibrate.sensitivity import Score
from edge_msa_calibrate.sites import owner_of
from edge_msa_export.graph import GraphKey
from edge_msa_export.graph_files import Graph, GraphsByKey
from edge_msa_export.profiles import EngineProfile
from edge_msa_export.request import ExportRequest, Variant
from edge_msa_runtime.engines import Engine, open_engine
from edge_msa_runtime.modalities import Subset

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class _Reader:
    """Window graphs by subset, and the engine that runs them from files in `scratch`."""

    graphs: GraphsByKey
    engine: Engine
    scratch: Path

    def read(self, split: Split, subset: Subset) -> FloatArray:
        """Readings (N, outputs) of normalised samples, each cut to the windows."""
        path = self.scratch / "graph.onnx"
        path.write_bytes(self.graphs[GraphKey("window", subset.value)].SerializeToString())
        program = self.engine.load(path)
        rows = []
        for row in range(len(split)):
            sample = split.sample(row)
            for name in subset.modalities:
                buffer, valid = program.inputs[f"frames.{name}"], program.inputs[f"valid.{name}"]
                frames = sample.get(name, buffer[0, :0])[: buffer.shape[1]]
                buffer[...], valid[...] = 0, 0
                buffer[0, : len(frames)], valid[0, : len(frames)] = frames, 1
            program.run()
            rows.append(np.array(program.outputs["reading"][0], np.float32))
        program.close()
        return np.stack(rows)


@dataclass(frozen=True)
class Judge:
    """Scores a placement; `executes` is the engine that reads, which for TensorRT is a stand-in."""

    request: ExportRequest
    rule_set: str
    executes: str
    task: Task
    split: Split
    reader: _Reader
    reference: Mapping[Subset, FloatArray]
    signal: frozenset[str]
    encoder: Encoder | None = None
    known: dict[tuple[Subset, frozenset[str]], FloatArray] = field(default_factory=dict)
    heard: dict[frozenset[str], Split] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        graphs: GraphsByKey,
        request: ExportRequest,
        engine: EngineProfile,
        dataset: Dataset,
        scratch: Path,
        samples: int,
        seed: int,
    ) -> Judge:
        """A judge for one engine's rule set.

        Args:
            graphs: at fp32.
            request: with ranges.
            engine: of the target.
            dataset: normalised; its valid split is read.
            scratch: where a graph may lie.
            samples: of validation, drawn by `seed`.
            seed: as said.
        """
        whole = dataset.split("valid")
        rows = np.sort(np.random.default_rng(seed).permutation(len(whole))[:samples])
        split = whole.select(rows)
        executes = Variant(engine.name, "int8", engine.rule_set or "").measured_by
        reader = _Reader(graphs, open_engine(executes), scratch)
        reference = {subset: reader.read(split.select(found), subset) for subset, found in readable(split)}
        signal = with_signal(dataset.task, split, lambda _, subset: _columns(reference[subset]))
        return cls(
            request,
            engine.rule_set or "",
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
        seen = {owner_of(key) for key in self.request.ranges or {}}
        rules = rule_set_named(self.rule_set)
        return tuple(site.weight for graph in graphs for site in place(graph, rules, seen, self._kept).sites)

    @property
    def _kept(self) -> Mapping[str, str]:
        return self.request.float_nodes.get(self.rule_set, {})

    @property
    def samples(self) -> int:
        """How many a placement is read on."""
        return len(self.split)

    def __call__(self, floats: Collection[str]) -> Score:
        """The score with those weights' layers float, and those that the request keeps so."""
        found = {subset: self._readings(subset, rows, frozenset(floats)) for subset, rows in readable(self.split)}
        verdict = decide(self._points(self.reference), self._points(found), self.signal, 0.0)
        spread = max(float(np.std(np.concatenate(list(self.reference.values())))), 1e-9)
        distances = [np.abs(found[subset] - reading).mean() / spread for subset, reading in self.reference.items()]
        distance = float(np.mean(distances))
        return Score(verdict.drop, distance if np.isfinite(distance) else float("inf"))

    def _readings(self, subset: Subset, rows: Rows, floats: frozenset[str]) -> FloatArray:
        """Readings at int8; asked once of each placement of the layers that the subset's graphs have."""
        graph = self.reader.graphs[GraphKey("window", subset.value)]
        there = floats.union(self._kept)
        own = there.intersection(tensor.name for tensor in graph.graph.initializer)
        front = there & self.encoder.weights if self.encoder and "language" in subset.modalities else frozenset()
        if (subset, own | front) not in self.known:
            split = self.split if self.encoder is None else self._heard(self.encoder, front)
            reader = _Reader({GraphKey("window", subset.value): self._lowered(graph, own)}, *self._place)
            self.known[subset, own | front] = reader.read(split.select(rows), subset)
        return self.known[subset, own | front]

    def _heard(self, encoder: Encoder, floats: frozenset[str]) -> Split:
        """The split as the encoder at int8 hears it."""
        if floats not in self.heard:
            self.heard.clear()  # each is as large as the split
            self.heard[floats] = encoder.read(self._lowered(encoder.graph, floats), self.split, *self._place)
        return self.heard[floats]

    @property
    def _place(self) -> tuple[Engine, Path]:
        return self.reader.engine, self.reader.scratch

    def _lowered(self, graph: Graph, floats: frozenset[str]) -> Graph:
        return quantise(graph, self.request.ranges or {}, self.rule_set, floats, self.request.smoothing)

    def _points(self, readings: Mapping[Subset, FloatArray]) -> dict[str, float]:
        return {
            subset.value: gate_points(
                self.task, measure(self.task, self.split.labels[rows], _columns(readings[subset]))
            )
            for subset, rows in readable(self.split)
        }


def _columns(readings: FloatArray) -> FloatArray:
    """(N, 1) scores as (N,), as metrics take them."""
    return readings[:, 0] if readings.shape[1] == 1 else readings
