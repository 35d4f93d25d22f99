"""A student as exported programs of torch, which torch-tensorrt compiles through its dynamo path.

A program has the inputs and outputs of the ONNX graph of the same key, and is float32. What it weighs
against the bundle: it needs torch on the device, hundreds of megabytes, and runs nothing that the bundle does not.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from edge_msa_export.build import cases_of, parity_limit, refuse_far
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.export import Part, StudentLike, facts_of, parts_of, quiet
from edge_msa_export.graphs.text_encoder import text_encoder_parts
from edge_msa_export.parity.graphs import Array, ParityCase, Program, measure_parity
from edge_msa_export.parity.text import measure_text_encoders, text_spec
from edge_msa_export.request import ExportRequest
from edge_msa_export.text import TextGraph
from edge_msa_export.torch_tensorrt.tables import Table
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import BackendUnavailableError

PRECISIONS = {"fp32": (torch.float32,), "fp16": (torch.float16, torch.float32)}
"""What torch-tensorrt may compute in, by the precision that is asked for."""


@dataclass(frozen=True)
class SavedProgram:
    """One program on disk.

    `file`: below the root. `inputs` and `outputs`: names in the order of its arguments and results, inputs with their
    shapes and types. `parity`: the largest |prediction of the reloaded program - of the student|. `operators`: after the
    decompositions of torch-tensorrt, with how often each is there, and `unconverted` those that it has no converter
    for: they run in torch, and part the backend in two.
    """

    key: GraphKey
    file: str
    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    outputs: tuple[str, ...]
    parity: float
    operators: Mapping[str, int]
    unconverted: tuple[str, ...]


@dataclass(frozen=True)
class Programs:
    """All programs of a student below `root`, and how far from torch one may be."""

    root: Path
    saved: tuple[SavedProgram, ...]
    parity_limit: float


def save_programs(student: StudentLike, request: ExportRequest, work_dir: Path, table: Table) -> Programs:
    """Export every graph of a student as a program, save it, load it again and measure it against the student.

    Args:
        student: as for `build_graphs`.
        request: as for `build_graphs`; of its precisions none matters here.
        work_dir: a folder of the caller's.
        table: of the target's torch-tensorrt.

    Raises:
        ExportError: torch cannot export one, or a program that was loaded again does not give torch's prediction.
    """
    parts = parts_of(student, request.chunks, request.windows)
    if isinstance(request.text, TextGraph):
        parts.update(text_encoder_parts(request.text))
    files = {key: f"programs/{key.file_stem}.pt2" for key in parts}
    (work_dir / "programs").mkdir()
    counts: dict[GraphKey, Counter[str]] = {}
    for key, part in parts.items():
        exported = export_program(part)
        torch.export.save(exported, work_dir / files[key])
        counts[key] = operators_of(exported, table)
    loaded = {key: callable_of(load_program(work_dir / files[key]), part) for key, part in parts.items()}
    parity, cases = _measure(loaded, student, request)
    refuse_far(f"torch {torch.__version__}", parity, cases)
    saved = tuple(_saved(key, part, files[key], parity[key], counts[key], table) for key, part in parts.items())
    return Programs(work_dir, saved, parity_limit(cases))


def export_program(part: Part) -> ExportedProgram:
    """A module as a program, for exactly these shapes.

    Raises:
        ExportError: torch cannot export it.
    """
    with quiet():
        try:
            return torch.export.export(part.module.eval(), tuple(part.inputs.values()), strict=False)
        except (RuntimeError, ValueError, TypeError) as error:  # torch has no root for what its exporter raises
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ExportError(f"torch cannot export it as a program: {first}") from error


def load_program(path: Path) -> ExportedProgram:
    """A program that was saved.

    Raises:
        ExportError: it is damaged, or of a torch that this one does not read.
    """
    with quiet():
        try:
            return torch.export.load(path)
        except Exception as error:  # whatever zip, JSON and torch's own reader raise of a damaged archive
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ExportError(f"{path} cannot be read by torch {torch.__version__}: {first}") from error


def operators_of(program: ExportedProgram, table: Table) -> Counter[str]:
    """How often each operator is there when torch-tensorrt begins to convert, by torch's name of it."""
    decompositions: Any = torch.export.default_decompositions()
    for operator in list(decompositions):
        composite = operator.has_kernel_for_dispatch_key(torch.DispatchKey.CompositeImplicitAutograd)
        if not table.decomposes(str(operator), composite=composite):
            decompositions.pop(operator)
    with quiet():
        lowered = program.run_decompositions(decompositions)
    return Counter(str(node.target) for node in lowered.graph.nodes if node.op == "call_function")


def callable_of(program: ExportedProgram | torch.nn.Module, part: Part, device: str = "cpu") -> Program:
    """A program, or what was compiled of one, as parity asks it: from named arrays to named arrays."""
    module = program.module() if isinstance(program, ExportedProgram) else program

    def run(inputs: Mapping[str, Any]) -> dict[str, Array]:
        given = [torch.from_numpy(np.array(inputs[name])).to(device) for name in part.inputs]
        with torch.no_grad():
            made = module(*given)
        tensors = made if isinstance(made, (tuple, list)) else (made,)
        return {name: tensor.cpu().numpy() for name, tensor in zip(part.outputs, tensors, strict=True)}

    return run


@dataclass(frozen=True)
class Compiled:
    """What torch-tensorrt made of programs: the GPU that they are for, alone, and the parity of each there."""

    gpu: str
    parity: Mapping[GraphKey, float]


def compile_programs(
    programs: Programs, student: StudentLike, request: ExportRequest, precision: str, device: str = "cuda"
) -> Compiled:
    """Compile saved programs for the GPU of this machine, into `compiled/` beside them.

    Raises:
        BackendUnavailableError: there is no torch-tensorrt, or no GPU.
        ExportError: it cannot compile one, or at float32 one does not give torch's prediction.
    """
    trt = _torch_tensorrt(device)
    (programs.root / "compiled").mkdir()
    parts = parts_of(student, request.chunks, request.windows)
    if isinstance(request.text, TextGraph):
        parts.update(text_encoder_parts(request.text))
    compiled: dict[GraphKey, Program] = {}
    for saved in programs.saved:
        part = parts[saved.key]
        program = move_to_device_pass(load_program(programs.root / saved.file), device)
        inputs = [tensor.to(device) for tensor in part.inputs.values()]
        try:
            module = trt.dynamo.compile(
                program,
                arg_inputs=inputs,
                enabled_precisions=set(PRECISIONS[precision]),
                disable_tf32=True,
                truncate_double=True,
                min_block_size=1,
            )
            path = programs.root / "compiled" / Path(saved.file).name
            trt.save(module, str(path), output_format="exported_program", arg_inputs=inputs)
        except (RuntimeError, ValueError, TypeError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ExportError(f"torch-tensorrt cannot compile {saved.file}: {first}") from error
        compiled[saved.key] = callable_of(module, part, device)
    parity, cases = _measure(compiled, student, request)
    if precision == "fp32":
        refuse_far("torch-tensorrt", parity, cases)
    return Compiled(torch.cuda.get_device_name() if device == "cuda" else device, parity)


def torch_version() -> str:
    """Of the torch that writes programs here."""
    return str(torch.__version__)


def _torch_tensorrt(device: str) -> Any:
    if importlib.util.find_spec("torch_tensorrt") is None:
        raise BackendUnavailableError("torch-tensorrt is not installed here")
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailableError(
            "there is no CUDA device here, and torch-tensorrt compiles for the one that it finds"
        )
    return importlib.import_module("torch_tensorrt")


def _measure(
    programs: Mapping[GraphKey, Program], student: StudentLike, request: ExportRequest
) -> tuple[dict[GraphKey, float], list[ParityCase]]:
    """The parity of each, and the samples that it was measured on."""
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
        text_spec(student, request, Path(scratch))  # the tokenizer, for what golden samples say
        cases, _ = cases_of(student, request, Path(scratch))
        parity = measure_parity(programs, cases, facts_of(student).states, request.chunks)
        parity.update(measure_text_encoders(programs, student, request, Path(scratch)))
    return parity, cases


def _saved(key: GraphKey, part: Part, file: str, parity: float, operators: Counter[str], table: Table) -> SavedProgram:
    return SavedProgram(
        key,
        file,
        {name: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in part.inputs.items()},
        part.outputs,
        parity,
        dict(operators.most_common()),
        tuple(sorted(name for name in operators if not table.converts(name))),
    )
