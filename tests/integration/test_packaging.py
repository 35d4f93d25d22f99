"""Both wheels, built offline from a copy of the tree, and installed without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.locations import REPOSITORY

TOP = REPOSITORY
PARTS = ("edge_msa", "export", "calibrate", "runtime", "devices", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels by distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    tree = folder / "tree"
    tree.mkdir()
    for name in PARTS:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "dist", "build"))
        else:
            shutil.copy(TOP / name, tree / name)
    for place in (tree, tree / "runtime"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
        subprocess.run(command, cwd=place, check=True, capture_output=True)
    return {path.name.partition("-")[0]: path for path in (folder / "dist").glob("*.whl")}


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both wheels installed, and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(target), *map(str, wheels.values())], check=True, capture_output=True)
    return target


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata(wheel: Path, file: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(f".dist-info/{file}"))
        return archive.read(name).decode()


def top_level(wheel: Path) -> set[str]:
    return {name.partition("/")[0] for name in names(wheel) if ".dist-info/" not in name}


def test_there_are_two_wheels_of_one_version(wheels: dict[str, Path]) -> None:
    assert set(wheels) == {"edge_msa", "edge_msa_runtime"}
    assert len({path.name.split("-")[1] for path in wheels.values()}) == 1


def test_each_has_its_own_packages_at_the_top(wheels: dict[str, Path]) -> None:
    assert top_level(wheels["edge_msa"]) == {"edge_msa", "edge_msa_export", "edge_msa_calibrate"}
    assert top_level(wheels["edge_msa_runtime"]) == {"edge_msa_runtime"}


def test_every_module_of_the_tree_is_in_a_wheel(wheels: dict[str, Path]) -> None:
    inside = names(wheels["edge_msa"]) | names(wheels["edge_msa_runtime"])
    for parent in (TOP, TOP / "export", TOP / "calibrate", TOP / "runtime"):
        for package in parent.glob("edge_msa*/"):
            missing = {
                path.relative_to(parent).as_posix() for path in package.rglob("*.py") if "__pycache__" not in path.parts
            } - inside
            assert missing == set()


def test_data_files_are_inside(wheels: dict[str, Path]) -> None:
    inside = names(wheels["edge_msa"])
    assert {f"edge_msa_export/devices/{path.name}" for path in (TOP / "devices").glob("*.toml")} <= inside
    assert {f"edge_msa/{page}.html.j2" for page in ("report/page", "report/grid", "explain/page")} <= inside
    assert "edge_msa/reporting/style.css" in inside


def test_nothing_but_the_project_is_inside(wheels: dict[str, Path]) -> None:
    for wheel in wheels.values():
        assert not [name for name in names(wheel) if "__pycache__" in name or "/test" in name or name.endswith(".npz")]


def test_numpy_is_all_that_the_runtime_needs(wheels: dict[str, Path]) -> None:
    found = Parser().parsestr(metadata(wheels["edge_msa_runtime"], "METADATA"))
    needed = [item for item in found.get_all("Requires-Dist") or [] if "extra ==" not in item]
    assert [item.partition(">")[0].strip() for item in needed] == ["numpy"]
    assert found["Requires-Python"] == ">=3.8"


@pytest.mark.parametrize(
    ("wheel", "line"),
    [
        ("edge_msa", "edge-msa = edge_msa.cli:main"),
        ("edge_msa_runtime", "edge-msa-run = edge_msa_runtime.cli:main"),
    ],
)
def test_each_wheel_has_its_command(wheel: str, line: str, wheels: dict[str, Path]) -> None:
    assert line in metadata(wheels[wheel], "entry_points.txt").splitlines()


def run_installed(installed: Path, code: str) -> str:
    """What code prints that is run from the installed wheels, away from the checkout."""
    told = f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"
    command = [sys.executable, "-c", told]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_devices_are_found_in_the_installed_wheel(installed: Path) -> None:
    code = (
        "import edge_msa_export.profiles as p\n"
        f"assert p.__file__.startswith({str(installed)!r}), p.__file__\n"
        "print(*p.load_profiles())"
    )
    assert run_installed(installed, code).split() == sorted(path.stem for path in (TOP / "devices").glob("*.toml"))


def test_the_installed_wheel_contains_the_templates(installed: Path) -> None:
    code = (
        "import edge_msa.reporting.page as p\n"
        f"assert p.__file__.startswith({str(installed)!r}), p.__file__\n"
        "print(p.render_report(p.Report('a title', ()))[:15])"
    )
    assert run_installed(installed, code).lower().startswith("<!doctype html")


def test_the_runtime_answers_from_the_installed_wheel(installed: Path) -> None:
    code = "from edge_msa_runtime.cli import main\nprint(main(['info', 'nowhere']))"
    assert run_installed(installed, code) == "2"
