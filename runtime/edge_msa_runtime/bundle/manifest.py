"""The bundle's manifest: the description of a bundle that is verified before any graph is loaded.

A bundle is a folder with `manifest.json` (this schema), `manifest.sha256` (the digest of `manifest.json`), `graphs/`,
`golden.npz`, `language/` if the bundle accepts text, the wheel of the runtime, and `README.md`. `files` in the manifest
lists every file except the two manifest files, with its SHA-256 digest.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Iterable, Literal, Mapping, NamedTuple

from edge_msa_runtime.classes import ClassCalibration
from edge_msa_runtime.conversation import ContextHead
from edge_msa_runtime.features import UNKNOWN, FeatureSource
from edge_msa_runtime.inputs.conversations import MAX_CONTEXT
from edge_msa_runtime.intervals import Intervals
from edge_msa_runtime.json_fields import JsonFields
from edge_msa_runtime.modalities import MODALITIES, Subset

SCHEMA = 9
MANIFEST_NAME = "manifest.json"
DIGEST_NAME = "manifest.sha256"
# The description of a cascade, a folder of several bundles; see `cascade.manifest`.
CASCADE_NAME = "cascade.json"
GOLDEN_NAME = "golden.npz"
# External data of the ONNX graphs in a folder: their large constants. The name is short because graphs repeat it often.
WEIGHTS_NAME = "w.bin"

TEXT_ENCODERS = ("table", "encoder")

_SCORES = ("mosi", "sims", "regression")
# Smallest number of labels of the tasks that predict one logit per label.
_MIN_LABELS: Mapping[str, int] = {"classes": 2, "emotions": 1}
_MAX_LABEL = 100

Role = Literal["step", "fuse", "window", "text_encoder"]
ROLES: tuple[Role, ...] = ("step", "fuse", "window", "text_encoder")


class GraphKey(NamedTuple):
    """Identifies one graph of a student, independently of backend and precision.

    Attributes:
        role: what the graph computes; `GraphSpec` lists the inputs and outputs of each role.
        modalities: the modalities of the inputs, in order: one for `step`, all of the student's for `fuse`, the
            subset's for `window`, and `language` for `text_encoder`.
        length: for `text_encoder`, the number of tokens. For `window`, the number of frames if it is less than the
            modality's window, else None. None for `step` and `fuse`.
        batch: number of streams that the graph takes at once. 1 for `window` and `text_encoder`.
    """

    role: Role
    modalities: tuple[str, ...]
    length: int | None = None
    batch: int = 1

    @classmethod
    def step(cls, modality: str, batch: int = 1) -> GraphKey:
        """The key of a modality's step graph for `batch` streams."""
        return cls("step", (modality,), batch=batch)

    @classmethod
    def fuse(cls, modalities: Iterable[str], batch: int = 1) -> GraphKey:
        """The key of the fuse graph for `batch` streams of a student with these modalities."""
        return cls("fuse", Subset.of(modalities).modalities, batch=batch)

    @classmethod
    def window(cls, subset: Subset, length: int | None = None) -> GraphKey:
        """The key of a subset's window graph; `length` selects a graph for fewer frames than the window."""
        return cls("window", subset.modalities, length)

    @classmethod
    def text_encoder(cls, length: int) -> GraphKey:
        """The key of the text encoder graph for `length` tokens."""
        return cls("text_encoder", ("language",), length)

    @property
    def subset(self) -> Subset:
        """The modalities as a subset."""
        return Subset.of(self.modalities)

    @property
    def file_stem(self) -> str:
        """File name without suffix: `step-audio`, `step-audio-x8`, `fuse`, `window-la`, `window-l-16`, ...."""
        parts: list[str] = [self.role]
        if self.role == "step":
            parts.append(self.modalities[0])
        elif self.role == "window":
            parts.append(self.subset.value)
        if self.length is not None:
            parts.append(str(self.length))
        if self.batch > 1:
            parts.append(f"x{self.batch}")
        return "-".join(parts)

    def __str__(self) -> str:
        return self.file_stem.replace("-", " ")


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """What the outputs mean.

    Attributes:
        kind: `mosi`, `sims` and `regression` predict a score. `classes` predicts one logit per label, of which exactly
            one is right: their softmax are the probabilities. `emotions` predicts one logit per label, of which any
            number is right: the probability of each is the sigmoid of its logit.
        outputs: number of outputs: 1 for a score, one per label for `classes` and `emotions`.
        labels: names of the classes or emotions; for a score, names for its ranges, or empty.
        edges: scores that separate the ranges, ascending: len(edges) == len(labels) - 1. A score on an edge has the
            upper label. Empty for `classes` and `emotions`.
        low: lower end of the scale of the score, None if there is none.
        high: upper end of the scale of the score, None if there is none.
    """

    kind: str
    outputs: int
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def is_score(self) -> bool:
        """Whether the output is a score. If not, predictions have probabilities."""
        return self.kind in _SCORES

    @property
    def has_sign(self) -> bool:
        """Whether scores below and above zero mean opposite sentiments."""
        return self.kind in {"mosi", "sims"}

    @classmethod
    def from_json(cls, value: Any, path: str) -> TaskSpec:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, ("kind", "outputs", "labels", "edges", "low", "high"))
        task = cls(
            kind=fields.text("kind"),
            outputs=fields.integer("outputs"),
            labels=fields.texts("labels"),
            edges=fields.numbers("edges"),
            low=fields.optional_number("low"),
            high=fields.optional_number("high"),
        )
        task._check(fields)
        return task

    def _check(self, fields: JsonFields) -> None:
        """Raise a ValueError that names the field that does not fit the others."""
        kinds = (*_SCORES, *_MIN_LABELS)
        if self.kind not in kinds:
            raise ValueError(f"{fields.path('kind')} must be one of {', '.join(kinds)}, got {self.kind!r:.40}")
        labels = fields.path("labels")
        for index, label in enumerate(self.labels):
            if not label.strip() or not label.isprintable() or len(label) > _MAX_LABEL:
                raise ValueError(
                    f"{labels}[{index}] must have 1 to {_MAX_LABEL} printable characters, got {label!r:.40}"
                )
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"{labels} must be different names, got {', '.join(self.labels):.80}")
        if self.is_score:
            self._check_score(fields)
            return
        least = _MIN_LABELS[self.kind]
        if len(self.labels) < least:
            raise ValueError(f"{labels} of {self.kind} must have at least {least} names, got {len(self.labels)}")
        if self.outputs != len(self.labels):
            raise ValueError(
                f"{fields.path('outputs')} must be {len(self.labels)}, the number of labels, got {self.outputs}"
            )
        if self.edges or self.low is not None or self.high is not None:
            raise ValueError(f"{fields.path('edges')} must be empty, and low and high null, for {self.kind}")

    def _check_score(self, fields: JsonFields) -> None:
        if self.outputs != 1:
            raise ValueError(f"{fields.path('outputs')} of {self.kind} must be 1, got {self.outputs}")
        expected = max(len(self.labels) - 1, 0)
        if len(self.edges) != expected or list(self.edges) != sorted(set(self.edges)):
            raise ValueError(
                f"{fields.path('edges')} must be {expected} ascending scores, one less than labels, got "
                f"{list(self.edges)!r:.60}"
            )
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"{fields.path('low')} must be less than high, {self.high:g}, got {self.low:g}")


@dataclasses.dataclass(frozen=True)
class StateSpec:
    """One state tensor of a step graph.

    Attributes:
        name: the graph has the input `state.<name>` and the output `next.<name>`.
        shape: shape of the tensor.
        initial: value that fills the tensor at the start of a stream.
    """

    name: str
    shape: tuple[int, ...]
    initial: float = 0.0

    @classmethod
    def from_json(cls, value: Any, path: str) -> StateSpec:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, ("name", "shape", "initial"))
        return cls(name=fields.text("name"), shape=fields.integers("shape"), initial=fields.number("initial"))


@dataclasses.dataclass(frozen=True)
class ModalitySpec:
    """The frames of one modality and the state of its encoder.

    Attributes:
        dim: features per frame.
        chunk: frames per call of the step graph.
        window: frames of the window graphs.
        states: state tensors of the step graph, in the order of the graph. One is `tokens`, the fuse graph's input.
        max_norm: the largest Euclidean norm of a training frame, clipped as the graphs clip frames; None if it is not
            known.
        features: what computed the features in training, their names and units, and the number of frames per second.
        gap_frame: the raw frame (dim,) that takes the place of masked or missing frames between two valid ones, as in
            training; None if nothing does. `inputs.gaps` explains it.
    """

    dim: int
    chunk: int
    window: int
    states: tuple[StateSpec, ...]
    max_norm: float | None = None
    features: FeatureSource = UNKNOWN
    gap_frame: tuple[float, ...] | None = None

    @classmethod
    def from_json(cls, value: Any, path: str) -> ModalitySpec:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, ("dim", "chunk", "window", "states", "max_norm", "features", "gap_frame"))
        dim, features = fields.integer("dim"), FeatureSource.from_json(fields.raw("features"), fields.path("features"))
        features.check_width(dim, fields.path("features"))
        gap_frame = None if fields.raw("gap_frame") is None else fields.numbers("gap_frame")
        if gap_frame is not None and len(gap_frame) != dim:
            raise ValueError(f"{fields.path('gap_frame')} must have {dim} values, got {len(gap_frame)}")
        return cls(
            dim=dim,
            chunk=fields.integer("chunk"),
            window=fields.integer("window"),
            states=tuple(StateSpec.from_json(item, item_path) for item, item_path in fields.array("states")),
            max_norm=fields.optional_number("max_norm"),
            features=features,
            gap_frame=gap_frame,
        )


@dataclasses.dataclass(frozen=True)
class TextSpec:
    """How a text becomes frames of the language modality.

    Attributes:
        tokenizer: file of the tokenizer, in the format of the tokenizers library.
        text_encoder: `table` looks up one row of an embedding table per token, without special tokens. `encoder` runs a
            network on the whole text, with the special tokens that the tokenizer adds.
        table: `.npz` with `rows` int8 (V, d) and `scales` float32 (V,), the same at every precision. Empty for
            `encoder`.
        max_tokens: the largest number of tokens of a text, including special tokens. The caller chooses which tokens of
            a longer text are used.
        parity: the largest |torch prediction of these rows - torch prediction of the float rows|. It is 0 for
            `encoder`, because each of its graphs has a parity.
        context: number of earlier utterances that an `encoder` reads. Their tokens count toward `max_tokens`. It can be
            missing in JSON, and is then 0.
    """

    tokenizer: str
    text_encoder: str
    table: str
    max_tokens: int
    parity: float
    context: int = 0

    @classmethod
    def from_json(cls, value: Any, path: str) -> TextSpec:
        """Build from JSON; a ValueError names the invalid field."""
        names = ("tokenizer", "text_encoder", "table", "max_tokens", "parity")
        fields = JsonFields(value, path, names, optional=("context",))
        context = 0 if fields.raw("context") is None else fields.integer("context")
        if not 0 <= context <= MAX_CONTEXT:
            raise ValueError(f"{fields.path('context')} must be 0 to {MAX_CONTEXT}, got {context}")
        return cls(
            tokenizer=fields.text("tokenizer"),
            text_encoder=fields.text("text_encoder"),
            table=fields.text("table"),
            max_tokens=fields.integer("max_tokens"),
            parity=fields.number("parity"),
            context=context,
        )


@dataclasses.dataclass(frozen=True)
class GraphSpec:
    """One graph file for one backend at one precision.

    The role of `key` decides the inputs and outputs:

    - `step`: inputs `frames` (1, chunk, dim), `valid` (1, chunk), `state.<name>`; outputs `next.<name>`.
    - `fuse`: inputs `tokens.<modality>`, `available` (1, 3); output `prediction` (1, outputs).
    - `window`: inputs `frames.<modality>` (1, window, dim), `valid.<modality>` (1, window) of the key's modalities;
      output `prediction` (1, outputs). A key with a length has that many frames instead of the window.
    - `text_encoder`: inputs `ids` (1, length) int64, `valid` (1, length); output `frames` (1, length, dim).

    A key with a `batch` has that number in place of 1 as the first dimension of all inputs and outputs.

    `frames` are raw; the graph normalizes and clips them. `valid` is float32 0/1, with the ones first: the caller drops
    masked frames, so that their values cannot affect the prediction. Where they were, it may put a `gap_frame`.

    Attributes:
        backend: one of `backend_info.BACKENDS`.
        precision: `fp32`, `fp16`, `int8` or `int4`.
        scheme: quantization scheme of an int8 graph, else empty.
        key: which graph it is.
        file: path in the bundle.
        parity: the largest |prediction of the graph - prediction of torch in fp32|.
        weights: path of the file with the large constants, which graphs share; empty if there is none.
    """

    backend: str
    precision: str
    scheme: str
    key: GraphKey
    file: str
    parity: float
    weights: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values. The fields of the key are at the top level."""
        return {
            "backend": self.backend,
            "precision": self.precision,
            "scheme": self.scheme,
            "role": self.key.role,
            "modalities": list(self.key.modalities),
            "length": self.key.length,
            "batch": self.key.batch,
            "file": self.file,
            "parity": self.parity,
            "weights": self.weights,
        }

    @classmethod
    def from_json(cls, value: Any, path: str) -> GraphSpec:
        """Build from JSON; a ValueError names the invalid field."""
        names = ("backend", "precision", "scheme", "role", "modalities", "length", "batch", "file", "parity", "weights")
        fields = JsonFields(value, path, names)
        return cls(
            backend=fields.text("backend"),
            precision=fields.text("precision"),
            scheme=fields.text("scheme"),
            key=_graph_key(fields),
            file=fields.text("file"),
            parity=fields.number("parity"),
            weights=fields.text("weights"),
        )


@dataclasses.dataclass(frozen=True)
class Int8Share:
    """How much of a student computes in int8 under one quantization scheme.

    Attributes:
        layers: number of layers in int8.
        all_layers: number of convolutions of the encoders and of linear layers of the text encoder.
        macs: share of all multiply-accumulate operations (MACs), 0 to 1, that these layers compute. The operations are
            those of the window graph with the most modalities and of the longest text encoder graph.
    """

    layers: int
    all_layers: int
    macs: float

    def __str__(self) -> str:
        """Return for example `11 of 15 layers, 97 % of MACs`."""
        # Rounded down: 100 % means all.
        return f"{self.layers} of {self.all_layers} layers, {math.floor(100 * self.macs + 1e-9)} % of MACs"

    @classmethod
    def from_json(cls, value: Any, path: str) -> Int8Share:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, ("layers", "all_layers", "macs"))
        share = cls(fields.integer("layers"), fields.integer("all_layers"), fields.number("macs"))
        if not 0 <= share.layers <= share.all_layers:
            raise ValueError(f"{fields.path('layers')} must be 0 to {share.all_layers}, got {share.layers}")
        if not 0 <= share.macs <= 1:
            raise ValueError(f"{fields.path('macs')} must be 0 to 1, got {share.macs:g}")
        return share


_OPTIONAL = ("class_calibration", "int4")
"""Fields of a manifest that are left out if they are None."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`. Unknown fields are refused, so a newer schema is never loaded in part.

    Attributes:
        schema: always `SCHEMA`.
        name: name of the bundle.
        target: name of the device profile.
        profile: the device profile itself.
        task: what the outputs mean.
        modalities: the modalities of the student.
        language: how text becomes frames; None if language comes as frames only, or not at all.
        backends: names of backends in the target's order of preference.
        precision: by backend, the precision that the accuracy gate chose.
        graphs: every graph for every backend and precision.
        int8: how much computes in int8, by quantization scheme of the graphs.
        intervals: half widths of prediction intervals; None for classes and emotions, and if there were no data to
            calibrate them.
        context: how earlier utterances of a conversation adjust a score; None if this was not shown to help.
        accuracy: `accuracy[backend][precision][subset]` are metrics on the validation split, in free form.
        provenance: how the bundle was made, in free form.
        license: license of the weights.
        files: SHA-256 of every other file by its path in the bundle.
        class_calibration: the temperature of probabilities and the prediction sets of classes. None for other tasks,
            and if there were no data to calibrate them. The field is left out if it is None.
        int4: share of the parameters, 0 to 1, that int4 graphs store in 4 bits. They compute in the same layers in int8
            as int8 graphs. None, and left out, without such graphs.
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
    int8: Mapping[str, Int8Share]
    intervals: Intervals | None
    context: ContextHead | None
    accuracy: Mapping[str, Any]
    provenance: Mapping[str, Any]
    license: str
    files: Mapping[str, str]
    class_calibration: ClassCalibration | None = None
    int4: float | None = None

    def describe_precision(self, backend: str, precision: str) -> str:
        """Return a precision as text, with its shares: `int8: 11 of 15 layers, 97 % of MACs`.

        The text of int4 goes on with the share of its parameters: `in int8, 96 % of parameters in 4 bits`.
        """
        schemes = {spec.scheme for spec in self.graphs if (spec.backend, spec.precision) == (backend, precision)}
        shares = [self.int8[scheme] for scheme in sorted(schemes) if scheme in self.int8]
        text = f"{precision}: {shares[0]}" if shares else precision
        if precision == "int4" and self.int4 is not None:
            text += f" in int8, {math.floor(100 * self.int4 + 1e-9)} % of parameters in 4 bits"
        return text

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON values."""
        value = {**dataclasses.asdict(self), "graphs": [graph.to_json() for graph in self.graphs]}
        for name in _OPTIONAL:
            if value[name] is None:
                del value[name]
        return value

    @classmethod
    def from_json(cls, value: Any) -> Manifest:
        """Build from the value of `manifest.json`.

        Raises:
            ValueError: the schema is not `SCHEMA`, or a field is missing, unknown or of the wrong type.
        """
        if isinstance(value, Mapping) and value.get("schema") != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, got {value.get('schema')!r}")
        names = [field.name for field in dataclasses.fields(cls) if field.name not in _OPTIONAL]
        fields = JsonFields(value, "", names, optional=_OPTIONAL)
        language, intervals, context = (fields.raw(name) for name in ("language", "intervals", "context"))
        classes = fields.raw("class_calibration")
        return cls(
            schema=fields.integer("schema"),
            name=fields.text("name"),
            target=fields.text("target"),
            profile=fields.mapping("profile"),
            task=TaskSpec.from_json(fields.raw("task"), "task"),
            modalities={
                name: ModalitySpec.from_json(spec, f"modalities.{name}")
                for name, spec in fields.mapping("modalities").items()
            },
            language=None if language is None else TextSpec.from_json(language, "language"),
            backends=fields.texts("backends"),
            precision=fields.text_mapping("precision"),
            graphs=tuple(GraphSpec.from_json(item, path) for item, path in fields.array("graphs")),
            int8={
                scheme: Int8Share.from_json(item, f"int8.{scheme}") for scheme, item in fields.mapping("int8").items()
            },
            intervals=None if intervals is None else Intervals.from_json(intervals, "intervals"),
            context=None if context is None else ContextHead.from_json(context, "context"),
            accuracy=fields.mapping("accuracy"),
            provenance=fields.mapping("provenance"),
            license=fields.text("license"),
            files=fields.text_mapping("files"),
            class_calibration=None if classes is None else ClassCalibration.from_json(classes, "class_calibration"),
            int4=fields.optional_number("int4"),
        )


def _graph_key(fields: JsonFields) -> GraphKey:
    """Return the key of a graph. A ValueError names the field that does not fit the role."""
    role, modalities, length = fields.text("role"), fields.texts("modalities"), fields.optional_integer("length")
    if role not in ROLES:
        raise ValueError(f"{fields.path('role')} must be one of {', '.join(ROLES)}, got {role!r}")
    ordered = tuple(name for name in MODALITIES if name in modalities)
    if not modalities or modalities != ordered or (role == "step" and len(modalities) > 1):
        raise ValueError(f"{fields.path('modalities')} of a {role} graph cannot be {list(modalities)}")
    if role == "text_encoder" and modalities != ("language",):
        raise ValueError(f"{fields.path('modalities')} of a {role} graph must be ['language'], got {list(modalities)}")
    needs_length, may_have_length = role == "text_encoder", role in {"window", "text_encoder"}
    if (length is None and needs_length) or (length is not None and (not may_have_length or length < 1)):
        raise ValueError(f"{fields.path('length')} of a {role} graph cannot be {length}")
    batch = fields.integer("batch")
    if batch < 1 or (batch > 1 and role not in ("step", "fuse")):
        raise ValueError(f"{fields.path('batch')} of a {role} graph cannot be {batch}")
    return GraphKey(role, modalities, length, batch)
