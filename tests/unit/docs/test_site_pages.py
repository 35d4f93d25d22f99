"""The parts of the reference that are generated from the code are complete."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import typing
from pathlib import Path
from types import ModuleType

import pytest

from edge_msa.config.section import RecipeSection
from tests.documents import list_pages
from tests.locations import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module", autouse=True)
def _import_path() -> typing.Iterator[None]:
    pytest.importorskip("griffe")
    sys.path.insert(0, str(DOCS))
    yield
    sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def hook(_import_path: None) -> ModuleType:
    from site_pages import hook as module

    return module


def markers() -> list[str]:
    return [name for page in list_pages() for name in re.findall(r"<!-- generated: (\S+) -->", page.read_text("utf-8"))]


def test_every_generated_part_is_on_one_page(hook: ModuleType) -> None:
    assert sorted(markers()) == sorted(hook.GENERATORS)


@pytest.mark.parametrize("name", sorted(set(markers())))
def test_a_generated_part_replaces_its_marker(hook: ModuleType, name: str) -> None:
    page = hook.on_page_markdown(f"before\n\n<!-- generated: {name} -->\n\nafter")
    assert page.startswith("before\n\n")
    assert page.endswith("\n\nafter")
    assert "generated:" not in page
    assert len(page) > 200


def test_a_page_with_generated_parts_says_so_in_the_repository_only(hook: ModuleType) -> None:
    pages = [page.read_text("utf-8") for page in (DOCS / "reference").rglob("*.md")]
    generated = [page for page in pages if "<!-- generated: " in page]
    assert generated
    for page in generated:
        assert "`make docs` builds the complete page." in page
        assert "make docs" not in hook.on_page_markdown(page)


def test_bars_in_the_code_of_a_cell_have_no_backslash(hook: ModuleType) -> None:
    import markdown

    page = hook.on_page_markdown("| a | b |\n|---|---|\n| `--model x\\|y` | c \\| d |\n")
    html = markdown.markdown(page, extensions=["tables"])
    assert "<code>--model x|y</code>" in html
    assert "<td>c | d</td>" in html


def test_options_in_code_are_marked_so_that_they_do_not_break(hook: ModuleType) -> None:
    html = hook.on_page_content("<p>a --b <code>edge-msa export -v --output-dir DIR</code></p>")
    option = '<span class="option">{}</span>'
    marked = f"edge-msa export {option.format('-v')} {option.format('--output-dir')} DIR"
    assert html == f"<p>a --b <code>{marked}</code></p>"


def test_every_table_has_the_same_number_of_cells_in_each_row(hook: ModuleType) -> None:
    for name, generate in hook.GENERATORS.items():
        for block in re.findall(r"(?:^\|.*\n)+", generate(), re.MULTILINE):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(counts) == 1, (name, block)


def test_every_field_of_a_file_has_a_meaning() -> None:
    from site_pages import records

    for kind in records.DESCRIBED:
        meanings = records.field_meanings(kind)
        assert {field.name for field in dataclasses.fields(kind)} <= set(meanings), kind
        assert all(len(text) > 5 for text in meanings.values()), kind


def test_every_section_of_a_recipe_is_listed_with_its_meaning() -> None:
    from site_pages import recipes

    listed = {section for _, section in recipes.SECTIONS}
    for section in listed:
        for name, field in section.model_fields.items():
            assert field.description, (section, name)
            annotation = field.annotation
            if isinstance(annotation, type) and issubclass(annotation, RecipeSection):
                assert annotation in listed, (section, name)


def test_every_exception_says_what_to_do() -> None:
    from site_pages import errors

    assert len(errors.error_classes()) > 20
    assert [kind.__name__ for kind in errors.error_classes() if not all(errors.split_docstring(kind))] == []


def test_messages_name_values_and_what_to_do(tmp_path: Path) -> None:
    from site_pages import errors

    source = 'raise DataError(f"{path}: no {item.name} in {len(rows)} rows. " + f"Add {_suggest(key)} to it.")\n'
    (tmp_path / "module.py").write_text(source)
    (message,) = errors._read(tmp_path / "module.py", {"DataError"})
    assert message.text == "<path>: no <item name> in <rows> rows. Add <key> to it."
    assert errors._split(message.text) == ("<path>: no <item name> in <rows> rows.", "Add <key> to it.")
    assert len(errors.list_messages()) > 400


def test_the_page_about_environment_variables_lists_all_of_them() -> None:
    page = (DOCS / "reference" / "environment.md").read_text("utf-8")
    folders = ("edge_msa", "export", "calibrate", "runtime", "tests/integration")
    used = {
        name
        for folder in folders
        for path in (REPOSITORY / folder).rglob("*.py")
        for name in re.findall(r"\bEDGE_MSA_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))
    }
    assert {"EDGE_MSA_CACHE", "EDGE_MSA_DEVICES", "EDGE_MSA_TRACEBACK"} <= used
    assert {name for name in used if f"`{name}`" not in page} == set()


def test_the_page_about_metrics_lists_all_of_them() -> None:
    from edge_msa.data.tasks import TASKS
    from edge_msa.evaluation.metrics import describe, metric_functions

    page = (DOCS / "reference" / "metrics.md").read_text("utf-8")
    scores = [task for task in TASKS.values() if task.kind != "emotions"]
    keys = {name for task in scores for name in metric_functions(task)}
    assert {key for key in keys if f"`{key}`" not in page} == set()
    mosi = metric_functions(TASKS["mosi"])
    assert {key for key in mosi if describe(key).title not in page} == set()


@pytest.mark.usefixtures("_import_path")
def test_the_published_schema_is_that_of_benchmark_records() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from edge_msa.benchmark.records import BenchRecord
    from edge_msa_runtime.benchmark.energy import Energy
    from edge_msa_runtime.benchmark.latency_statistics import Measured
    from site_pages.records import describe_benchmark_schema

    published = (DOCS / "reference" / "bench.schema.json").read_text("utf-8")
    assert published == describe_benchmark_schema(), "Run python docs/site_pages/write_schema.py."
    validator = jsonschema.Draft202012Validator(json.loads(published))
    latency = {"l": {"p50": Measured(0.1, 0.09, 0.12), "p99": None}}
    record = BenchRecord("bundle", "laptop-x86", "onnxruntime", "int8", "CPU", latency, energy=Energy("l"))
    written = json.loads(json.dumps(record.to_json()))
    validator.validate([written])
    for wrong in ({"schema": 2}, {"size_bytes": "9"}, {"latency_ms": {"l": {"p50": 0.1}}}, {"unknown": 1}):
        assert not validator.is_valid([written | wrong])
