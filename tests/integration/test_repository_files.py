"""The files that people and GitHub read in the repository: citation, security, issue forms, the workflow."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_msa_runtime import __version__
from tests.locations import REPOSITORY

GITHUB = REPOSITORY / ".github"
FORMS = ("bug", "feature", "question")
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def run_tool(name: str, *arguments: str) -> str:
    """Run a tool of this environment, and return its output. Skip the test if it is not installed."""
    tool = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if tool is None:
        pytest.skip(f"{name} is not installed")
    completed = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def test_citation_is_valid() -> None:
    assert "valid according to schema" in run_tool("cffconvert", "--validate", "-i", "CITATION.cff")


def test_citation_names_this_version_and_the_papers_of_both_teachers() -> None:
    citation = load(REPOSITORY / "CITATION.cff")
    assert (citation["version"], citation["license"]) == (__version__, "MIT")
    assert [author["name"] for author in citation["authors"]] == ["The edge-msa developers"]
    assert [reference["notes"] for reference in citation["references"]] == ["The teacher HRLF", "The teacher ALMT"]
    identifiers = [item["value"] for reference in citation["references"] for item in reference["identifiers"]]
    assert identifiers == ["arXiv:2411.02793", "arXiv:2310.05804"]


def test_workflow_is_valid_and_runs_what_decides_whether_a_change_lands() -> None:
    workflow = ".github/workflows/ci.yml"
    run_tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow)
    job = load(REPOSITORY / workflow)["jobs"]["ci"]
    assert job["steps"][-1] == {"run": "bash .ci/run"}
    assert (REPOSITORY / ".ci/run").is_file()
    files = next(step for step in job["steps"] if "with" in step)["with"]["cache-dependency-path"].split()
    assert all((REPOSITORY / name).is_file() for name in files)


def test_every_issue_form_has_a_question_with_an_answer() -> None:
    assert {path.stem for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml")} == {*FORMS, "config"}
    for name in FORMS:
        form = load(GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")
        assert form["name"]
        assert form["description"]
        assert {item["type"] for item in form["body"]} <= FIELDS
        ids = [item["id"] for item in form["body"] if item["type"] != "markdown"]
        assert len(set(ids)) == len(ids)
        assert all(item["attributes"]["label"] for item in form["body"] if item["type"] != "markdown")
        assert any(item.get("validations", {}).get("required") for item in form["body"])


def test_bug_reports_ask_for_the_version_and_the_device() -> None:
    (field,) = [item for item in load(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")["body"] if item.get("id") == "doctor"]
    assert "edge-msa-run doctor" in field["attributes"]["description"]
    assert field["validations"]["required"]


def test_files_for_people_name_only_existing_make_targets() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for path in (GITHUB / "PULL_REQUEST_TEMPLATE.md", REPOSITORY / "CONTRIBUTING.md"):
        named = set(re.findall(r"\bmake ([a-z0-9-]+)", path.read_text()))
        assert named
        assert named <= targets


def test_dependabot_watches_folders_that_exist() -> None:
    updates = load(GITHUB / "dependabot.yml")["updates"]
    assert all((REPOSITORY / item["directory"].lstrip("/")).is_dir() for item in updates)


def test_vulnerabilities_are_reported_privately_without_an_address() -> None:
    text = (REPOSITORY / "SECURITY.md").read_text()
    assert "private\nvulnerability reporting" in text
    assert not re.search(r"\S+@\S+\.\w+", text)
