"""The first commands of a new user: the Makefile, README and the pinned versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.locations import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@pytest.fixture
def make(tmp_path: Path) -> list[str]:
    """Return a make command in a copy of the repository's Makefile whose Python only pretends to install."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for name in ("runtime", "pretrained"):
        (tmp_path / name).mkdir()
        shutil.copy(REPOSITORY / name / "pyproject.toml", tmp_path / name)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\ncase $2 in venv) mkdir -p $3/bin; cp $0 $3/bin/python;; esac\n")
    python.chmod(0o755)
    return ["make", "-C", str(tmp_path), "-s", f"PYTHON={python}"]


@pytest.mark.case("F39")
def test_make_install_says_what_it_does_and_what_comes_next(make: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    result = subprocess.run([*make, "install"], capture_output=True, text=True, check=True, env=environment)
    lines = result.stdout.splitlines()
    assert [line[:3] for line in lines[:3]] == ["1/3", "2/3", "3/3"]
    assert all(re.search(r"\.\.\. done in \d+ s$", line) for line in lines[:3])
    assert "  . .venv/bin/activate" in lines
    again = subprocess.run([*make, "install"], capture_output=True, text=True, check=True, env=environment)
    assert again.stdout.splitlines() == lines[3:]


def test_make_test_installs_the_models_and_make_install_does_not(make: list[str], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for target, installs in (("install", False), ("test", True), ("test-all", False)):
        result = subprocess.run([*make, target], capture_output=True, text=True, check=True, env=environment)
        assert ("Installing the models that tests run" in result.stdout) is installs
    assert (tmp_path / ".venv" / ".models").exists()


@pytest.mark.case("F39")
@pytest.mark.parametrize("activated", [True, False])
def test_make_demo_says_how_to_use_its_commands(make: list[str], tmp_path: Path, *, activated: bool) -> None:
    binaries = tmp_path / "binaries"
    binaries.mkdir()
    for name in ("sh", "date", "mkdir", "cp", "make"):
        (binaries / name).symlink_to(shutil.which(name) or name)
    if activated:
        (binaries / "edge-msa").symlink_to(tmp_path / ".venv/bin/edge-msa")
    subprocess.run([*make, "install"], check=True, capture_output=True)
    shutil.copy(tmp_path / ".venv/bin/python", tmp_path / ".venv/bin/edge-msa")
    result = subprocess.run([*make, "demo"], capture_output=True, text=True, check=True, env={"PATH": str(binaries)})
    hint = "To use these commands in this shell, first run: . .venv/bin/activate\n"
    assert result.stdout == ("" if activated else hint)


@pytest.mark.case("F39")
def test_readme_activates_the_environment_before_its_commands() -> None:
    block = (REPOSITORY / "README.md").read_text().split("```")[1].splitlines()
    commands = [line.split("#")[0].strip() for line in block if line.strip()]
    assert commands == ["make install", ". .venv/bin/activate", "edge-msa demo --quick"]


def requirements(python: str) -> dict[str, list[str]]:
    """Return the pins of constraints.txt that apply to a Python version, by package."""
    pins: dict[str, list[str]] = {}
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate({"python_version": python})
            pins.setdefault(requirement.name.lower(), []).extend([str(requirement.specifier)] * applies)
    return pins


@pytest.mark.case("F6")
@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_has_at_most_one_pin_per_python(python: str) -> None:
    pins = requirements(python)
    assert {name: specifiers for name, specifiers in pins.items() if len(specifiers) > 1} == {}
    # Releases of these packages that still support Python 3.10 are older, so all versions must name a pin.
    assert pins["numpy"] == ["==2.2.6" if python == "3.10" else "==2.4.6"]


@pytest.mark.case("F6")
@pytest.mark.parametrize("python", PYTHONS)
def test_the_pins_are_within_the_ranges_of_pyproject(python: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pins = requirements(python)
    extras = [item for extra in project["optional-dependencies"].values() for item in extra]
    for requirement in map(Requirement, [*project["dependencies"], *extras]):
        for pin in pins.get(requirement.name.lower(), []):
            assert requirement.specifier.contains(pin.removeprefix("==")), requirement.name
