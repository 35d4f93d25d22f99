"""The wheels: built offline from a copy of the repository, and installed without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa_export.bundle.wheel import write_runtime_wheel
from tests.locations import REPOSITORY

if TYPE_CHECKING:
    from tests.conftest import Once
    from tests.integration.conftest import PipelineRun

PARTS = (
    "edge_msa",
    "export",
    "calibrate",
    "runtime",
    "pretrained",
    "devices",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)


@pytest.fixture(scope="session")
def wheels(once: Once) -> dict[str, Path]:
    """Return the wheels by distribution name."""

    def create(folder: Path) -> None:
        tree = folder / "tree"
        tree.mkdir()
        ignore = shutil.ignore_patterns("__pycache__", "dist", "build")
        for name in PARTS:
            if (REPOSITORY / name).is_dir():
                shutil.copytree(REPOSITORY / name, tree / name, ignore=ignore)
            else:
                shutil.copy(REPOSITORY / name, tree / name)
        for project in (tree, tree / "runtime", tree / "pretrained"):
            command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
            subprocess.run(command, cwd=project, check=True, capture_output=True)

    return {path.name.partition("-")[0]: path for path in (once("wheels", create) / "dist").glob("*.whl")}


@pytest.fixture(scope="session")
def installed(wheels: dict[str, Path], once: Once) -> Path:
    """Return a folder with all wheels installed, and nothing else."""

    def create(folder: Path) -> None:
        options = ["-q", "--disable-pip-version-check", "--no-deps", "--no-index", "--target", str(folder)]
        command = [sys.executable, "-m", "pip", "install", *options, *map(str, wheels.values())]
        subprocess.run(command, check=True, capture_output=True)

    return once("installed-wheels", create)


PROJECTS = {
    "edge_msa": REPOSITORY,
    "edge_msa_runtime": REPOSITORY / "runtime",
    "edge_msa_pretrained": REPOSITORY / "pretrained",
}


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata(wheel: Path, file: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(f".dist-info/{file}"))
        return archive.read(name).decode()


def top_level(wheel: Path) -> set[str]:
    return {name.partition("/")[0] for name in names(wheel) if ".dist-info/" not in name}


def test_all_wheels_have_the_same_version(wheels: dict[str, Path]) -> None:
    assert set(wheels) == set(PROJECTS)
    assert len({path.name.split("-")[1] for path in wheels.values()}) == 1


def test_each_wheel_contains_its_packages(wheels: dict[str, Path]) -> None:
    assert top_level(wheels["edge_msa"]) == {"edge_msa", "edge_msa_export", "edge_msa_calibrate"}
    assert top_level(wheels["edge_msa_runtime"]) == {"edge_msa_runtime"}
    assert top_level(wheels["edge_msa_pretrained"]) == {"edge_msa_pretrained"}


def test_the_pretrained_wheel_is_small_data_without_code_and_dependencies(wheels: dict[str, Path]) -> None:
    wheel = wheels["edge_msa_pretrained"]
    package = REPOSITORY / "pretrained"
    data = {path.relative_to(package).as_posix() for path in (package / "edge_msa_pretrained").rglob("*.*")}
    assert {name for name in data if "__pycache__" not in name} <= names(wheel)
    assert [name for name in names(wheel) if name.endswith(".py")] == ["edge_msa_pretrained/__init__.py"]
    assert not re.search(r"\bimport\b", (package / "edge_msa_pretrained" / "__init__.py").read_text())
    assert Parser().parsestr(metadata(wheel, "METADATA")).get_all("Requires-Dist") is None
    assert wheel.stat().st_size < 2e6
    assert "research" in metadata(wheel, "licenses/TERMS.md")


def test_the_installed_runtime_finds_the_installed_bundle(installed: Path) -> None:
    code = (
        "import sys\nfrom edge_msa_runtime.cli import main\n"
        "assert main(['predict', '--pretrained', 'text-nano', 'i love it']) == 0\n"
        "print(sorted({'torch', 'onnx', 'edge_msa', 'edge_msa_pretrained', 'huggingface_hub'} & set(sys.modules)))"
    )
    lines = run_installed(installed, code).splitlines()
    assert lines[0].endswith("positive")
    assert lines[-1] == "[]"


def test_every_module_is_in_a_wheel(wheels: dict[str, Path]) -> None:
    inside = names(wheels["edge_msa"]) | names(wheels["edge_msa_runtime"])
    for parent in (REPOSITORY, REPOSITORY / "export", REPOSITORY / "calibrate", REPOSITORY / "runtime"):
        for package in parent.glob("edge_msa*/"):
            missing = {
                path.relative_to(parent).as_posix() for path in package.rglob("*.py") if "__pycache__" not in path.parts
            } - inside
            assert missing == set()


def test_device_profiles_and_templates_are_in_the_wheel(wheels: dict[str, Path]) -> None:
    inside = names(wheels["edge_msa"])
    assert {f"edge_msa_export/devices/{path.name}" for path in (REPOSITORY / "devices").glob("*.toml")} <= inside
    data = [path for path in (REPOSITORY / "edge_msa").rglob("*") if path.suffix in {".j2", ".css", ".toml", ".jpg"}]
    assert data
    assert {path.relative_to(REPOSITORY).as_posix() for path in data} <= inside


def test_the_wheel_in_bundles_has_the_same_package(wheels: dict[str, Path], tmp_path: Path) -> None:
    """A bundle's wheel is written without a build backend."""
    expected = {name for name in names(wheels["edge_msa_runtime"]) if ".dist-info/" not in name}
    assert {name for name in names(write_runtime_wheel(tmp_path)) if ".dist-info/" not in name} == expected


def test_pages_are_in_the_wheel_of_the_runtime(wheels: dict[str, Path]) -> None:
    package = REPOSITORY / "runtime"
    data = [path for path in package.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"}]
    assert len(data) > 5
    assert {path.relative_to(package).as_posix() for path in data} <= names(wheels["edge_msa_runtime"])


@pytest.mark.parametrize("wheel", PROJECTS)
def test_metadata_is_complete(wheel: str, wheels: dict[str, Path]) -> None:
    fields = Parser().parsestr(metadata(wheels[wheel], "METADATA"))
    extra = {"edge_msa_pretrained": ("MIT AND LicenseRef-Research-Data", ["LICENSE", "TERMS.md"])}
    expression, files = extra.get(wheel, ("MIT", ["LICENSE"]))
    assert fields["License-Expression"] == expression
    assert fields.get_all("License-File") == files
    assert fields["Author"] == "The edge-msa developers"
    assert fields["Keywords"]
    assert "multimodal sentiment" in f"{fields['Summary']} {fields['Keywords']}".lower()
    classifiers = fields.get_all("Classifier") or []
    assert "Typing :: Typed" in classifiers
    oldest = fields["Requires-Python"].removeprefix(">=")
    prefix = "Programming Language :: Python :: 3."
    minors = sorted(int(item.removeprefix(prefix)) for item in classifiers if item.startswith(prefix))
    assert minors == list(range(int(oldest.partition(".")[2]), 14))


@pytest.mark.parametrize("wheel", PROJECTS)
def test_each_wheel_has_its_license_and_readme(wheel: str, wheels: dict[str, Path]) -> None:
    license_text = metadata(wheels[wheel], "licenses/LICENSE")
    assert license_text == (REPOSITORY / "LICENSE").read_text()
    fields = Parser().parsestr(metadata(wheels[wheel], "METADATA"))
    assert fields["Description-Content-Type"] == "text/markdown"
    assert str(fields.get_payload()).strip() == (PROJECTS[wheel] / "README.md").read_text().strip()


def test_every_package_is_typed(wheels: dict[str, Path]) -> None:
    for wheel in wheels.values():
        assert {f"{package}/py.typed" for package in top_level(wheel)} <= names(wheel)


@pytest.mark.parametrize("wheel", PROJECTS)
def test_links_in_a_readme_have_a_target(wheel: str) -> None:
    """Outside of the repository a relative link leads nowhere, so the README of the device's wheel has none."""
    text = (PROJECTS[wheel] / "README.md").read_text()
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if not path:
            assert anchor in anchors, link
        elif not link.startswith("https://"):
            assert wheel == "edge_msa"
            assert (PROJECTS[wheel] / path).exists(), link


def test_the_readme_of_the_runtime_works_on_a_bundle(
    installed: Path, tmp_path: Path, pipeline_run: PipelineRun, wheels: dict[str, Path]
) -> None:
    text = (REPOSITORY / "runtime" / "README.md").read_text()
    assert f"./{wheels['edge_msa_runtime'].name}[onnxruntime]" in text
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "bundle").symlink_to(pipeline_run.folder / "bundle-laptop")
    printed = run_installed(installed, code, tmp_path).split()
    assert printed[1] in {"negative", "neutral", "positive"}
    assert printed[2:4] == ["lav", "openvino"]


def test_extras_of_both_wheels_are_those_of_the_readme(wheels: dict[str, Path]) -> None:
    fields = Parser().parsestr(metadata(wheels["edge_msa_runtime"], "METADATA"))
    listed = re.findall(r"^\| `([\w-]+)` \|", (REPOSITORY / "runtime" / "README.md").read_text(), re.MULTILINE)
    assert sorted(fields.get_all("Provides-Extra") or []) == sorted(listed)


def test_a_bundle_gets_the_license_and_the_readme_of_the_installed_runtime(installed: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom edge_msa_export.bundle.wheel import write_runtime_wheel\n"
        f"print(write_runtime_wheel(Path({str(tmp_path)!r})))"
    )
    wheel = Path(run_installed(installed, code))
    assert metadata(wheel, "licenses/LICENSE") == (REPOSITORY / "LICENSE").read_text()
    assert "# edge-msa-runtime" in metadata(wheel, "METADATA")


def test_wheels_contain_no_tests_and_caches(wheels: dict[str, Path]) -> None:
    for wheel in wheels.values():
        assert not [name for name in names(wheel) if "__pycache__" in name or "/test" in name]
        assert not [name for name in names(wheel) if name.endswith(".npz") and "_pretrained/" not in name]


def test_the_runtime_depends_on_numpy_only(wheels: dict[str, Path]) -> None:
    fields = Parser().parsestr(metadata(wheels["edge_msa_runtime"], "METADATA"))
    required = [item for item in fields.get_all("Requires-Dist") or [] if "extra ==" not in item]
    assert [item.partition(">")[0].strip() for item in required] == ["numpy"]
    assert fields["Requires-Python"] == ">=3.8"


@pytest.mark.parametrize(
    ("wheel", "line"),
    [
        ("edge_msa", "edge-msa = edge_msa.cli:main"),
        ("edge_msa_runtime", "edge-msa-run = edge_msa_runtime.cli:main"),
    ],
)
def test_each_wheel_installs_its_command(wheel: str, line: str, wheels: dict[str, Path]) -> None:
    assert line in metadata(wheels[wheel], "entry_points.txt").splitlines()


def run_installed(installed: Path, code: str, folder: Path | None = None) -> str:
    """Run code with the installed wheels, outside of the repository, and return what it prints."""
    code = f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, cwd=folder or installed, capture_output=True, text=True, check=True)
    return completed.stdout.strip()


def test_device_profiles_load_from_the_installed_wheel(installed: Path) -> None:
    code = (
        "import edge_msa_export.profiles as p\n"
        f"assert p.__file__.startswith({str(installed)!r}), p.__file__\n"
        "print(*p.load_profiles())"
    )
    assert run_installed(installed, code).split() == sorted(
        path.stem for path in (REPOSITORY / "devices").glob("*.toml")
    )


def test_the_report_renders_from_the_installed_wheel(installed: Path) -> None:
    code = (
        "import edge_msa.reporting.page as p\n"
        f"assert p.__file__.startswith({str(installed)!r}), p.__file__\n"
        "print(p.render_report(p.Report('a title', ()))[:15])"
    )
    assert run_installed(installed, code).lower().startswith("<!doctype html")


def test_the_runtime_runs_from_the_installed_wheel(installed: Path) -> None:
    code = "from edge_msa_runtime.cli import main\nprint(main(['info', 'nowhere']))"
    assert run_installed(installed, code) == "2"
