from __future__ import annotations

import itertools
import sys
from pathlib import Path

import onnx
import pytest
from onnx import helper

from edge_msa_export.errors import ExportError, LintError
from edge_msa_export.lint import (
    NOTE,
    REFUSED,
    SLOW,
    LintTarget,
    find_local_paths,
    lint,
    refuse_findings,
    tensorrt_version,
)
from edge_msa_export.lint.rules import RULES
from edge_msa_export.profiles import profile_named
from tests.locations import REPOSITORY
from tests.unit.export.graphs import model

ORT, OPENVINO, TENSORRT = LintTarget("onnxruntime"), LintTarget("openvino"), LintTarget("tensorrt", (10, 3))


def rules(graph: onnx.ModelProto, lint_target: LintTarget = TENSORRT, *, ours: bool = True) -> set[str]:
    return {finding.rule for finding in lint(graph, lint_target, ours=ours)}


def relu(**given: object) -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"])], **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("lint_target", [ORT, OPENVINO, TENSORRT], ids=str)
def test_a_plain_graph_has_no_findings(lint_target: LintTarget) -> None:
    assert rules(relu(), lint_target) == set()


@pytest.mark.parametrize("lint_target", [ORT, OPENVINO, TENSORRT], ids=str)
def test_our_graphs_are_opset_17_for_every_backend(lint_target: LintTarget) -> None:
    graph = relu()
    graph.opset_import[0].version, graph.ir_version = 18, 10
    assert rules(graph, lint_target) == {"our-versions"}
    assert rules(graph, lint_target, ours=False) == set()


def test_an_operator_of_another_domain_or_unknown_to_the_backend_is_found() -> None:
    fused = model([helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")])
    for lint_target in (ORT, OPENVINO, TENSORRT):
        assert rules(fused, lint_target) == {"operator"}
    trilu = model([helper.make_node("Trilu", ["x"], ["y"])])
    assert rules(trilu, ORT) == {"operator"}
    assert rules(trilu, TENSORRT) == set()


def test_a_reduce_over_all_axes_is_found_in_our_graphs() -> None:
    for kind in ("ReduceMean", "ReduceSum"):
        graph = model([helper.make_node(kind, ["x"], ["y"])])
        assert rules(graph, ORT) == {"named-axes"}
        assert rules(graph, ORT, ours=False) == set()


@pytest.mark.parametrize("shape", [(1, "time", 8), (1, 0, 8)])
def test_a_dimension_that_is_not_fixed_is_found(shape: tuple[int | str, ...]) -> None:
    for lint_target in (ORT, OPENVINO, TENSORRT):
        assert rules(relu(shape=shape), lint_target) == {"static-shape"}


@pytest.mark.parametrize("path", ["/home/somebody/x.py", "C:\\Users\\somebody\\x.py", f"{sys.prefix}/lib/x.py"])
def test_a_path_is_found_in_every_string(path: str) -> None:
    assert rules(model([helper.make_node("Relu", ["x"], ["y"], name=path)])) == {"local-path"}
    documented = relu()
    documented.graph.node[0].doc_string = f"File {path}, line 3"
    assert rules(documented) == {"local-path"}
    noted = relu()
    entry = noted.graph.node[0].metadata_props.add()
    entry.key, entry.value = "trace", path
    assert rules(noted) == {"local-path"}
    assert rules(noted, ours=False) == set()


def test_names_with_slashes_are_not_paths() -> None:
    assert find_local_paths("/encoders/language/Conv_output_0 a/b http://onnx.ai/x") is None


def test_an_element_is_not_the_folder_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/data"))
    assert find_local_paths("<layer><data/></layer></data>") is None
    assert find_local_paths('name="/data/model.py"') == "/data"


def test_local_functions_are_found() -> None:
    graph = relu()
    graph.functions.append(helper.make_function("here", "f", ["x"], ["y"], [], []))
    assert rules(graph) == {"functions"}


def test_export_refuses_findings_in_one_line_with_the_document() -> None:
    graph = model([helper.make_node("Mish", ["x"], ["y"], name="m"), helper.make_node("Mish", ["y"], ["z"])], opset=18)
    findings = lint(graph, OPENVINO, ours=False)
    with pytest.raises(
        ExportError, match=r"step-audio is not fit for OpenVINO: operator: Mish m.*1 more.*see http"
    ) as caught:
        refuse_findings(findings, OPENVINO, "step-audio")
    assert "\n" not in str(caught.value)


def test_what_is_slow_is_not_refused() -> None:
    graph = model([helper.make_node("Relu", ["x"], ["y"])])
    slow = [finding for finding in lint(graph, LintTarget("tensorrt", (10, 3), dla=True)) if finding.severity == SLOW]
    assert slow
    refuse_findings(slow, TENSORRT, "any")


@pytest.mark.parametrize(
    ("text", "version"),
    [("8.5.2.2", (8, 5, 2, 2)), ("8.6", (8, 6)), ("10.3", (10, 3)), ("11", (11, 0)), ("11.4.1", (11, 4, 1))],
)
def test_versions_are_numbers(text: str, version: tuple[int, ...]) -> None:
    assert tensorrt_version(text) == version


def test_10_3_is_later_than_8_6() -> None:
    assert tensorrt_version("10.3") > tensorrt_version("8.6")


@pytest.mark.parametrize("text", ["", "banana", "8.5.", "10.3rc1", "-1", "7.2", "8.4.3", "12.0"])
def test_a_version_that_no_rules_know_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(LintError) as caught:
        tensorrt_version(text)
    assert caught.value.exit_code == 2
    assert repr(text) in str(caught.value) or text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reader_is_an_backend_with_its_version() -> None:
    for given in (("tflite",), ("tensorrt",), ("openvino", (10, 3)), ("openvino", None, True)):
        with pytest.raises(LintError):
            LintTarget(*given)
    assert str(LintTarget("tensorrt", (8, 5, 2, 2))) == "TensorRT 8.5.2.2"


def test_a_target_gives_its_exact_version_and_its_dla() -> None:
    assert LintTarget.of(profile_named("jetson-xavier-nx"), "tensorrt").version == (8, 5, 2, 2)
    assert LintTarget.of(profile_named("jetson-orin-nx"), "tensorrt", dla=True).dla
    assert LintTarget.of(profile_named("jetson"), "onnxruntime") == ORT
    for name in ("jetson-orin-nano", "jetson-thor", "laptop"):
        with pytest.raises(LintError, match="has no DLA"):
            LintTarget.of(profile_named(name), "tensorrt", dla=True)


def test_every_rule_says_what_it_asks_and_by_which_document() -> None:
    for rule in RULES:
        assert rule.severity in (REFUSED, SLOW, NOTE)
        assert rule.what
        assert rule.document.startswith(("http", "docs/", "CONTRIBUTING"))
        assert rule.since < rule.until
    spans: dict[str, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {}
    for rule in RULES:
        if rule.backends == ("tensorrt",):
            spans.setdefault(rule.name, []).append((rule.since, rule.until))
    for name, found in spans.items():
        ends = sorted(found)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends)), name
    assert len(spans) > 25


def test_every_rule_is_in_the_documents() -> None:
    text = (REPOSITORY / "docs" / "devices.md").read_text(encoding="utf-8")
    assert {rule.name for rule in RULES if f"`{rule.name}`" not in text} == set()
