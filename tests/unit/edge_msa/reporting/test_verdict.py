from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.evaluation.metrics import Estimate
from edge_msa.reporting import ReportPoint
from edge_msa.reporting.figures import Verdict
from edge_msa.reporting.verdict import find_verdicts

MACHINE = {"machine": "a laptop"}
RNG = np.random.default_rng(0)
NOISE = RNG.normal(0.0, 0.3, 200)
SHARED = RNG.normal(0.0, 0.1, 200)


def estimate(value: float, noise: NDArray[np.float64]) -> Estimate:
    return Estimate(value, tuple(noise.tolist()), "groups", len(noise))


def model(precision: str, accuracy: float, p50: float, size: int = 1000, noise: float = 0.0) -> ReportPoint:
    """Return a chosen row whose errors are those of all rows, and `noise` times errors of its own."""
    own = SHARED + noise * NOISE
    return ReportPoint(
        "bundle",
        "laptop-x86",
        {"fp32": "openvino"}.get(precision, "onnxruntime"),
        precision,
        "CPU",
        "acc2_non0",
        by_subset={"lav": {"acc2_non0": accuracy}, "la": {"acc2_non0": accuracy - 0.02}},
        estimates={"lav": {"acc2_non0": estimate(accuracy, own)}},
        latency_ms={"lav": {"p50": p50, "p99": 2 * p50}},
        size_bytes=size,
        chosen=True,
        machine=MACHINE,
    )


TEACHER = replace(
    model("fp32", 0.80, 2.0), name="teacher", target="", backend="onnxruntime", reference=True, chosen=False
)


def verdict_of(*points: ReportPoint) -> Verdict:
    (verdict,) = find_verdicts(points, "lav")
    return verdict


def test_the_more_accurate_row_is_shipped_if_the_interval_excludes_zero() -> None:
    verdict = verdict_of(model("fp32", 0.85, 1.0), model("int8", 0.80, 0.1))
    assert verdict.headline == "Ship fp32 on OpenVINO"
    assert verdict.reasons == ["int8 on ONNX Runtime is less accurate (-5.0, 95 % interval -5.0 to -5.0)."]


def test_a_loss_within_its_interval_does_not_count() -> None:
    verdict = verdict_of(model("fp32", 0.81, 1.0), model("int8", 0.80, 0.1, noise=1.0))
    assert verdict.headline == "Ship int8 on ONNX Runtime"
    assert "is as accurate within noise (+1.0, 95 % interval" in verdict.reasons[0]
    assert verdict.reasons[0].endswith("but slower (p50 1.00 ms).")


def test_without_intervals_any_loss_counts() -> None:
    rows = [replace(item, estimates={}) for item in (model("fp32", 0.81, 1.0), model("int8", 0.80, 0.1))]
    verdict = verdict_of(*rows)
    assert verdict.headline == "Ship fp32 on OpenVINO"
    assert verdict.reasons == ["int8 on ONNX Runtime is less accurate (-1.0, no interval)."]


@pytest.mark.parametrize(("p50", "shipped"), [(1.05, "int8"), (1.2, "fp32")])
def test_among_equally_fast_rows_the_smallest_is_shipped(p50: float, shipped: str) -> None:
    verdict = verdict_of(model("fp32", 0.80, 1.0, size=4000), model("int8", 0.80, p50))
    assert verdict.headline.startswith(f"Ship {shipped}")


def test_the_sentence_says_what_to_expect() -> None:
    sentence = verdict_of(TEACHER, model("int8", 0.80, 0.1, size=177_000)).sentence
    assert sentence == (
        "Ship int8 on ONNX Runtime: 20x as fast as the teacher in ONNX Runtime (no interval); "
        "Acc-2 Non0 80.0 (0.0 points from the teacher, 95 % interval 0.0 to 0.0: within noise); 177 KB; p99 0.200 ms; "
        "without the camera expect 78.0."
    )


def test_speed_is_not_compared_with_a_teacher_on_another_machine() -> None:
    teacher = replace(TEACHER, machine={"machine": "a server"})
    verdict = verdict_of(teacher, model("int8", 0.80, 0.1))
    assert verdict.speedup is None
    assert verdict.facts[0] == "p50 0.100 ms"


def test_a_difference_without_an_interval_is_marked() -> None:
    verdict = verdict_of(TEACHER, replace(model("int8", 0.79, 0.1), estimates={}))
    assert "Acc-2 Non0 79.0 (-1.0 points from the teacher, no interval)" in verdict.facts


def with_interval(point: ReportPoint, share: float) -> ReportPoint:
    p50 = point.latency_ms["lav"]["p50"]
    return replace(point, latency_intervals={"lav": {"p50": (p50 * (1 - share), p50 * (1 + share))}})


def test_a_speedup_has_the_interval_of_both_latencies() -> None:
    verdict = verdict_of(with_interval(TEACHER, 0.1), with_interval(model("int8", 0.80, 0.1), 0.1))
    assert verdict.facts[0] == "20x as fast as the teacher in ONNX Runtime (95 % interval 16 to 24)"


def test_equal_speeds_without_intervals_are_marked() -> None:
    verdict = verdict_of(TEACHER, model("int8", 0.80, 2.1))
    assert verdict.facts[0] == "as fast as the teacher in ONNX Runtime within 10 %, no interval"


@pytest.mark.parametrize("noisy", ["int8", "fp16", "fp32"])
def test_a_verdict_from_a_noisy_machine_is_provisional(noisy: str) -> None:
    candidates = [replace(model(name, 0.80, 0.5), latency_command=f"bench {name}") for name in ("int8", "fp16")]
    candidates[0] = replace(candidates[0], size_bytes=10)
    rows = [
        replace(row, noise=("Other programs used 40% of the CPU time.",)) if row.precision == noisy else row
        for row in (TEACHER, *candidates)
    ]
    verdict = verdict_of(*rows)
    assert (verdict.decision, verdict.headline) == ("ship", "Provisionally ship int8 on ONNX Runtime")
    assert verdict.facts[-1] == "the machine was noisy, so measure the latency again"
    assert "Other programs used 40% of the CPU time." in verdict.reasons
    assert verdict.command == "bench int8"


def test_noise_of_a_row_that_decides_nothing_does_not_count() -> None:
    inaccurate = replace(model("fp16", 0.70, 0.5), noise=("Other programs used 40% of the CPU time.",))
    verdict = verdict_of(model("int8", 0.80, 0.5), inaccurate)
    assert (verdict.headline, verdict.command) == ("Ship int8 on ONNX Runtime", None)


@pytest.mark.parametrize(("subset", "is_noisy"), [("lav", True), ("la", False)])
def test_only_noise_on_the_subset_of_the_verdict_counts(subset: str, is_noisy: bool) -> None:
    text = f"The p50 of {subset} differs by 37% between processes."
    verdict = verdict_of(replace(model("int8", 0.80, 0.5), noise=(text,)))
    assert verdict.headline.startswith("Provisionally") is is_noisy
    assert verdict.reasons == ([f"int8 on ONNX Runtime: {text}"] if is_noisy else [])


def test_only_the_precision_that_export_chose_is_shipped() -> None:
    verdict = verdict_of(model("int8", 0.8, 0.5), replace(model("fp16", 0.9, 0.1), chosen=False))
    assert verdict.headline == "Ship int8 on ONNX Runtime"


def test_nothing_is_said_about_a_target_on_which_nothing_ran() -> None:
    elsewhere = replace(model("int8", 0.8, 0.5), on_target=False)
    idle = replace(model("fp16", 0.8, 0.5), executed=False, latency_ms={}, note="No module named 'tensorrt'")
    verdict = verdict_of(elsewhere, idle)
    assert (verdict.decision, verdict.row) == ("cannot tell", None)
    assert verdict.facts[0] == "nothing was run on this target"
    assert verdict.command == "edge-msa bench bundle --host USER@DEVICE --output FILE.json"
    assert any("another architecture" in reason for reason in verdict.reasons)
    assert any("not executed: tensorrt is not installed here" in reason for reason in verdict.reasons)


def test_a_row_without_accuracy_names_the_command_that_measures_it() -> None:
    verdict = verdict_of(replace(model("int8", 0.8, 0.5), by_subset={}, gate_metric=""))
    assert verdict.decision == "cannot tell"
    assert verdict.command == "edge-msa evaluate bundle --backend onnxruntime --precision int8 --output FILE"


def test_a_model_no_better_than_a_constant_is_not_shipped() -> None:
    verdict = verdict_of(replace(model("int8", 0.8, 0.5), warning="bundle is no better than a constant."))
    assert verdict.decision == "do not ship"
    assert verdict.sentence == "Do not ship bundle: no better than a constant prediction."


def test_each_target_has_its_own_verdict() -> None:
    other = replace(model("int8", 0.8, 0.5), target="raspberry-pi-5", name="other")
    assert [item.target for item in find_verdicts([model("int8", 0.8, 0.5), other], "lav")] == [
        "laptop-x86",
        "raspberry-pi-5",
    ]
