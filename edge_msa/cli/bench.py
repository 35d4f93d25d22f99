"""`edge-msa bench`: measure latency, size, memory and training throughput.

`bundle` is the default sub-command: `edge-msa bench BUNDLE` is short for `edge-msa bench bundle BUNDLE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_msa.cli.help import Command, DefaultCommandGroup
from edge_msa.cli.options import (
    ADVANCED,
    DATA_HELP,
    BenchBackend,
    BundleBackend,
    BundlePrecision,
    FaceModel,
    Host,
    Json,
    Keep,
    Offline,
    ProfiledBackend,
    Record,
    RemotePython,
    Repeats,
    RunData,
    Seed,
    Split,
    SshOption,
    TaskName,
    Threads,
)
from edge_msa.cli.paths import FILE, INPUT, Output

if TYPE_CHECKING:
    from edge_msa.benchmark.layer_profile import LayerProfile
    from edge_msa.benchmark.peer_table import PeerBenchmark
    from edge_msa.reporting.models import ModelBenchmark
    from edge_msa.workflows.bench import Benchmark, Measurements
    from edge_msa.workflows.bench_asr import RecognizerBenchmark
    from edge_msa.workflows.bench_live import LiveMeasurement
    from edge_msa.workflows.bench_streams import StreamBenchmark

Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="HZ",
        help="Start predictions at this fixed rate per second.",
        show_default="start each one when the previous one ends",
        rich_help_panel=ADVANCED,
    ),
]


Processes = Annotated[
    int,
    typer.Option("--processes", metavar="N", min=1, max=100, help="Fresh processes of each backend and precision."),
]


class BenchGroup(DefaultCommandGroup):
    """The group `bench`, whose default sub-command is `bundle`."""

    default_command = "bundle"


bench_app = typer.Typer(
    cls=BenchGroup,
    help="Measure latency, size, memory and throughput, here or on a device over ssh.\n\n"
    "`edge-msa bench BUNDLE` is short for `edge-msa bench bundle BUNDLE`. If a bundle has the name of a sub-command, "
    "pass it as ./NAME.\n\nExample:\n    edge-msa bench bundle-laptop --output bench.json",
)


@bench_app.command("bundle", cls=Command)
def bench_bundle(
    bundles: Annotated[
        list[Path],
        typer.Argument(metavar="BUNDLES", help="One or several bundles. Several are measured together."),
        INPUT,
    ],
    backend: BenchBackend = "auto",
    threads: Threads = 1,
    processes: Processes = 5,
    repeats: Repeats = 1000,
    rate: Rate = None,
    host: Host = None,
    ssh_option: SshOption = None,
    python: RemotePython = "python3",
    keep: Keep = False,
    offline: Offline = False,
    output: Record = None,
    json: Json = False,
) -> None:
    """Measure the latency, size, load time, memory and energy of bundles, here or over ssh.

    Measures every backend and precision in fresh processes, interleaved. Prints latencies per subset of modalities with
    95 % intervals, what is faster or slower than fp32, and what makes the machine noisy.

    Example:
        edge-msa bench bundle bundle-laptop --output bench.json
    """
    from edge_msa.workflows.bench import bench

    benchmark = bench(
        bundles,
        backend=backend,
        threads=threads,
        processes=processes,
        repeats=repeats,
        rate=rate,
        host=host,
        ssh_options=ssh_option or (),
        python=python,
        keep=keep,
        offline=offline,
        output=output,
    )
    _print_benchmark(benchmark, output, json=json)


@bench_app.command("long-windows", cls=Command)
def bench_long_windows(
    backend: BenchBackend = "auto",
    threads: Threads = 1,
    processes: Processes = 5,
    repeats: Repeats = 1000,
    rate: Rate = None,
    host: Host = None,
    ssh_option: SshOption = None,
    python: RemotePython = "python3",
    keep: Keep = False,
    offline: Offline = False,
    output: Record = None,
    json: Json = False,
) -> None:
    """Measure a large untrained student on windows of 500 frames.

    At this size, int8 is faster than fp32.

    Example:
        edge-msa bench long-windows --repeats 50
    """
    from edge_msa.workflows.bench import bench_long_windows as run

    benchmark = run(
        backend=backend,
        threads=threads,
        processes=processes,
        repeats=repeats,
        rate=rate,
        host=host,
        ssh_options=ssh_option or (),
        python=python,
        keep=keep,
        offline=offline,
        output=output,
    )
    _print_benchmark(benchmark, output, json=json)


@bench_app.command("runtime", cls=Command)
def bench_runtime(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE]", help="Bundle to measure.", show_default="an untrained student of size tiny at fp32"
        ),
        INPUT,
    ] = None,
    threads: Threads = 1,
    repeats: Repeats = 2000,
    json: Json = False,
) -> None:
    """Measure how much time the runtime adds to the calls of a backend.

    Compares a prediction, and a push with a prediction, with the same graphs called directly.

    Example:
        edge-msa bench runtime bundle-laptop
    """
    from edge_msa.workflows.bench import bench_runtime as run

    _print_table(run(bundle, threads=threads, repeats=repeats), json=json)


@bench_app.command("students", cls=Command)
def bench_students(threads: Threads = 1, repeats: Repeats = 200, json: Json = False) -> None:
    """Measure the latency and size of untrained students of every size, and of ALMT.

    Example:
        edge-msa bench students --repeats 60
    """
    from edge_msa.workflows.bench import bench_students as run

    _print_table(run(threads=threads, repeats=repeats), json=json)


@bench_app.command("selfcheck", cls=Command)
def bench_selfcheck(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle to measure."), INPUT],
    checks: Annotated[
        int, typer.Option("--checks", metavar="N", min=1, max=1000, help="Number of comparisons of each kind.")
    ] = 5,
    processes: Processes = 5,
    repeats: Repeats = 1000,
    backend: BundleBackend = "auto",
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Check whether this machine is fit for measuring.

    Each check measures a bundle twice as it is, which must show no difference, and once slowed down by 10 %, which must
    show one. Prints the smallest difference that is usually found, and the overhead of the measurement.

    Example:
        edge-msa bench selfcheck bundle-laptop --checks 20
    """
    from edge_msa.workflows.bench import bench_selfcheck as run

    result = run(bundle, checks=checks, processes=processes, repeats=repeats, backend=backend, threads=threads)
    _print_table(result, json=json)


@bench_app.command("almt", cls=Command)
def bench_almt(threads: Threads = 1, repeats: Repeats = 200, json: Json = False) -> None:
    """Measure how much faster this implementation of ALMT is than the published one.

    The published implementation computes all tokens.

    Example:
        edge-msa bench almt --repeats 20
    """
    from edge_msa.workflows.bench import bench_almt as run

    _print_table(run(threads=threads, repeats=repeats), json=json)


@bench_app.command("live", cls=Command)
def bench_live(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle with audio, vision or text input."), INPUT],
    media: Annotated[
        Path,
        typer.Option(
            "--media", metavar="FILE", help="Video with a face and speech. It is repeated as often as needed."
        ),
        INPUT,
    ],
    minutes: Annotated[
        float, typer.Option("--minutes", metavar="N", help="Length of the run in real time.", min=0.01)
    ] = 1.0,
    asr: Annotated[
        str | None,
        typer.Option(
            "--asr",
            metavar="NAME",
            help="Recognizer: whisper:FOLDER, or whisper:NAME of a model in the local cache.",
            show_default="no words",
        ),
    ] = None,
    face_model: FaceModel = None,
    backend: BundleBackend = "auto",
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Measure live prediction from a microphone and a camera on this machine.

    A video replaces both. First, each front end runs alone on one core. Then everything runs in real time on two cores,
    to measure the delay of predictions and words, dropped pictures, and memory. On a device, use
    `edge-msa-run bench BUNDLE --live VIDEO`.

    Example:
        edge-msa bench live bundle-talk --media talk.mp4 --minutes 10
    """
    from edge_msa.workflows.bench_live import bench_live as run

    measurement = run(
        bundle, media=media, minutes=minutes, asr=asr, face_model=face_model, backend=backend, threads=threads
    )
    _print_table(measurement, json=json)


@bench_app.command("streams", cls=Command)
def bench_streams(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[BUNDLES]",
            help="Bundles of students that were trained on the synthetic data.",
            show_default="the default student, trained in runs if it does not exist",
        ),
        INPUT,
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            "--scenario",
            metavar="NAME",
            help="Scenario to play: a name, or a JSON file. Repeat the option for several.",
            show_default="clean, late-start, lossy, bursty, returning and lagging",
        ),
    ] = None,
    backend: BundleBackend = "auto",
    utterances: Annotated[
        int, typer.Option("--utterances", metavar="N", min=2, max=4000, help="Number of test utterances to play.")
    ] = 1000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Measure predictions against the optimum while streams lose data.

    Plays scenarios, in which modalities start late, lag, lose frames and return, for synthetic utterances. Predicts
    every 0.4 s. The regret of a prediction is its expected error minus that of the optimal prediction, which is known
    exactly. Baselines hold the last prediction, repeat the last frame, use only the newest frames, or use none.

    Example:
        edge-msa bench streams bundle-laptop --scenario lossy --scenario bursty
    """
    from edge_msa.workflows.bench_streams import bench_streams as run

    benchmark = run(bundles, scenarios=scenario or None, backend=backend, utterances=utterances, seed=seed)
    _print_table(benchmark, json=json)


@bench_app.command("asr", cls=Command)
def bench_asr(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle with text input."), INPUT],
    transcripts: Annotated[
        str,
        typer.Option("--transcripts", metavar="FILE", help="File with transcripts: CSV or features, with labels."),
        INPUT,
    ],
    asr: Annotated[
        str,
        typer.Option(
            "--asr", metavar="NAME", help="Recognizer: whisper:FOLDER, or whisper:NAME of a model in the local cache."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="FILE",
            help="File to write: the results as JSON. The recognized words are kept beside it, to resume from them.",
        ),
        Output(FILE),
    ],
    split: Split = "test",
    voice: Annotated[
        list[str] | None,
        typer.Option(
            "--voice",
            metavar="NAME",
            help="Voice of espeak-ng. Repeat the option for several: each video gets one.",
            show_default="en-us, en-us+f3, en-gb and en-gb+f4",
        ),
    ] = None,
    language: Annotated[
        str, typer.Option("--language", metavar="CODE", help="Language of the speech.", rich_help_panel=ADVANCED)
    ] = "en",
    threads: Annotated[
        int, typer.Option("--asr-threads", metavar="N", min=1, max=256, help="CPU threads of the recognizer.")
    ] = 1,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=2, help="Number of samples to use, starting with the first.", show_default="all"
        ),
    ] = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    r"""Measure what a speech recognizer costs in accuracy and time.

    espeak-ng speaks the transcripts of a split, the recognizer turns the sound into words, and the bundle predicts from
    the given and from the recognized words. Prints metrics with the interval of their difference, the word error rate,
    and the real-time factor. An interrupted command continues.

    Example:
        edge-msa bench asr bundle-words --transcripts mosi.npz \
            --asr whisper:tiny.en --output asr.json
    """
    from edge_msa.benchmark.recognition import VOICES
    from edge_msa.console import print_output
    from edge_msa.workflows.bench_asr import bench_asr as run

    benchmark = run(
        bundle,
        data=transcripts,
        asr=asr,
        output=output,
        split=split,
        voices=voice or VOICES,
        language=language,
        threads=threads,
        limit=limit,
        task=task,
    )
    _print_table(benchmark, json=json)
    print_output("measurements", output)


@bench_app.command("models", cls=Command)
def bench_models(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODELS", help="Runs, bundles and cascades. Differences are from the first one."),
        INPUT,
    ],
    data: Annotated[
        list[str],
        typer.Option("--data", metavar="FILE", help=f"{DATA_HELP} It needs labels. Repeat the option for several."),
        INPUT,
    ],
    split: Split = "test",
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline",
            metavar="NAME",
            help="Baseline besides the constants: vader, a lexicon of English sentiment, scaled on the valid split.",
            show_default="none",
        ),
    ] = None,
    backend: BundleBackend = "auto",
    precision: BundlePrecision = None,
    repeats: Repeats = 700,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="File to write: the results as JSON.", show_default="not written"
        ),
        Output(FILE),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            metavar="FILE",
            help="File to write: a page with the tables, in HTML (.html) or Markdown (.md).",
            show_default="not written",
        ),
        Output(FILE),
    ] = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    r"""Compare models and baselines on the same samples, in one table per data set.

    Prints MAE, Corr, Acc-2, Acc-7 and size, and the latency of bundles, measured interleaved. Prints the difference of
    MAE from the first model with its interval, paired by video.

    Example:
        edge-msa bench models bundle-table bundle-encoder --data mosi.npz \
          --baseline vader
    """
    from edge_msa.console import print_output
    from edge_msa.workflows.bench_models import bench_models as run

    benchmark = run(
        models,
        data=data,
        split=split,
        baselines=baseline or (),
        backend=backend,
        precision=precision,
        repeats=repeats,
        output=output,
        page=page,
        task=task,
    )
    _print_table(benchmark, json=json)
    if output:
        print_output("measurements", output)
    if page:
        print_output("page", page)


@bench_app.command("peers", cls=Command)
def bench_peers(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODELS", help="Bundles and their teachers. All are compared with the first bundle."),
        INPUT,
    ],
    data: RunData = None,
    split: Split = "test",
    threads: Threads = 1,
    repeats: Repeats = 400,
    output: Record = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Compare bundles with what you could use instead, on the same samples in one run.

    Measures every backend and precision of the bundles; the teachers in torch and ONNX Runtime; ALMT as published; and
    the networks after the default int8 of ONNX Runtime and of NNCF, if it is installed. Prints latency as a ratio to
    the first bundle, and differences of accuracy with intervals paired by video.

    Example:
        edge-msa bench peers demo/bundle-laptop demo/teacher
    """
    from edge_msa.console import print_output
    from edge_msa.workflows.bench_peers import bench_peers as run

    benchmark = run(models, data=data, split=split, threads=threads, repeats=repeats, output=output, task=task)
    _print_table(benchmark, json=json)
    if output:
        print_output("measurements", output, f"edge-msa report {output}")


@bench_app.command("layers", cls=Command)
def bench_layers(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle to profile."), INPUT],
    backend: ProfiledBackend = "auto",
    precision: BundlePrecision = None,
    threads: Threads = 1,
    repeats: Repeats = 100,
    output: Record = None,
    json: Json = False,
) -> None:
    """Measure where the time of a bundle goes: time, MACs and precision of every layer that a backend executes.

    Prints the slowest layers beside the roofline of this machine, the share of the time in each precision, and the
    share in reformats: layers that only change the layout or the element type.

    Example:
        edge-msa bench layers bundle-laptop --backend onnxruntime --precision int8
    """
    from edge_msa.console import print_output
    from edge_msa.workflows.bench_layers import bench_layers as run

    profile = run(bundle, backend=backend, precision=precision, threads=threads, repeats=repeats, output=output)
    _print_table(profile, json=json)
    if output:
        print_output("layers", output, f"edge-msa report {output}")


@bench_app.command("training", cls=Command)
def bench_training(json: Json = False) -> None:
    """Measure the training throughput of both teachers and of a text model.

    Measures samples per second on the CPU, and on the GPU if there is one. A CPU with instructions for bf16 is measured
    in both precisions. The text model needs the package transformers.

    Example:
        edge-msa bench training
    """
    from edge_msa.workflows.bench import bench_training as run

    _print_table(run(), json=json)


def _print_benchmark(benchmark: Benchmark, output: Path | None, *, json: bool) -> None:
    from edge_msa.console import print_json, print_output, print_result

    print_result(str(benchmark))
    if output:
        print_output("bench", output, f"edge-msa report {output}")
    if json:
        print_json(benchmark.to_json())


def _print_table(
    table: LayerProfile
    | LiveMeasurement
    | Measurements
    | ModelBenchmark
    | PeerBenchmark
    | RecognizerBenchmark
    | StreamBenchmark,
    *,
    json: bool,
) -> None:
    from edge_msa.console import print_json, print_result

    print_result(str(table))
    if json:
        print_json(table.to_json())
