"""Exports a student as torch programs, which torch-tensorrt compiles through its dynamo path.

Each program has the inputs and outputs of the ONNX graph with the same key, in float32. Unlike a bundle, the programs
need torch on the device, which takes hundreds of megabytes. They offer nothing that a bundle lacks.
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

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.onnx_export import ExportableModule, silence_exporter
from edge_msa_export.graphs.protocols import StudentLike
from edge_msa_export.graphs.student import build_student_modules, get_student_shapes
from edge_msa_export.graphs.text_encoder import build_text_encoder_modules
from edge_msa_export.parity.cases import build_parity_cases, check_fp32_parity, compute_fp32_limit
from edge_msa_export.parity.graphs import Array, ParityCase, Program, measure_parity
from edge_msa_export.parity.text import measure_text_encoder_parity, write_text_model
from edge_msa_export.request import ExportRequest
from edge_msa_export.text import TextGraph
from edge_msa_export.torch_tensorrt.tables import OperatorTable
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import BackendUnavailableError, first_line
from edge_msa_runtime.interrupts import raise_if_interrupted

PRECISIONS = {"fp32": (torch.float32,), "fp16": (torch.float16, torch.float32)}
"""Types that torch-tensorrt may compute in, by precision."""


@dataclass(frozen=True)
class InputSpec:
    """Shape and dtype of an input; the dtype as torch names it, such as `float32`."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class SavedProgram:
    """One program on disk.

    Attributes:
        key: the graph that it corresponds to.
        file: path relative to the root.
        inputs: specs of the inputs by name, in the order of the arguments.
        outputs: names of the outputs, in order.
        parity: largest |prediction of the loaded program - prediction of the student|.
        operators: number of occurrences of each operator after the decompositions of torch-tensorrt.
        unconverted_operators: operators without a converter. They run in torch, between TensorRT engines.
    """

    key: GraphKey
    file: str
    inputs: Mapping[str, InputSpec]
    outputs: tuple[str, ...]
    parity: float
    operators: Mapping[str, int]
    unconverted_operators: tuple[str, ...]


@dataclass(frozen=True)
class ProgramSet:
    """All programs of a student below `root`, and the parity that each of them must reach."""

    root: Path
    saved: tuple[SavedProgram, ...]
    parity_limit: float


@dataclass(frozen=True)
class CompiledPrograms:
    """The programs that torch-tensorrt compiled: the only GPU that can run them, and their parity."""

    gpu: str
    parity: Mapping[GraphKey, float]


def save_programs(student: StudentLike, request: ExportRequest, work_dir: Path, table: OperatorTable) -> ProgramSet:
    """Export every graph of a student as a program, save it, load it again, and measure its parity.

    Args:
        student: the student, as for `build_graphs`.
        request: what to export, as for `build_graphs`; its precisions are ignored.
        work_dir: folder for the programs.
        table: operators of the target's torch-tensorrt.

    Raises:
        ExportError: torch cannot export a program, or a loaded program does not reproduce the student.
    """
    modules = _build_modules(student, request)
    files = {key: f"programs/{key.file_stem}.pt2" for key in modules}
    (work_dir / "programs").mkdir()
    operators: dict[GraphKey, Counter[str]] = {}
    for key, module in modules.items():
        exported = export_program(module)
        torch.export.save(exported, work_dir / files[key])
        operators[key] = count_operators(exported, table)
    loaded = {key: make_runner(load_program(work_dir / files[key]), module) for key, module in modules.items()}
    parity, cases = _measure(loaded, student, request)
    check_fp32_parity(f"torch {torch.__version__}", parity, cases)
    saved = tuple(
        SavedProgram(
            key=key,
            file=files[key],
            inputs={
                name: InputSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
                for name, tensor in module.inputs.items()
            },
            outputs=module.outputs,
            parity=parity[key],
            operators=dict(operators[key].most_common()),
            unconverted_operators=tuple(sorted(name for name in operators[key] if not table.converts(name))),
        )
        for key, module in modules.items()
    )
    return ProgramSet(work_dir, saved, compute_fp32_limit(cases))


def compile_programs(
    programs: ProgramSet, student: StudentLike, request: ExportRequest, precision: str, device: str = "cuda"
) -> CompiledPrograms:
    """Compile saved programs for the GPU of this machine, into `compiled/` next to `programs/`.

    Raises:
        BackendUnavailableError: torch-tensorrt is not installed, or there is no GPU.
        ExportError: a program cannot be compiled, or does not reproduce the student at fp32.
    """
    torch_tensorrt = _import_torch_tensorrt(device)
    (programs.root / "compiled").mkdir()
    modules = _build_modules(student, request)
    runners: dict[GraphKey, Program] = {}
    for saved in programs.saved:
        module = modules[saved.key]
        program = move_to_device_pass(load_program(programs.root / saved.file), device)
        inputs = [tensor.to(device) for tensor in module.inputs.values()]
        try:
            compiled = torch_tensorrt.dynamo.compile(
                program,
                arg_inputs=inputs,
                enabled_precisions=set(PRECISIONS[precision]),
                disable_tf32=True,
                truncate_double=True,
                min_block_size=1,
            )
            path = programs.root / "compiled" / Path(saved.file).name
            torch_tensorrt.save(compiled, str(path), output_format="exported_program", arg_inputs=inputs)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ExportError(f"torch-tensorrt cannot compile {saved.file}: {first_line(error)}") from error
        runners[saved.key] = make_runner(compiled, module, device)
    parity, cases = _measure(runners, student, request)
    if precision == "fp32":
        check_fp32_parity("torch-tensorrt", parity, cases)
    return CompiledPrograms(torch.cuda.get_device_name() if device == "cuda" else device, parity)


def export_program(module: ExportableModule) -> ExportedProgram:
    """Export a module as a program for exactly the shapes of its example inputs.

    Raises:
        ExportError: torch cannot export it.
    """
    with silence_exporter():
        try:
            return torch.export.export(module.module.eval(), tuple(module.inputs.values()), strict=False)
        except (RuntimeError, ValueError, TypeError) as error:  # the exporter's errors have no common base class
            raise_if_interrupted(error)
            raise ExportError(f"torch cannot export the module as a program: {first_line(error)}") from error


def load_program(path: Path) -> ExportedProgram:
    """Load a saved program.

    Raises:
        ExportError: the file is damaged, or another version of torch wrote it.
    """
    with silence_exporter():
        try:
            return torch.export.load(path)
        except Exception as error:  # a damaged archive raises errors of zip, JSON and torch
            raise ExportError(f"torch {torch.__version__} cannot load {path}: {first_line(error)}") from error


def count_operators(program: ExportedProgram, table: OperatorTable) -> Counter[str]:
    """Count the operators by their names in torch, as they are when torch-tensorrt starts to convert them."""
    decompositions: Any = torch.export.default_decompositions()
    for operator in list(decompositions):
        composite = operator.has_kernel_for_dispatch_key(torch.DispatchKey.CompositeImplicitAutograd)
        if not table.decomposes(str(operator), composite=composite):
            decompositions.pop(operator)
    with silence_exporter():
        lowered = program.run_decompositions(decompositions)
    return Counter(str(node.target) for node in lowered.graph.nodes if node.op == "call_function")


def make_runner(program: ExportedProgram | torch.nn.Module, module: ExportableModule, device: str = "cpu") -> Program:
    """Return a function from named arrays to named arrays that runs a program or a compiled module."""
    callable_module = program.module() if isinstance(program, ExportedProgram) else program

    def run(inputs: Mapping[str, Any]) -> dict[str, Array]:
        arguments = [torch.from_numpy(np.array(inputs[name])).to(device) for name in module.inputs]
        with torch.no_grad():
            result = callable_module(*arguments)
        tensors = result if isinstance(result, (tuple, list)) else (result,)
        return {name: tensor.cpu().numpy() for name, tensor in zip(module.outputs, tensors, strict=True)}

    return run


def get_torch_version() -> str:
    """Return the version of torch that writes programs here."""
    return str(torch.__version__)


def _build_modules(student: StudentLike, request: ExportRequest) -> dict[GraphKey, ExportableModule]:
    modules = build_student_modules(student, request.normalization, request.chunks, request.windows)
    if isinstance(request.text_model, TextGraph):
        modules.update(build_text_encoder_modules(request.text_model))
    return modules


def _import_torch_tensorrt(device: str) -> Any:
    if importlib.util.find_spec("torch_tensorrt") is None:
        raise BackendUnavailableError("torch-tensorrt is not installed.")
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailableError("torch-tensorrt needs a CUDA device to compile for, and this machine has none.")
    return importlib.import_module("torch_tensorrt")


def _measure(
    programs: Mapping[GraphKey, Program], student: StudentLike, request: ExportRequest
) -> tuple[dict[GraphKey, float], list[ParityCase]]:
    """Return the parity of each program, and the cases that it was measured on."""
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
        root = Path(scratch)
        write_text_model(student, request, root)  # the parity cases need its tokenizer
        cases = build_parity_cases(student, request, root)
        states = get_student_shapes(student).states
        parity = measure_parity(programs, cases, states, request.chunks)
        parity.update(measure_text_encoder_parity(programs, student, request, root))
    return parity, cases
