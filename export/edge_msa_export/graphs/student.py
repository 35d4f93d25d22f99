"""The graphs of a student: one step graph per modality, one fuse graph, and window graphs per subset.

Step and window graphs take raw frames, which they clip and normalize. Callers drop masked frames before they run a
graph, so `valid` has its ones first in every graph. What follows the valid frames does not affect any output.

Step and fuse graphs exist a second time for `STREAM_BATCH` streams at once. They are graphs of their own, because a
symbolic batch dimension would make the step graphs of single streams 5 to 14 % slower on OpenVINO: each stream has
another number of valid frames, so that they need the operator GatherElements.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.normalize import Normalize
from edge_msa_export.graphs.onnx_export import ExportableModule, export_onnx
from edge_msa_export.graphs.protocols import ConfigLike, EncoderLike, StudentLike
from edge_msa_export.normalization import Normalization
from edge_msa_export.text import bucket_lengths
from edge_msa_runtime.bundle.manifest import GraphKey, StateSpec
from edge_msa_runtime.modalities import MODALITIES, Subset, subsets_of

_LOGGER = logging.getLogger("edge_msa_export")
S = TypeVar("S", bound=StudentLike)

# Eight streams at once take 22 to 43 % of the time of eight single ones (presets nano to small, ONNX Runtime and
# OpenVINO, fp32 and int8). Batches of 16 or 32 save little more, and few programs have that many streams.
STREAM_BATCH = 8
"""Streams that the batched step and fuse graphs take at once."""


@dataclass(frozen=True)
class StudentShapes:
    """The sizes of a student that a manifest states.

    Attributes:
        dims: features per frame, by modality.
        states: states of the step graphs, by modality.
        outputs: number of values in a prediction.
        gap_frames: modalities in which the mean frame takes the place of masked frames between two valid ones.
    """

    dims: Mapping[str, int]
    states: Mapping[str, tuple[StateSpec, ...]]
    outputs: int
    gap_frames: frozenset[str]


def get_student_shapes(student: StudentLike) -> StudentShapes:
    """Return the sizes and initial states of a student.

    Raises:
        ExportError: the initial value of a state is not a single number, which a manifest cannot describe.
    """
    states = {name: _describe_states(_get_encoder(student, name)) for name in _list_modalities(student)}
    config = cast("ConfigLike", student.config)
    return StudentShapes(dict(config.dims), states, config.outputs, frozenset(config.gap_frames))


def export_student(
    student: StudentLike,
    normalization: Mapping[str, Normalization],
    chunks: Mapping[str, int],
    windows: Mapping[str, int],
) -> dict[GraphKey, onnx.ModelProto]:
    """Export every graph of a student, for one stream and for `STREAM_BATCH` streams. The student is not changed.

    Args:
        student: the student.
        normalization: normalization of raw frames, by modality.
        chunks: frames per call of the step graphs, by modality.
        windows: maximum number of frames of the window graphs, by modality.

    Raises:
        ExportError: torch cannot export a graph, or the result is not valid at opset 17.
    """
    return _export(
        {
            **build_student_modules(student, normalization, chunks, windows),
            **build_batch_modules(student, normalization, chunks),
        }
    )


def export_batch_graphs(
    student: StudentLike, normalization: Mapping[str, Normalization], chunks: Mapping[str, int]
) -> dict[GraphKey, onnx.ModelProto]:
    """Export only the graphs for `STREAM_BATCH` streams. Arguments and errors are those of `export_student`."""
    return _export(build_batch_modules(student, normalization, chunks))


def _export(modules: Mapping[GraphKey, ExportableModule]) -> dict[GraphKey, onnx.ModelProto]:
    graphs = {}
    for number, (key, module) in enumerate(modules.items(), 1):
        _LOGGER.info("Exporting graph %d of %d: %s", number, len(modules), key)
        graphs[key] = export_onnx(module)
    return graphs


def build_student_modules(
    student: StudentLike,
    normalization: Mapping[str, Normalization],
    chunks: Mapping[str, int],
    windows: Mapping[str, int],
) -> dict[GraphKey, ExportableModule]:
    """Return the module of every graph of a student for one stream or window, on the CPU and without dropout.

    Each graph has these inputs and outputs:

    - step: `frames` (1, chunk, d), `valid` (1, chunk) and `state.*` -> `next.*`.
    - fuse: `tokens.<modality>` (1, M, C) of all modalities and `available` (1, 3) -> `prediction` (1, outputs).
    - window: `frames.<modality>` (1, window, d) and `valid.<modality>` (1, window) -> `prediction` (1, outputs).

    Frames are raw. The student is not changed.
    """
    frozen = _copy_for_inference(student)
    names = _list_modalities(frozen)
    modules = {GraphKey.step(name): _build_step(frozen, normalization[name], name, chunks[name]) for name in names}
    modules[GraphKey.fuse(names)] = _build_fuse(frozen)
    for subset in subsets_of(names):
        for key, lengths in list_window_lengths(subset, windows).items():
            modules[key] = _build_window(frozen, normalization, subset, lengths)
    return modules


def build_batch_modules(
    student: StudentLike, normalization: Mapping[str, Normalization], chunks: Mapping[str, int]
) -> dict[GraphKey, ExportableModule]:
    """Return the modules of the step and fuse graphs for `STREAM_BATCH` streams, as `build_student_modules`.

    The first dimension of all their inputs and outputs is `STREAM_BATCH` in place of 1.
    """
    frozen = _copy_for_inference(student)
    names = _list_modalities(frozen)
    modules = {
        GraphKey.step(name, STREAM_BATCH): _build_step(frozen, normalization[name], name, chunks[name], STREAM_BATCH)
        for name in names
    }
    modules[GraphKey.fuse(names, STREAM_BATCH)] = _build_fuse(frozen, STREAM_BATCH)
    return modules


def list_window_lengths(subset: Subset, windows: Mapping[str, int]) -> dict[GraphKey, dict[str, int]]:
    """Return the window graphs of a subset, shortest first: each key with its number of frames by modality.

    Language alone also has graphs for shorter texts, because most utterances are much shorter than the window.
    """
    if subset is not Subset.L:
        return {GraphKey.window(subset): {name: windows[name] for name in subset.modalities}}
    *shorter, longest = bucket_lengths(windows["language"])
    lengths = {GraphKey.window(subset, length): {"language": length} for length in shorter}
    return {**lengths, GraphKey.window(subset): {"language": longest}}


def predict_with_torch(
    student: StudentLike, frames: Mapping[str, NDArray[np.float32]], valid: Mapping[str, NDArray[np.bool_]]
) -> NDArray[np.float32]:
    """Return the prediction (outputs,) of the torch student for one sample.

    Args:
        student: the student.
        frames: normalized frames (T, d) by modality.
        valid: valid (T,) by modality.
    """
    frozen = _copy_for_inference(student)
    with torch.no_grad():
        prediction = frozen.forward(
            {name: torch.from_numpy(np.array(value))[None] for name, value in frames.items()},
            {name: torch.from_numpy(np.array(value))[None] for name, value in valid.items()},
        )
    return np.asarray(prediction[0].numpy(), dtype=np.float32)


class _StepModule(nn.Module):
    def __init__(self, student: StudentLike, normalization: Normalization, modality: str) -> None:
        super().__init__()
        # The attribute has the same name as in the student, so that the weights keep their names.
        self.encoders = nn.ModuleDict({modality: student.encoders[modality]})
        self.normalization = nn.ModuleDict({modality: Normalize(normalization)})
        self.modality = modality
        state = _get_encoder(student, modality).initial_state(1)
        self.names = tuple(state.named())
        self.rebuild = type(state).from_named

    def forward(self, frames: Tensor, valid: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        encoder = cast("EncoderLike", self.encoders[self.modality])
        normalized = self.normalization[self.modality](frames)
        next_state = encoder(normalized, valid, self.rebuild(dict(zip(self.names, state, strict=True))))
        return tuple(next_state.named().values())


class _FuseModule(nn.Module):
    def __init__(self, student: StudentLike, names: Sequence[str]) -> None:
        super().__init__()
        self.fusion = student.fusion
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        tokens = dict(zip(self.names, inputs[:-1], strict=True))
        return cast("Tensor", self.fusion(tokens, inputs[-1]))


class _WindowModule(nn.Module):
    def __init__(self, student: StudentLike, normalization: Mapping[str, Normalization], names: Sequence[str]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: student.encoders[name] for name in names})
        self.normalization = nn.ModuleDict(
            {name: Normalize(normalization[name], _get_encoder(student, name).stride) for name in names}
        )
        self.fusion = student.fusion
        self.names = tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        tokens: dict[str, Tensor] = {}
        for index, name in enumerate(self.names):
            encoder = cast("EncoderLike", self.encoders[name])
            normalize = cast("Normalize", self.normalization[name])
            rows, valid = encoder.stack_whole(inputs[2 * index], inputs[2 * index + 1], normalize.zero_frames)
            tokens[name] = encoder.encode_rows(normalize(rows), valid)
        return cast("Tensor", self.fusion(tokens))


def _build_step(
    student: StudentLike, normalization: Normalization, modality: str, chunk: int, batch: int = 1
) -> ExportableModule:
    state = _get_encoder(student, modality).initial_state(batch).named()
    inputs = {
        "frames": torch.zeros(batch, chunk, _get_dims(student)[modality]),
        "valid": torch.ones(batch, chunk),
        **{f"state.{name}": value for name, value in state.items()},
    }
    return ExportableModule(
        _StepModule(student, normalization, modality), inputs, tuple(f"next.{name}" for name in state)
    )


def _build_fuse(student: StudentLike, batch: int = 1) -> ExportableModule:
    names = _list_modalities(student)
    inputs = {f"tokens.{name}": _get_encoder(student, name).initial_state(batch).tokens for name in names}
    inputs["available"] = torch.ones(batch, len(MODALITIES))
    return ExportableModule(_FuseModule(student, names), inputs, ("prediction",))


def _build_window(
    student: StudentLike, normalization: Mapping[str, Normalization], subset: Subset, lengths: Mapping[str, int]
) -> ExportableModule:
    inputs: dict[str, Tensor] = {}
    for name in subset.modalities:
        inputs[f"frames.{name}"] = torch.zeros(1, lengths[name], _get_dims(student)[name])
        inputs[f"valid.{name}"] = torch.ones(1, lengths[name])
    return ExportableModule(_WindowModule(student, normalization, subset.modalities), inputs, ("prediction",))


def _copy_for_inference(student: S) -> S:
    """Return a copy on the CPU in evaluation mode. The caller may still train the student, possibly on a GPU."""
    return cast("S", copy.deepcopy(student).cpu().eval())


def _list_modalities(student: StudentLike) -> tuple[str, ...]:
    return tuple(name for name in MODALITIES if name in student.encoders)


def _get_dims(student: StudentLike) -> Mapping[str, int]:
    return cast("ConfigLike", student.config).dims


def _get_encoder(student: StudentLike, modality: str) -> EncoderLike:
    return cast("EncoderLike", student.encoders[modality])


def _describe_states(encoder: EncoderLike) -> tuple[StateSpec, ...]:
    specs = []
    for name, value in encoder.initial_state(1).named().items():
        fill = value.flatten()[0].item()
        if not bool((value == fill).all()):
            raise ExportError(
                f"State {name!r} must be initialized with a single value; a bundle cannot describe others."
            )
        specs.append(StateSpec(name, tuple(value.shape), float(fill)))
    return tuple(specs)
