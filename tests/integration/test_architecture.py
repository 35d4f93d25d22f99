"""The arrows of the house, held by prediction every file's imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.locations import REPOSITORY

TOP = REPOSITORY
ROOMS = {
    "edge_msa": TOP / "edge_msa",
    "edge_msa_export": TOP / "export" / "edge_msa_export",
    "edge_msa_calibrate": TOP / "calibrate" / "edge_msa_calibrate",
    "edge_msa_runtime": TOP / "runtime" / "edge_msa_runtime",
}
ORDER = tuple(ROOMS)
TORCH = (
    "edge_msa.models.",
    "edge_msa.training.",
    "edge_msa_export.graphs.export",
    "edge_msa_export.torch_tensorrt.programs",
)
# What the rest of the toolkit may know of the device's package: the words that all share, and the one version.
SHARED_WORDS = {"edge_msa_runtime.modalities", "edge_msa_runtime.errors", "edge_msa_runtime.__version__"}
# Training as in int8 is on calibrate's own grids: a second arithmetic would drift away from it.
GRIDS = {
    "edge_msa.training.distillation.qat": {
        "edge_msa_calibrate.affine.QuantizationParameters",
        "edge_msa_calibrate.affine.compute_parameters",
        "edge_msa_calibrate.affine.quantize_weight",
        "edge_msa_calibrate.plan.MIN_CHANNELS",
        "edge_msa_calibrate.schemes.QuantizationScheme",
        "edge_msa_calibrate.errors.CalibrationError",
    }
}
POSIX_ONLY = {"resource", "fcntl", "pwd", "grp", "termios"}
MAX_FILE, MAX_FUNCTION = 350, 60


@dataclass(frozen=True)
class Module:
    name: str
    path: Path

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]

    @property
    def tree(self) -> ast.Module:
        return _tree(self.path)

    def imports(self, nodes: Iterator[ast.AST] | None = None) -> set[str]:
        """Dotted names, `from a import b` as a.b."""
        found: set[str] = set()
        for node in nodes or ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path} has a relative import, the house has absolute ones"
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        return found

    def at_import(self) -> Iterator[ast.AST]:
        """Nodes that execute when the module is imported: all but the bodies of functions and of TYPE_CHECKING."""
        pending: list[ast.AST] = list(self.tree.body)
        while pending:
            node = pending.pop()
            yield node
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                pending += node.orelse
                continue
            pending += ast.iter_child_nodes(node)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def modules() -> list[Module]:
    found = []
    for room, folder in ROOMS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found.append(Module(".".join([room, *(part for part in parts if part != "__init__")]), path))
    return found


MODULES = modules()


def of(names: set[str], *packages: str) -> set[str]:
    """Those that are one of the packages or inside it."""
    return {name for name in names if any(name == item or name.startswith(f"{item}.") for item in packages)}


def test_all_four_rooms_are_read() -> None:
    counts = {room: sum(module.room == room for module in MODULES) for room in ROOMS}
    assert min(counts.values()) > 5, counts


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_arrows_never_point_back(module: Module) -> None:
    behind = ORDER[: ORDER.index(module.room)]
    assert of(module.imports(), *behind) == set()


def test_the_flow_alone_knows_all_four_rooms() -> None:
    found = {}
    for module in MODULES:
        if module.room == "edge_msa" and not module.name.startswith("edge_msa.workflows"):
            others = of(module.imports(), *ORDER[1:]) - GRIDS.get(module.name, set())
            found[module.name] = {name for name in others if not of({name}, *SHARED_WORDS)}
    assert {name: others for name, others in found.items() if others} == {}


def test_nothing_below_the_flow_knows_it() -> None:
    for module in MODULES:
        if not module.name.startswith(("edge_msa.workflows", "edge_msa.cli", "edge_msa.__main__")):
            assert of(module.imports(), "edge_msa.workflows", "edge_msa.cli") == set(), module.name


def test_torch_is_in_models_training_and_the_graph_alone() -> None:
    found = {module.name for module in MODULES if of(module.imports(), "torch")}
    assert found >= {"edge_msa.models.student", "edge_msa_export.graphs.export"}
    assert {name for name in found if not name.startswith(TORCH)} == set()


def test_onnx_is_in_calibrate_and_export_alone() -> None:
    for module in MODULES:
        if module.room in {"edge_msa", "edge_msa_runtime"}:
            assert of(module.imports(), "onnx", "onnxscript", "onnxconverter_common") == set(), module.name


BACKENDS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt", "cuda": "tensorrt"}


def test_a_room_that_executes_graphs_has_one_file_an_backend() -> None:
    for module in MODULES:
        used = of(module.imports(), *BACKENDS)
        if module.room == "edge_msa_runtime":
            own = {name for name, backend in BACKENDS.items() if module.name.endswith(f".{backend}_backend")}
            if module.name == "edge_msa_runtime.backends.tensorrt.cuda":
                own = {"cuda"}  # memory of the GPU, for the TensorRT backend
            if module.name == "edge_msa_runtime.backends.tensorrt.vendor":
                own = {"tensorrt"}  # for the backend and for the process that builds
            assert of(used, *own) == used, f"{module.name} imports {used}"
        elif module.room == "edge_msa":
            assert used == set(), module.name


@pytest.mark.parametrize("room", ["edge_msa_calibrate", "edge_msa_export"])
def test_one_file_of_a_room_opens_a_session_of_onnxruntime(room: str) -> None:
    files = [module.name for module in MODULES if module.room == room and of(module.imports(), "onnxruntime")]
    assert len(files) <= 1, files


@pytest.mark.parametrize("module", [item for item in MODULES if item.room == "edge_msa_runtime"], ids=lambda m: m.name)
def test_the_runtime_can_be_imported_on_any_system_with_numpy_alone(module: Module) -> None:
    standard = set(sys.stdlib_module_names) | {"__future__"}
    loaded = {name.partition(".")[0] for name in module.imports(module.at_import())}
    assert loaded - standard - {"numpy", "edge_msa_runtime"} == set()
    assert loaded & POSIX_ONLY == set()
    for node in module.at_import():
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("sched_"), f"{module.path}:{node.lineno}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not node.value.startswith("/proc"), f"{module.path}:{node.lineno}"


def test_torch_and_backends_are_not_imported_by_data_metrics_report_study_and_explain() -> None:
    rooms = ("data", "metrics", "report", "study", "explain", "evaluation", "runs")
    light = tuple(f"edge_msa.{room}" for room in rooms)
    for module in MODULES:
        if module.name.startswith(light):
            assert of(module.imports(), "torch", "onnx", "onnxruntime", "openvino") == set(), module.name


def test_files_and_functions_can_be_read_at_one_sitting() -> None:
    for module in MODULES:
        lines = len(module.path.read_text(encoding="utf-8").splitlines())
        assert lines <= MAX_FILE, f"{module.path} has {lines} lines"
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= MAX_FUNCTION, f"{module.path}:{node.lineno} {node.name} has {length} lines"


def test_every_module_says_what_it_is_for() -> None:
    assert [module.name for module in MODULES if not ast.get_docstring(module.tree)] == []


def test_a_room_uses_of_another_only_what_has_a_public_name() -> None:
    for module in MODULES:
        others = of(module.imports(), *(room for room in ORDER if room != module.room))
        hidden = {name for name in others for part in name.split(".") if part.startswith("_") and part != "__version__"}
        assert hidden == set(), f"{module.name} imports {hidden}"


def test_the_runtime_gives_its_names_at_the_top() -> None:
    import edge_msa_runtime

    assert {"load", "Session", "Prediction", "Stream", "Subset", "__version__"} <= set(dir(edge_msa_runtime))
    assert {name for name in edge_msa_runtime.__all__ if not hasattr(edge_msa_runtime, name)} == set()


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP)
    return done.stdout.strip()


def test_importing_the_runtime_loads_no_other_room_and_no_backend() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "openvino", "tensorrt", "typer", "edge_msa", "edge_msa_export")
    code = f"import sys, edge_msa_runtime, edge_msa_runtime.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert fresh(code) == "[]"


def test_help_loads_nothing_that_takes_long() -> None:
    heavy = ("torch", "numpy", "onnx", "onnxruntime", "openvino", "matplotlib", "jinja2", "edge_msa_runtime.session")
    code = (
        "import sys\nfrom edge_msa.cli import run\n"
        f"code = run(['--help'])\nprint(code, [m for m in {heavy} if m in sys.modules])"
    )
    assert fresh(code).splitlines()[-1] == "0 []"
