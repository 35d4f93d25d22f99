"""The bundle's manifest: what a device must know before any backend sees a byte.

A bundle is a folder: `manifest.json` (this schema), `manifest.sha256` (its digest), `graphs/`, `golden.npz`,
`language/` where it reads words, the runtime's wheel, `README.md`. Every file but the two manifests is listed in
`files` with its SHA-256.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Mapping, TypeVar

SCHEMA = 2
MANIFEST_NAME = "manifest.json"
DIGEST_NAME = "manifest.sha256"
GOLDEN_NAME = "golden.npz"
# Beside the graphs of a folder: their large constants, as external data of ONNX. Short: each graph repeats it often.
WEIGHTS_NAME = "w.bin"

TEXT_ENCODERS = ("table", "graph")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """What the numbers mean.

    `kind` is `mosi`, `sims`, `regression` or `emotions`. A score task has one output and, where the field has names
    for ranges of it, `labels` with the `edges` between them (len(edges) == len(labels) - 1, ascending, a score on an
    edge belongs to the upper label). `emotions` has one logit a label; a probability is its sigmoid.
    """

    kind: str
    outputs: int
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class StateSpec:
    """One state tensor of a step graph: input `state.<name>`, output `next.<name>`, starts filled with `initial`."""

    name: str
    shape: tuple[int, ...]
    initial: float = 0.0


@dataclasses.dataclass(frozen=True)
class ModalitySpec:
    """One modality's spec.

    `dim` features a frame; `chunk` frames a call of the step graph; `window` frames of the window graphs;
    normalized frame = (frame - mean) / std, float32, both of length `dim`; `states` in graph order, one of them
    named `tokens`, which is what the fuse graph reads. `frame_rate_hz` is None where the data set does not say.
    """

    dim: int
    chunk: int
    window: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    states: tuple[StateSpec, ...]
    frame_rate_hz: float | None = None


@dataclasses.dataclass(frozen=True)
class TextSpec:
    """How words become frames of the language modality.

    `tokenizer`: a file in the format of the tokenizers library. `text_encoder`: `table`, rows of an embedding table without
    special tokens, or `graph`, an encoder over the whole text with the special tokens that the tokenizer itself adds.
    `table`: a `.npz` of `rows` int8 (V, d) and `scales` float32 (V,), the same at every precision; empty for a graph.
    `max_tokens`: longer text loses its end. `parity`: the largest |torch prediction of these rows - of the float rows|;
    0 for a graph, whose graphs have a parity of their own.
    """

    tokenizer: str
    text_encoder: str
    table: str
    max_tokens: int
    parity: float


@dataclasses.dataclass(frozen=True)
class GraphSpec:
    """One graph file for one backend at one precision.

    `role` is `step` (one modality, inputs `frames` (1, chunk, dim), `valid` (1, chunk), `state.*`, outputs `next.*`),
    `fuse` (inputs `tokens.<modality>`, `available` (1, 3), output `prediction` (1, outputs)), `window` (inputs
    `frames.<modality>` (1, window, dim), `valid.<modality>` (1, window) of the subset's modalities, output
    `prediction`), or `text_encoder` (inputs `ids` (1, length) int64, `valid` (1, length), output `frames` (1, length, dim)).
    `valid` is float32 0/1 and has its ones first: the caller drops masked frames, so that a masked frame can leave no
    trace. `scope` is the modality of a step graph, the subset of a window graph, the length of a text encoder, else empty; a
    window graph of one modality that takes fewer frames than the window has their number behind, as in `l.16`.
    `parity` is the largest |graph - torch| of the prediction at fp32, and for a lower precision |graph - fp32 torch|.
    `weights` is the file that its large constants lie in, which graphs share; empty where it has none.
    """

    backend: str
    precision: str
    scheme: str
    role: str
    scope: str
    file: str
    parity: float
    weights: str = ""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything `manifest.json` holds; unknown keys are refused so that a newer schema is never half-read.

    `backends` are in the target's order of preference; `precision` is the one the gate chose per backend.
    `language` is None where language comes as frames alone, or not at all.
    `accuracy[backend][precision][subset]` are the metrics measured on validation, free in form.
    """

    schema: int
    name: str
    target: str
    profile: Mapping[str, Any]
    task: TaskSpec
    modalities: Mapping[str, ModalitySpec]
    language: TextSpec | None
    backends: tuple[str, ...]
    precision: Mapping[str, str]
    graphs: tuple[GraphSpec, ...]
    accuracy: Mapping[str, Any]
    provenance: Mapping[str, Any]
    license: str
    files: Mapping[str, str]


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain JSON values."""
    return dataclasses.asdict(manifest)


def manifest_from_json(value: Mapping[str, Any]) -> Manifest:
    """The manifest that `manifest_to_json` wrote.

    Raises:
        ValueError: another schema version, or a key that is missing, unknown or of the wrong kind.
    """
    if not isinstance(value, Mapping) or value.get("schema") != SCHEMA:
        found = value.get("schema") if isinstance(value, Mapping) else type(value).__name__
        raise ValueError(f"manifest schema is {found!r}, this runtime reads {SCHEMA}")
    fields = dict(value)
    try:
        fields["task"] = _tupled(TaskSpec, fields["task"])
        fields["modalities"] = {name: _modality(spec) for name, spec in fields["modalities"].items()}
        fields["language"] = None if fields["language"] is None else _tupled(TextSpec, fields["language"])
        fields["graphs"] = tuple(_tupled(GraphSpec, graph) for graph in fields["graphs"])
        return _tupled(Manifest, fields)
    except KeyError as error:
        raise ValueError(f"manifest lacks {error}") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"manifest cannot be read: {error}") from None


def _modality(value: Mapping[str, Any]) -> ModalitySpec:
    fields = dict(value)
    fields["states"] = tuple(_tupled(StateSpec, state) for state in fields["states"])
    return _tupled(ModalitySpec, fields)


def _tupled(kind: type[T], value: Mapping[str, Any]) -> T:
    """Build a dataclass from JSON, lists as tuples.

    A missing or unknown key, and a value of another type than the field's, is a TypeError that names it.
    """
    made = kind(**{key: tuple(item) if isinstance(item, list) else item for key, item in value.items()})
    for field in dataclasses.fields(made):  # type: ignore[arg-type]
        found = getattr(made, field.name)
        if not _is_of(found, str(field.type)):
            raise TypeError(f"{field.name} is {str(found)[:40]!r}, wanted is {field.type}")
    return made


def _is_of(value: Any, wanted: str) -> bool:
    """Whether a value is of a field's type; of types that JSON has no word for, a container is enough."""
    if wanted.endswith(" | None"):
        return value is None or _is_of(value, wanted[: -len(" | None")])
    if wanted.startswith("tuple["):
        inner = wanted[len("tuple[") : -len(", ...]")]
        return isinstance(value, tuple) and all(_is_of(item, inner) for item in value)
    if wanted in ("int", "float"):
        kinds = (int,) if wanted == "int" else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    if wanted == "str":
        return isinstance(value, str)
    return not wanted.startswith("Mapping[") or isinstance(value, Mapping)
