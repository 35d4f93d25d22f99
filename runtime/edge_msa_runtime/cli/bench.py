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
    check_no_precision,
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
    from edge_msa_runtime.benchmark.bench import BenchResult, ComparedWith
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
        OPTIONS,
        "--processes",
        type=int,
        metavar="N",
        help="Fresh processes of each bundle, backend and precision. A cascade, --data, --workers and --streams are "
        "measured in one process. Default: 5.",
    )
    parser.add(
        OPTIONS,
        "--repeats",
        type=int,
        default=1000,
        metavar="N",
        help="Timed predictions per subset, of all processes together. Default: 1000.",
    )
    parser.add(
        OPTIONS,
        "--warmup",
        type=int,
        default=20,
        metavar="N",
        help="Untimed predictions in one window of the warm-up, which ends when the latency is steady, or after 10 "
        "windows. In one process, the number of untimed predictions. Default: 20.",
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
    if options.data is not None and (options.text is not None or options.streams is not None):
        raise UsageError("--data measures predictions of its own samples. Pass it without --text and --streams.")
    in_one_process = _one_process_reason(options)
    if in_one_process and options.processes is not None:
        raise UsageError(f"--processes cannot be used with {in_one_process}, which is measured in one process.")
    results = _bench_sessions(options) if in_one_process else _bench_processes(options)
    print_result(format_results(results), [result.to_json() for result in results], options)


def _one_process_reason(options: argparse.Namespace) -> str:
    """Return what is only measured in one process; empty if nothing was asked for that is."""
    from edge_msa_runtime.cascade.loader import is_cascade

    reasons = {
        "--data": options.data is not None,
        "--workers": options.workers > 1,
        "--streams": options.streams is not None,
        "a cascade": any(is_cascade(bundle) for bundle in options.bundle),
    }
    return next((name for name, applies in reasons.items() if applies), "")


def _bench_processes(options: argparse.Namespace) -> tuple[BenchResult, ...]:
    """Measure every bundle, backend and precision in fresh processes."""
    from edge_msa_runtime.benchmark.latency_statistics import MIN_PROCESSES
    from edge_msa_runtime.benchmark.processes import Job, Plan, bench_processes
    from edge_msa_runtime.bundle.loader import open_bundle

    plan = Plan(
        processes=MIN_PROCESSES if options.processes is None else options.processes,
        repeats=options.repeats,
        warmup=options.warmup,
        text=options.text,
        rate=options.rate,
    )
    common = {name: getattr(options, name) for name in ("strict", "threads", "device", "spin")}
    jobs: list[Job] = []
    for path in options.bundle:
        if not options.all:
            chosen = {"backend": options.backend, "precision": options.precision}
            jobs.append(Job(path, {**chosen, **common}))
            continue
        check_no_precision(options)
        bundle = open_bundle(path)
        names = bundle.manifest.backends if options.backend == "auto" else (options.backend,)
        jobs += [
            Job(path, {"backend": name, "precision": precision, **common})
            for name in names
            for precision in bundle.precisions(name) or (None,)
        ]
    skipped: dict[str, None] = {}
    may_skip = options.all and options.backend == "auto" and not options.strict
    results = bench_processes(
        jobs, plan, on_unavailable=(lambda _, error: skipped.update({str(error): None})) if may_skip else None
    )
    print_notes([*(note for result in results for note in result.notes), *(f"skipped: {text}" for text in skipped)])
    return results


def _bench_sessions(options: argparse.Namespace) -> tuple[BenchResult, ...]:
    """Measure all sessions in this process."""
    from edge_msa_runtime.benchmark.bench import bench_sessions

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
        return bench_sessions(
            sessions,
            repeats=options.repeats,
            warmup=options.warmup,
            text=options.text,
            rate=options.rate,
            streams=options.streams,
            samples=None if options.data is None else _read_samples(options.data, sessions),
        )


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
    """Format one table per session, followed by the comparisons and the conditions of the measurement."""
    from edge_msa_runtime.benchmark.conditions import format_conditions
    from edge_msa_runtime.benchmark.throughput import ROUNDS

    lines = []
    has_cascade = any(row.answered for result in results for row in result.latencies)
    for result in results:
        threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
        lines.append(
            f"{result.bundle} for {result.target}: {result.backend} on {result.device} at {result.precision}, {threads}"
        )
        lines += _format_costs(result)
        lines.append(
            f"  {'subset':7}{'p50 ms':>9} {'95 % interval':15}{'p90 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}"
            f"{'predictions':>13}  frames"
        )
        for row in result.latencies:
            p50, *others = (_format(row.latency_ms[name], ".3f") for name in ("p50", "p90", "p95", "p99", "max"))
            cells = "".join(f"{text:>9}" for text in others)
            frames = " ".join(f"{name}:{count}" for name, count in row.frames.items())
            text = " (from text)" if row.from_text else ""
            interval = _format_interval(row.latency_ms["p50"], ".3f")
            lines.append(f"  {row.subset:7}{p50:>9} {interval:15}{cells}{row.predictions:>13}  {frames}{text}")
            if has_cascade:
                shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in row.answered.items())
                lines.append(f"  mean {row.mean_ms:.3f} ms" + (f"; asked last: {shares}" if shares else ""))
        lines += [f"  {text}" for item in result.comparisons for text in [_format_comparison(item, result)]]
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
        first = results[0]
        order = "interleaved" if len(results) > 1 else "one after the other"
        pace = "" if first.rate_hz is None else f", due at {first.rate_hz:g} Hz and timed from when they were due"
        processes = f" in {first.processes} fresh processes each" if first.processes else " in one process"
        cores = f", pinned to core {first.machine['cores']}" if "cores" in first.machine else ""
        lines.append(f"predictions: {order}{processes}{cores}{pace}")
        lines.append(f"before: {format_conditions(first.before)}")
        lines.append(f"after:  {format_conditions(first.after)}")
        lines += [f"noise: {text}" for text in dict.fromkeys(text for result in results for text in result.noise)]
    return lines


def _format_costs(result: BenchResult) -> list[str]:
    """Format load time, size, memory and energy."""
    parts = [f"load time {_format_range(result.load_ms, '.0f')} ms"]
    if result.start_ms is not None:
        parts.append(f"start of the process {_format_range(result.start_ms, '.0f')} ms")
    if result.build_ms is not None:
        parts.append(f"build of the plans {result.build_ms.value / 1e3:.0f} s")
    parts.append(f"files {result.file_bytes / KILOBYTE:.1f} KB")
    parts.append(f"peak memory of the process {_format_range(result.peak_memory_mib, '.0f')} MiB")
    lines = [f"  {', '.join(parts)}"]
    energy = result.energy
    if energy is not None:
        value = (
            "unknown" if energy.mj_per_prediction is None else f"{_format_range(energy.mj_per_prediction, '.3g')} mJ"
        )
        where = f" of {energy.subset}, {energy.sensor}" if energy.subset else ""
        note = f". {energy.note}" if energy.note else ""
        lines.append(f"  energy per prediction{where}: {value}{note}")
    return lines


def _format_comparison(item: ComparedWith, result: BenchResult) -> str:
    name = (
        f"{item.backend} {item.precision}"
        if item.bundle == result.bundle
        else f"{item.bundle}, {item.backend} {item.precision}"
    )
    verdict = {"faster": f"faster than {name}", "slower": f"slower than {name}"}.get(
        item.verdict, f"{item.verdict}, compared with {name}"
    )
    interval = _format_interval(item.ratio, ".3f")
    return f"{verdict}: {item.ratio.value:.3f} times its p50 on {item.subset} {interval}".rstrip()


def _format(measured: Measured | None, form: str) -> str:
    return "-" if measured is None else format(measured.value, form)


def _format_interval(measured: Measured | None, form: str) -> str:
    if measured is None or measured.low is None or measured.high is None:
        return ""
    return f"({measured.low:{form}}-{measured.high:{form}})"


def _format_range(measured: Measured | None, form: str) -> str:
    """Format a value with the range of the processes, unless all are the same."""
    interval = _format_interval(measured, form)
    ends = interval.strip("()").split("-")
    return _format(measured, form) + (f" {interval}" if interval and len(set(ends)) > 1 else "")
