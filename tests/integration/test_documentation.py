"""The Python code of the documentation runs. `tests/unit/docs` checks its commands and links."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.documents import all_blocks
from tests.locations import REPOSITORY

if TYPE_CHECKING:
    from tests.integration.conftest import PipelineRun

    ExportedBundle = Callable[[str, str], Path]

PYTHON = [block for block in all_blocks() if block.language == "python" and not block.marker.startswith("test:")]
PAGES = sorted({block.page for block in PYTHON if not block.marker})

Files = dict[str, Path]
"""The files and folders that the code of a page expects in its working folder, by name."""


@pytest.fixture
def files(pipeline_run: PipelineRun, exported_bundle: ExportedBundle, request: pytest.FixtureRequest) -> Files:
    """Return what the pages expect; bundles with text only where a page needs them."""
    laptop = pipeline_run.folder / "bundle-laptop"
    found = {"demo": pipeline_run.folder, "bundle": laptop, "bundle-laptop": laptop, "mosi.npz": pipeline_run.data}
    page = next(iter(request.node.callspec.params.values()))
    if any("bundle-words" in block.text for block in PYTHON if block.page == page):
        found["bundle-words"] = exported_bundle("laptop-x86", "table")
    if any("face_landmarker.task" in block.text for block in PYTHON if block.page == page):
        found["face_landmarker.task"] = request.getfixturevalue("face_model")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_python_code_of_a_page_runs(page: str, files: Files, tmp_path: Path, environment: dict[str, str]) -> None:
    """Blocks run one after another, in one folder. A block with a title is a file, which others can import."""
    blocks = [block for block in PYTHON if block.page == page]
    for name, target in files.items():
        if not any(f'output_dir="{name}"' in block.text for block in blocks):  # otherwise the page creates it
            (tmp_path / name).symlink_to(target)
    for block in blocks:
        if block.title:
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    variables = {**environment, "PYTHONPATH": os.pathsep.join([*sys.path, str(REPOSITORY / "pretrained")])}
    for block in blocks:
        if not block.marker:
            script = block.title or "block.py"
            (tmp_path / script).write_text(block.text, encoding="utf-8")
            result = subprocess.run(
                [sys.executable, "-W", "error", script],
                cwd=tmp_path,
                env=variables,
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, f"{block.place}: {result.stderr}"
