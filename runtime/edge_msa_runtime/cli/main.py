"""`edge-msa-run`: info, verify, predict, bench, build and doctor on the device, without torch.

With `--json` the last line of stdout is one compact JSON value. An error is one line on stderr; exit codes are those
of `edge_msa_runtime.errors`, and 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Iterable, NoReturn, Sequence

from edge_msa_runtime import __version__
from edge_msa_runtime.errors import EdgeMsaError, UsageError

if TYPE_CHECKING:
    from edge_msa_runtime.session import Session

_INTERRUPTED = 130
_ALL = "every backend that is here, at every precision"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    try:
        options = _parser().parse_args(arguments)
        options.command(options)
        sys.stdout.flush()
    except EdgeMsaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader went away, as `head` does; what Python flushes at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EdgeMsaError.exit_code
    except OSError as error:
        print(f"error: {error}; check the path and the free space", file=sys.stderr)
        return EdgeMsaError.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="edge-msa-run", description="Run an edge-msa bundle on this device.")
    parser.add_argument("--version", action="version", version=f"edge-msa-run {__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    info = commands.add_parser("info", help="what is in a bundle, and which backends are here")
    info.add_argument("bundle", metavar="BUNDLE")
    info.add_argument("--json", action="store_true", help="one compact JSON line last")
    info.set_defaults(command=_info)
    verify = commands.add_parser("verify", help="check every byte, and that the golden predictions come back here")
    _add_session_options(verify, many=False)
    verify.add_argument("--all", action="store_true", help=_ALL)
    verify.set_defaults(command=_verify)
    predict = commands.add_parser("predict", help="read one utterance from .npz or .npy files")
    _add_session_options(predict, many=False)
    predict.add_argument(
        "input", metavar="INPUT.npz", nargs="?", help="arrays language, audio, vision (T, d); masks valid.language, ..."
    )
    predict.add_argument(
        "--language", metavar="WORDS", help="what was said; or a FILE.npy of language frames (T, d), by its ending"
    )
    for name in ("audio", "vision"):
        predict.add_argument(f"--{name}", metavar="FILE.npy", help=f"{name} frames (T, d)")
    predict.set_defaults(command=_predict)
    bench = commands.add_parser("bench", help="latency by subset, load time, size and memory")
    _add_session_options(bench, many=True)
    bench.add_argument(
        "--language", metavar="WORDS", help="what is said in the predictions; the golden texts by default"
    )
    bench.add_argument("--repeats", type=int, default=200, metavar="N", help="timed predictions a subset (%(default)s)")
    bench.add_argument("--warmup", type=int, default=20, metavar="N", help="predictions before them (%(default)s)")
    bench.add_argument("--rate", type=float, metavar="HZ", help="predictions due a second; else one after the other")
    bench.add_argument("--all", action="store_true", help=_ALL)
    bench.set_defaults(command=_bench)
    _add_build(commands)
    doctor = commands.add_parser("doctor", help="what this device has, what is wrong, and the command that mends it")
    doctor.add_argument("bundle", metavar="BUNDLE", nargs="?", help="also whether it fits this device")
    doctor.add_argument("--json", action="store_true", help="one compact JSON line last")
    doctor.set_defaults(command=_doctor)
    return parser


def _add_build(commands: Any) -> None:
    build = commands.add_parser("build", help="TensorRT's plans of a bundle, ahead of time, on this device")
    build.add_argument("bundle", metavar="BUNDLE")
    build.add_argument("--precision", metavar="P", help="fp32, fp16, int8 or all; the bundle's choice by default")
    build.add_argument("--subset", metavar="S", help="of one subset alone, as in la; of all by default")
    build.add_argument(
        "--workspace", type=int, metavar="MIB", help="what a layer may use; half of what is free, 1024 at most"
    )
    build.add_argument(
        "--best-of",
        type=int,
        default=1,
        metavar="K",
        help="build K plans of each graph, keep the fastest (%(default)s)",
    )
    build.add_argument("--device", default="", metavar="GPU:N", help="the first GPU by default")
    build.add_argument("--json", action="store_true", help="one compact JSON line last")
    build.set_defaults(command=_build)


def _add_session_options(parser: argparse.ArgumentParser, *, many: bool) -> None:
    several = "several are compared in one run" if many else None
    parser.add_argument("bundle", metavar="BUNDLE", nargs="+" if many else None, help=several)
    parser.add_argument("--backend", default="auto", metavar="NAME", help="onnxruntime, openvino, tensorrt or auto")
    parser.add_argument("--strict", action="store_true", help="refuse any backend or device but the bundle's first")
    parser.add_argument("--precision", metavar="P", help="fp32, fp16 or int8; the bundle's choice by default")
    parser.add_argument("--device", default="", metavar="D", help="OpenVINO: CPU, GPU, GPU.1, NPU; TensorRT: GPU:1")
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="for one prediction, on a CPU (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one compact JSON line last")


def _open(options: argparse.Namespace, bundle: str) -> Session:
    from edge_msa_runtime.session import load

    session = load(
        bundle,
        options.backend,
        strict=options.strict,
        precision=options.precision,
        threads=options.threads,
        device=options.device,
    )
    for reason in session.passed_over:
        print(f"note: using {session.backend}; {reason}", file=sys.stderr)
    return session


def _say(notes: Iterable[str]) -> None:
    """What of the graphs runs otherwise than is usual, each once; known when they are loaded."""
    for note in dict.fromkeys(notes):
        print(f"note: {note}", file=sys.stderr)


def _info(options: argparse.Namespace) -> None:
    from edge_msa_runtime.cli.formatting import describe, info_lines

    told = describe(options.bundle)
    _tell(info_lines(told), told, options)


def _verify(options: argparse.Namespace) -> None:
    from edge_msa_runtime.bundle.golden import verify_all, verify_bundle
    from edge_msa_runtime.cli.formatting import verification_lines

    if options.all:
        every, left_out = verify_all(options.bundle, options.backend, **_how(options))
        _say_left_out(left_out)
        _say(note for one in every for note in one.notes)
        lines = [line for one in every for line in verification_lines(one)]
        _tell(lines, [one.to_json() for one in every], options)
        for one in every:
            one.require()
        return
    with _open(options, options.bundle) as session:
        found = verify_bundle(session)
    _say(found.notes)
    _tell(verification_lines(found), found.to_json(), options)
    found.require()


def _predict(options: argparse.Namespace) -> None:
    from edge_msa_runtime.cli.formatting import prediction_lines
    from edge_msa_runtime.inputs.files import read_inputs

    given = {name: getattr(options, name) for name in ("language", "audio", "vision")}
    frames, valid = read_inputs(options.input, {name: value for name, value in given.items() if value is not None})
    with _open(options, options.bundle) as session:
        session.predict(**frames, valid=valid)  # loads the graph: the time told is that of every prediction after it
        prediction = session.predict(**frames, valid=valid)
        _say(session.notes)
    _tell(
        prediction_lines(prediction), {**prediction.to_json(), "load_milliseconds": session.load_milliseconds}, options
    )


def _bench(options: argparse.Namespace) -> None:
    from edge_msa_runtime.benchmark.bench import bench_sessions
    from edge_msa_runtime.benchmark.variants import open_all
    from edge_msa_runtime.cli.formatting import bench_lines

    if options.all:
        opened = [open_all(bundle, options.backend, **_how(options)) for bundle in options.bundle]
        _say_left_out([reason for _, reasons in opened for reason in reasons])
        sessions = [session for several, _ in opened for session in several]
    else:
        sessions = [_open(options, bundle) for bundle in options.bundle]
    results = bench_sessions(
        sessions, repeats=options.repeats, warmup=options.warmup, text=options.language, rate=options.rate
    )
    _say(note for result in results for note in result.notes)
    _tell(bench_lines(results), [result.to_json() for result in results], options)


def _doctor(options: argparse.Namespace) -> None:
    from edge_msa_runtime.bundle.reader import open_bundle
    from edge_msa_runtime.doctor.examination import examination_lines, examine

    found = examine(open_bundle(options.bundle).manifest if options.bundle else None)
    _tell(examination_lines(found), found.to_json(), options)
    found.require()


def _how(options: argparse.Namespace) -> dict[str, Any]:
    """How every backend and precision is opened."""
    if options.precision:
        raise UsageError("--all is every precision: leave --precision out")
    return {"strict": options.strict, "threads": options.threads, "device": options.device}


def _say_left_out(reasons: Sequence[str]) -> None:
    for reason in reasons:
        print(f"note: left out; {reason}", file=sys.stderr)


def _build(options: argparse.Namespace) -> None:
    from edge_msa_runtime.backends.tensorrt.prebuild import BuildOptions, build_bundle, has_graphs
    from edge_msa_runtime.bundle.reader import open_bundle

    wanted = BuildOptions(options.precision, options.subset, options.workspace, options.best_of, options.device)
    bundle = open_bundle(options.bundle)
    graphs = []
    if not has_graphs(bundle):
        names = ", ".join(bundle.manifest.backends)
        name = bundle.manifest.name
        print(f"{name} has no graphs for tensorrt: {names} read its graphs as they are, nothing is built")
    else:
        for graph in build_bundle(bundle, wanted):
            print(graph.line(), flush=True)
            graphs.append(graph.to_json())
    _tell([], {"bundle": bundle.manifest.name, "graphs": graphs}, options)


def _tell(lines: Sequence[str], value: Any, options: argparse.Namespace) -> None:
    for line in lines:
        print(line)
    if options.json:
        print(json.dumps(value, separators=(",", ":")))
