"""From a torch student to ONNX graphs: one step graph a modality, one fuse graph, window graphs a subset.

The student is taken by its shape (the protocols below), so that this room does not know who trained it. Masked frames
are dropped before a graph, so `valid` has its ones first in every graph.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.weight_names import restore_names
from edge_msa_export.text import buckets
from edge_msa_export.transforms.opset17 import to_opset17
from edge_msa_runtime.bundle.manifest import GraphKey, StateSpec
from edge_msa_runtime.modalities import MODALITIES, Subset, subsets_of

# Newer than what is wanted: portable.py brings it down, because the exporter itself would only pretend to.
_EXPORTER_OPSET = 18


class StateLike(Protocol):
    """What an encoder remembers; every tensor has a name, one of them `tokens`."""

    @property
    def tokens(self) -> Tensor:
        """Pooled vectors, (B, M, C)."""

    def named(self) -> dict[str, Tensor]:
        """The tensors by name, in graph order."""

    @classmethod
    def from_named(cls, named: Mapping[str, Tensor]) -> StateLike:
        """The state whose `named` this is."""


class EncoderLike(Protocol):
    """One modality's encoder."""

    def initial(self, batch: int) -> StateLike:
        """The state before the first frame."""

    def __call__(self, frames: Tensor, valid: Tensor, state: Any) -> StateLike:
        """Read a chunk: frames (B, T, d), valid (B, T) with ones first."""

    def whole(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Tokens (B, M, C) of whole samples, as from `initial` on."""


class ConfigLike(Protocol):
    """The sizes that export needs."""

    @property
    def dims(self) -> Mapping[str, int]:
        """Features a frame, by modality."""

    @property
    def outputs(self) -> int:
        """Numbers in a prediction."""


class StudentLike(Protocol):
    """A torch module with an encoder a modality and one fusion over their tokens."""

    @property
    def config(self) -> Any:
        """As `ConfigLike`."""

    @property
    def encoders(self) -> nn.ModuleDict:
        """One `EncoderLike` a modality."""

    @property
    def fusion(self) -> nn.Module:
        """Tokens by modality and `available` (B, 3) -> prediction (B, outputs)."""

    def eval(self) -> Any:
        """Leave training mode."""

    def cpu(self) -> Any:
        """Move to the CPU."""

    def forward(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Prediction (B, outputs) of frames (B, T, d) and valid (B, T) bool by modality, holes allowed."""


S = TypeVar("S", bound=StudentLike)


class Part(NamedTuple):
    """What one graph is made of: a module, an example of its inputs by name and in order, the names of its outputs."""

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class StudentFacts:
    """What a manifest says about a student: `dims` and `states` by modality, and `outputs` of a prediction."""

    dims: Mapping[str, int]
    states: Mapping[str, tuple[StateSpec, ...]]
    outputs: int


def export_all(
    student: StudentLike, chunks: Mapping[str, int], windows: Mapping[str, int]
) -> dict[GraphKey, onnx.ModelProto]:
    """Every graph of a student.

    Args:
        student: what to export; it is left as it is.
        chunks: frames a call of each modality's step graph.
        windows: frames a modality of the window graphs.

    Raises:
        ExportError: torch cannot export it, or the result is not a true opset 17.
    """
    return {key: to_onnx(*part) for key, part in parts_of(student, chunks, windows).items()}


def parts_of(student: StudentLike, chunks: Mapping[str, int], windows: Mapping[str, int]) -> dict[GraphKey, Part]:
    """The module of every graph of a student, on the CPU and without dropout; the student is left as it is."""
    still = _still(student)
    names = _names(still)
    parts = {GraphKey.step(name): _step(still, name, chunks[name]) for name in names}
    parts[GraphKey.fuse(names)] = _fuse(still)
    for subset in subsets_of(names):
        for key, lengths in window_keys(subset, windows).items():
            parts[key] = _window(still, subset, lengths)
    return parts


def window_keys(subset: Subset, windows: Mapping[str, int]) -> dict[GraphKey, dict[str, int]]:
    """Return the keys of a subset's window graphs, the shortest first, each with its number of frames by modality.

    Language alone also has graphs for shorter texts, because most utterances are much shorter than the window.
    """
    if subset is not Subset.L:
        return {GraphKey.window(subset): {name: windows[name] for name in subset.modalities}}
    *shorter, longest = buckets(windows["language"])
    keys = {GraphKey.window(subset, length): {"language": length} for length in shorter}
    return {**keys, GraphKey.window(subset): {"language": longest}}


def export_step(student: StudentLike, modality: str, chunk: int) -> onnx.ModelProto:
    """One modality's step graph: `frames` (1, chunk, d), `valid` (1, chunk), `state.*` -> `next.*`."""
    return to_onnx(*_step(_still(student), modality, chunk))


def export_fuse(student: StudentLike) -> onnx.ModelProto:
    """The fuse graph: `tokens.<modality>` (1, M, C) of all modalities, `available` (1, 3) -> `prediction` (1, outputs)."""
    return to_onnx(*_fuse(_still(student)))


def export_window(student: StudentLike, subset: Subset, windows: Mapping[str, int]) -> onnx.ModelProto:
    """A subset's window graph: `frames.<m>` (1, window, d) and `valid.<m>` (1, window) -> `prediction` (1, outputs)."""
    return to_onnx(*_window(_still(student), subset, windows))


def facts_of(student: StudentLike) -> StudentFacts:
    """Sizes and initial states, for the manifest.

    Raises:
        ExportError: a state does not start filled with one value, which a manifest could not say.
    """
    states = {name: _states(_encoder(student, name)) for name in _names(student)}
    return StudentFacts(dict(_dims(student)), states, int(student.config.outputs))


def torch_prediction(
    student: StudentLike, frames: Mapping[str, NDArray[np.float32]], valid: Mapping[str, NDArray[np.bool_]]
) -> NDArray[np.float32]:
    """The student's own prediction (outputs,) of one sample: normalized frames (T, d) and valid (T,) by modality."""
    still = _still(student)
    with torch.no_grad():
        prediction = still.forward(
            {name: torch.from_numpy(np.array(value))[None] for name, value in frames.items()},
            {name: torch.from_numpy(np.array(value))[None] for name, value in valid.items()},
        )
    return np.asarray(prediction[0].numpy(), dtype=np.float32)


def _step(still: StudentLike, modality: str, chunk: int) -> Part:
    state = _encoder(still, modality).initial(1).named()
    inputs = {
        "frames": torch.zeros(1, chunk, _dims(still)[modality]),
        "valid": torch.ones(1, chunk),
        **{f"state.{name}": value for name, value in state.items()},
    }
    return Part(_Step(still, modality), inputs, tuple(f"next.{name}" for name in state))


def _fuse(still: StudentLike) -> Part:
    names = _names(still)
    inputs = {f"tokens.{name}": _encoder(still, name).initial(1).tokens for name in names}
    inputs["available"] = torch.ones(1, len(MODALITIES))
    return Part(_Fuse(still, names), inputs, ("prediction",))


def _window(still: StudentLike, subset: Subset, windows: Mapping[str, int]) -> Part:
    inputs: dict[str, Tensor] = {}
    for name in subset.modalities:
        inputs[f"frames.{name}"] = torch.zeros(1, windows[name], _dims(still)[name])
        inputs[f"valid.{name}"] = torch.ones(1, windows[name])
    return Part(_Window(still, subset.modalities), inputs, ("prediction",))


class _Step(nn.Module):
    def __init__(self, student: StudentLike, modality: str) -> None:
        super().__init__()
        # Under the student's own attribute, so that weights keep their names.
        self.encoders = nn.ModuleDict({modality: student.encoders[modality]})
        self.modality = modality
        state = _encoder(student, modality).initial(1)
        self.names = tuple(state.named())
        self.rebuild = type(state).from_named

    def forward(self, frames: Tensor, valid: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        encoder = cast("EncoderLike", self.encoders[self.modality])
        after = encoder(frames, valid, self.rebuild(dict(zip(self.names, state, strict=True))))
        return tuple(after.named().values())


class _Fuse(nn.Module):
    def __init__(self, student: StudentLike, names: Sequence[str]) -> None:
        super().__init__()
        self.fusion = student.fusion
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        tokens = dict(zip(self.names, inputs[:-1], strict=True))
        return cast("Tensor", self.fusion(tokens, inputs[-1]))


class _Window(nn.Module):
    def __init__(self, student: StudentLike, names: Sequence[str]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: student.encoders[name] for name in names})
        self.fusion = student.fusion
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        tokens: dict[str, Tensor] = {}
        for index, name in enumerate(self.names):
            encoder = cast("EncoderLike", self.encoders[name])
            tokens[name] = encoder.whole(inputs[2 * index], inputs[2 * index + 1])
        available = torch.tensor([[float(name in self.names) for name in MODALITIES]])
        return cast("Tensor", self.fusion(tokens, available))


def to_onnx(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> onnx.ModelProto:
    """Any module as a true opset 17, its weights under their own names.

    Raises:
        ExportError: torch cannot export it, or the result is not a true opset 17.
    """
    with quiet():
        try:
            program = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                dynamo=True,
                opset_version=_EXPORTER_OPSET,
                verbose=False,
                input_names=list(inputs),
                output_names=list(outputs),
            )
        except torch.onnx.OnnxExporterError as error:
            first = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise ExportError(f"torch cannot export it: {first}") from error
    if program is None:
        raise ExportError("torch's exporter returned no graph; torch 2.7 or newer is needed")
    result = to_opset17(program.model_proto)
    weights = {name: value.detach().numpy() for name, value in module.named_parameters() if value.dim() == 2}
    restore_names(result, weights)
    return result


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what the exporter says at every call: torchvision is not needed, and the opset is asserted later."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
            # A GRU keeps its weights in a list beside its parameters; the exporter exports the parameters.
            warnings.filterwarnings("ignore", message=r"(?s).*_flat_weights.*", category=UserWarning)
            yield
    finally:
        logging.disable(before)


def _still(student: S) -> S:
    """A copy on the CPU without dropout; the caller's student is trained further, perhaps on a GPU."""
    return cast("S", copy.deepcopy(student).cpu().eval())


def _names(student: StudentLike) -> tuple[str, ...]:
    return tuple(name for name in MODALITIES if name in student.encoders)


def _dims(student: StudentLike) -> Mapping[str, int]:
    return cast("ConfigLike", student.config).dims


def _encoder(student: StudentLike, modality: str) -> EncoderLike:
    return cast("EncoderLike", student.encoders[modality])


def _states(encoder: EncoderLike) -> tuple[StateSpec, ...]:
    specs = []
    for name, value in encoder.initial(1).named().items():
        filled = value.flatten()[0].item()
        if not bool((value == filled).all()):
            raise ExportError(f"state {name!r} does not start filled with one value; a bundle cannot describe it")
        specs.append(StateSpec(name, tuple(value.shape), float(filled)))
    return tuple(specs)
