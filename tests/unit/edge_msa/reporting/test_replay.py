from __future__ import annotations

import pytest

from edge_msa.errors import UsageError
from edge_msa.reporting.figures import Value, Verdict
from edge_msa.reporting.replay import check_figures, parse_command, report_commands
from tests.unit.edge_msa.reporting.test_comparison import figures, latency, metric, row


def test_every_figure_holds_if_it_is_measured_again() -> None:
    checks = list(check_figures(figures(row()), figures(row()), {}))

    assert {item.figure: item.status for item in checks} == {
        "MAE on lav": "held",
        "size": "held",
        "p50 on lav, ms": "held",
        "load, ms": "held",
        "peak memory, MiB": "held",
    }


@pytest.mark.parametrize(
    ("planted", "figure"),
    [
        (row(metrics=metric(0.499)), "MAE on lav"),
        (row(metrics={"lav": {"mae": Value(value=0.5, low=0.49, high=0.55)}}), "MAE on lav"),
        (row(latency_ms=latency(0.5)), "p50 on lav, ms"),
        (row(size_bytes=999), "size"),
        (row(load_ms=1.0), "load, ms"),
        (row(peak_memory_mib=5.0), "peak memory, MiB"),
    ],
)
def test_a_planted_false_figure_is_found(planted: object, figure: str) -> None:
    checks = check_figures(figures(planted), figures(row()), {})  # type: ignore[arg-type]

    assert [item.figure for item in checks if item.status == "changed"] == [figure]


@pytest.mark.parametrize(
    ("speedup", "difference", "fact", "found"),
    [
        (2.0, -0.1, "-0.100 from the teacher", []),
        (31.0, -0.1, "-0.100 from the teacher", ["speedup of the verdict"]),
        (2.0, -0.4, "-0.400 from the teacher", ["difference of the verdict"]),
        (2.0, -0.1, "2.0x as fast as the teacher", []),
        (2.0, -0.1, "3.0x as fast as the teacher", ["numbers in the sentence of the verdict"]),
        (2.0, -0.1, "1.0 KB", []),
        (2.0, -0.1, "1.2 KB", ["numbers in the sentence of the verdict"]),
        (2.0, -0.1, "1e999 KB", ["numbers in the sentence of the verdict"]),
        (2.0, -0.1, "-0.400 from the teacher", ["numbers in the sentence of the verdict"]),
    ],
)
def test_a_planted_false_figure_of_a_verdict_is_found(
    speedup: float, difference: float, fact: str, found: list[str]
) -> None:
    teacher = row("teacher", reference=True, latency_ms=latency(2.0), metrics=metric(0.6))
    verdict = Verdict(
        target="laptop-x86",
        decision="ship",
        row=row().id,
        headline="Ship int8",
        facts=[fact],
        reasons=[],
        speedup=Value(value=speedup),
        difference=Value(value=difference),
    )
    page = figures(row(), teacher, verdicts=[verdict])

    checks = check_figures(page, figures(row(), teacher), {})

    assert [item.figure for item in checks if item.status == "changed"] == found


def test_a_command_that_failed_leaves_its_figures_not_testable() -> None:
    checks = list(check_figures(figures(row()), None, {"edge-msa evaluate small": "failed: no such folder"}))

    assert {item.status for item in checks} == {"not testable here"}
    assert checks[0].reason == "failed: no such folder"


def test_latencies_of_another_machine_are_not_testable() -> None:
    checks = check_figures(figures(row()), figures(row(machine={"machine": "other"})), {})

    assert {item.status for item in checks if "p50" in item.figure} == {"not testable here"}


def test_commands_are_listed_once() -> None:
    assert report_commands(figures(row(), row())) == ("edge-msa evaluate small", "edge-msa bench small")


def test_bench_always_gets_its_sub_command() -> None:
    assert parse_command("edge-msa bench training --threads 2") == ["bench", "bundle", "training", "--threads", "2"]
    assert parse_command("edge-msa evaluate a --split test") == ["evaluate", "a", "--split", "test"]


@pytest.mark.parametrize(
    "command",
    [
        "rm -r /",
        "edge-msa evaluate x; rm -r /",
        "edge-msa report x",
        "edge-msa bench",
        "edge-msa evaluate x --output /etc/passwd",
        "edge-msa bench x --host user@device",
        "edge-msa bench x --ssh-option ProxyCommand=evil",
        "edge-msa bench x --repeats 1000000000000",
        "edge-msa bench x --processes 0",
        "edge-msa evaluate x --data",
        "edge-msa evaluate --split test",
        "edge-msa evaluate 'x",
    ],
)
def test_other_commands_and_options_are_refused(command: str) -> None:
    with pytest.raises(UsageError, match="It was not run"):
        parse_command(command)
