"""`edge-msa-run bench`: measure latency, load time, size and memory of bundles on this device."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

from edge_msa_runtime.cli.bench_live import add_live_options, check_live_options, run_live
from edge_msa_runtime.cli.common import (
    KILOBYTE,
    add_all_option,
    add_bundle_argument,
    add_command,
    add_session_options,
    open_session,
    print_notes,
    print_result,
    print_skipped,
    print_warnings,
    select_variants,
)
from edge_msa_runtime.cli.parser import OPTIONS
from edge_msa_runtime.errors import UsageError

if TYPE_CHECKING:
    from edge_msa_runtime.benchmark.bench import BenchResult
    from edge_msa_runtime.benchmark.latency_statistics import Measured
    from edge_msa_runtime.session import Session


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "bench",
        "Measure the latency, size, load time and memory of bundles on this device.",
        "bench bundle-laptop --all",
    )
    add_bundle_argument(
        parser,
        metavar="BUNDLES",
        nargs="+",
        help="Folders of one or more bundles. Several are measured together.",
    )
    parser.add(OPTIONS, "--text", metavar="WORDS", help="Text to predict. Default: the bundle's golden inputs.")
    parser.add(
        OPTIONS,
        "--data",
        metavar="FILE",
        help="Samples to predict one after the other, as for `predict`. A cascade needs them, or --text. "
        "Default: the bundle's golden inputs.",
    )
    parser.add(
        OPTIONS, "--repeats", type=int, default=200, metavar="N", help="Timed predictions per subset. Default: 200."
    )
    parser.add(
        OPTIONS,
        "--warmup",
        type=int,
        default=20,
        metavar="N",
        help="Untimed predictions before the timed ones. Default: 20.",
    )
    parser.add(
        OPTIONS,
        "--rate",
        type=float,
        metavar="HZ",
        help="Start predictions at this fixed rate per second. Default: start each one when the previous one ends.",
    )
    parser.add(
        OPTIONS,
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="Predictions that run on one graph at the same time. If N is above 1, also measure the throughput of N "
        "threads. Default: 1.",
    )
    parser.add(
        OPTIONS,
        "--streams",
        type=int,
        metavar="N",
        help="Also measure the throughput of N streams, one after the other and together. Default: no streams.",
    )
    add_live_options(parser)
    add_all_option(parser)
    add_session_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    check_live_options(options)
    if options.live is not None:
        run_live(options)
        return
    from edge_msa_runtime.benchmark.bench import bench_sessions

    if options.data is not None and (options.text is not None or options.streams is not None):
        raise UsageError("--data measures predictions of its own samples. Pass it without --text and --streams.")
    with ExitStack() as stack:
        sessions: list[Session] = []
        for bundle in options.bundle:
            if options.all:
                variants = select_variants(options, bundle)
                sessions += [stack.enter_context(session) for session in variants]
                print_skipped(variants)
            else:
                session = stack.enter_context(open_session(options, bundle))
                # The members of a cascade are measured beside it.
                sessions += [session, *(member for member in session.members if member is not session)]
        results = bench_sessions(
            sessions,
            repeats=options.repeats,
            warmup=options.warmup,
            text=options.text,
            rate=options.rate,
            streams=options.streams,
            samples=None if options.data is None else _read_samples(options.data, sessions),
        )
    print_result(format_results(results), [result.to_json() for result in results], options)


def _read_samples(data: str, sessions: Sequence[Session]) -> list[dict[str, Any]]:
    """Return the arguments of `Session.predict` for the samples of a file that have something to predict from."""
    from edge_msa_runtime.inputs.samples import open_samples
    from edge_msa_runtime.prediction_files import check_features, reads_context, sample_inputs, usable_modalities

    samples = open_samples(Path(data))
    session, context = sessions[0], all(map(reads_context, sessions))
    modalities, ignored = usable_modalities(session, samples.modalities, has_text=samples.has_text)
    warning = check_features(session, samples.features, modalities, Path(data).name)
    print_notes([*samples.notes, *ignored])
    print_warnings([warning] if warning else [])
    usable = (sample for sample in samples.read() if sample.error is None)
    inputs = [sample_inputs(sample, modalities, context=context) for sample in usable]
    return [item for item in inputs if item]


def format_results(results: Sequence[BenchResult]) -> list[str]:
    """Format one table per session, followed by the conditions of the measurement."""
    from edge_msa_runtime.benchmark.conditions import format_conditions
    from edge_msa_runtime.benchmark.throughput import ROUNDS

    lines = []
    has_cascade = any(row.answered for result in results for row in result.latencies)
    for result in results:
        threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
        lines.append(
            f"{result.bundle} for {result.target}: {result.backend} on {result.device} at {result.precision}, {threads}"
        )
        lines.append(
            f"  load time {_format(result.load_ms, '.0f')} ms, files {result.file_bytes / KILOBYTE:.1f} KB, "
            f"peak memory of the process {_format(result.peak_memory_mib, '.0f')} MiB"
        )
        lines.append(f"  {'subset':7}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'max ms':>9}{'predictions':>13}  frames")
        for row in result.latencies:
            cells = "".join(f"{_format(row.latency_ms[name], '.3f'):>9}" for name in ("p50", "p90", "p99", "max"))
            frames = " ".join(f"{name}:{count}" for name, count in row.frames.items())
            text = " (from text)" if row.from_text else ""
            lines.append(f"  {row.subset:7}{cells}{row.predictions:>13}  {frames}{text}")
            if has_cascade:
                shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in row.answered.items())
                lines.append(f"  mean {row.mean_ms:.3f} ms" + (f"; asked last: {shares}" if shares else ""))
        if result.throughput is not None:
            measured = result.throughput
            lines.append(
                f"  throughput of {result.latencies[-1].subset}: 1 thread {measured.one_thread_hz:.0f}/s, "
                f"{measured.threads} threads {measured.threads_hz:.0f}/s; "
                f"median of the quotients of {ROUNDS} rounds {measured.ratio:.2f}"
            )
        if result.stream_throughput is not None:
            streamed = result.stream_throughput
            lines.append(
                f"  throughput of {streamed.streams} streams: one after the other {streamed.one_by_one_hz:.0f}/s, "
                f"at once {streamed.at_once_hz:.0f}/s; median of the quotients of {streamed.rounds} rounds "
                f"{streamed.ratio:.2f}; largest difference {streamed.largest_difference:.1g}"
            )
    if results:
        rate = results[0].rate_hz
        order = "interleaved" if len(results) > 1 else "one after the other"
        pace = "" if rate is None else f", due at {rate:g} Hz and timed from when they were due"
        lines.append(f"predictions: {order}{pace}")
        lines.append(f"before: {format_conditions(results[0].before)}")
        lines.append(f"after:  {format_conditions(results[0].after)}")
    return lines


def _format(measured: Measured | None, form: str) -> str:
    return "-" if measured is None else format(measured.value, form)
