"""Nothing leaves the machine: every command of both command lines runs under a guard.

The guard refuses and records each look-up and connection that is not to this machine, in Python (an audit hook) and in
native code (a preloaded library), and records each file that is created outside of the folders that the user names.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import typer.main

from edge_msa.cli.app import app
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa_runtime.audio.front_end import SOURCE, WIDTH
from edge_msa_runtime.cli.main import create_parser
from tests.locations import REPOSITORY
from tests.media_files import tone, write_media

if TYPE_CHECKING:
    from edge_msa.data.dataset import Dataset
    from tests.conftest import Once

GUARD = Path(__file__).with_name("guard")
COMPILER = shutil.which("cc") or shutil.which("gcc")
SYSTEM = ("/dev/", "/proc/", "/sys/")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.case("F1"),
    pytest.mark.case("D4"),
    pytest.mark.skipif(sys.platform != "linux" or COMPILER is None, reason="the guard needs Linux and a C compiler"),
]

VARIANTS = "[student]\nepochs = 1\nwidth = 8\nblocks = 1\n[variants.one]\n"
RECIPE = """
[hrlf]
epochs = 1
robust_epochs = 1
d = 8
heads = 2
[student]
epochs = 1
width = 32
blocks = 1
hidden = 16
[text]
width = 8
hidden = 8
max_tokens = 8
[text.transfer]
epochs = 1
[text.final]
epochs = 1
[pipeline]
allow_worse_than_constant = true
targets = ["raspberry-pi"]
num_samples = 16
max_drop = 100
"""


@dataclass(frozen=True)
class Guarded:
    """What commands did under the guard."""

    codes: tuple[int, ...]
    log: tuple[str, ...]
    output: str
    work: Path
    home: Path
    temporary: Path

    @property
    def cache(self) -> Path:
        """The folder that `EDGE_MSA_CACHE` names."""
        return self.work.parent / "cache"

    def events(self) -> list[str]:
        """Return requests that would have left the machine, each with its command."""
        return [f"{command}: {line}" for command, line in self._lines() if not line.startswith("create ")]

    def foreign_files(self) -> list[str]:
        """Return files that were created outside of the work folder, with their commands."""
        own = [f"{folder}/" for folder in (self.work, self.temporary, self.cache, self.work.parent / "guard")]
        created = [(command, line) for command, line in self._lines() if line.startswith("create ")]
        return [
            f"{command}: {line}"
            for command, line in created
            if not f"{line.split(' ', 1)[1]}/".startswith((*own, *SYSTEM))
        ]

    def _lines(self) -> Iterator[tuple[str, str]]:
        command = ""
        for line in self.log:
            if line.startswith("command "):
                command = line
            else:
                yield command, line


def run_guarded(folder: Path, commands: Sequence[tuple[str, ...]]) -> Guarded:
    """Run commands in one guarded process, in `folder/work`, with empty folders as HOME and TMPDIR."""
    work, home, temporary, own = (folder / name for name in ("work", "home", "tmp", "guard"))
    for path in (work, home, temporary, own):
        path.mkdir(exist_ok=True)
    library, log = own / "guard.so", own / "log"
    subprocess.run(
        [str(COMPILER), "-shared", "-fPIC", "-o", str(library), str(GUARD / "preload.c"), "-ldl"], check=True
    )
    listed = [[str(part) for part in command] for command in commands]
    (own / "commands.json").write_text(json.dumps(listed))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "HF_", "TORCH"))},
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "EDGE_MSA_CACHE": str(folder / "cache"),
        "LD_PRELOAD": str(library),
        "GUARD_LOG": str(log),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([*sys.path, str(REPOSITORY / "pretrained")]),
    }
    command = [sys.executable, str(GUARD / "drive.py"), str(own / "commands.json"), str(own / "codes.json")]
    completed = subprocess.run(
        command, cwd=work, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert completed.returncode == 0, completed.stdout
    codes = tuple(json.loads((own / "codes.json").read_text()))
    return Guarded(codes, tuple(log.read_text().splitlines()), completed.stdout, work, home, temporary)


def toolkit_commands() -> set[tuple[str, ...]]:
    """Return all commands of `edge-msa`."""

    def leaves(command: Any, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            yield names
        for name, subcommand in (subcommands or {}).items():
            yield from leaves(subcommand, (*names, name))

    return set(leaves(typer.main.get_command(app), ("edge-msa",)))


def runtime_commands() -> set[tuple[str, ...]]:
    """Return all commands of `edge-msa-run`."""
    (commands,) = [item for item in create_parser()._actions if isinstance(item, argparse._SubParsersAction)]
    return {("edge-msa-run", name) for name in commands.choices}


@pytest.fixture(scope="module")
def inputs(toy_encoder: Path, once: Once) -> Callable[[Path], Path]:
    """Return a function that copies all inputs into a folder."""

    def create(folder: Path) -> None:
        write_archive(small_dataset(), folder / "data.npz")
        write_media(folder / "talk.wav", sound=tone(1.5), codec="pcm_s16le")
        shutil.copytree(toy_encoder, folder / "encoder")
        (folder / "recipe.toml").write_text(RECIPE)
        (folder / "variants.toml").write_text(VARIANTS)
        for name in ("transcripts.csv", "more.csv"):
            with (folder / name).open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["text", "mode", "label"])
                for split in ("train", "valid", "test"):
                    writer.writerows(
                        [f"{text} {name[0]}", split, score] for score, text in ((2, "love it"), (-2, "not at all"))
                    )
        videos = [f"{text},valid,{score},{row % 8}" for row in range(20) for score, text in ((2, "love"), (-2, "not"))]
        (folder / "videos.csv").write_text("\n".join(["text,mode,label,video_id", *videos]) + "\n")
        write_almt_checkpoint(folder / "almt.pth")
        write_sounds(folder)

    source = once("guard-inputs", create)

    def copy(folder: Path) -> Path:
        return shutil.copytree(source, folder, dirs_exist_ok=True)

    return copy


def small_dataset() -> Dataset:
    """Return a dataset of one modality, so that there are few graphs, with the features that devices compute."""
    dataset = generate_dataset(SyntheticConfig(train=96, valid=32, test=32)).without(["language", "vision"])
    splits = {}
    for name, split in dataset.splits.items():
        frames = split.modalities["audio"]
        assert frames.values is not None
        repeats = -(-WIDTH // frames.dim)
        wide = np.tile(frames.values, (1, 1, repeats))[..., :WIDTH]
        splits[name] = dataclasses.replace(split, modalities={"audio": dataclasses.replace(frames, values=wide)})
    return dataclasses.replace(dataset, name="small", splits=splits, features={"audio": SOURCE})


def write_almt_checkpoint(path: Path) -> None:
    """Write a state dict of a small ALMT."""
    from edge_msa.models.almt import Almt, AlmtConfig

    config = AlmtConfig({"language": 6, "audio": 5, "vision": 3}, {"language": 7, "audio": 11, "vision": 9})
    torch.save(Almt(config).state_dict(), path)


def write_sounds(folder: Path) -> None:
    """Write a folder of sounds, and a table of their labels."""
    (folder / "sounds").mkdir()
    rows = ["file,label,text"]
    for name in "abcd":
        with wave.open(str(folder / "sounds" / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((np.sin(np.arange(8000) / 9) * 9999).astype("<i2").tobytes())
        rows.append(f"{name}.wav,{ord(name) - ord('b')},a text")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


RUN = ("--data", "data.npz", "--recipe", "recipe.toml", "--device", "cpu")
TEXT = ("--transcripts", "transcripts.csv", "--recipe", "recipe.toml", "--device", "cpu")
BENCH = ("--repeats", "1")
IN_ONE_PROCESS = (*BENCH, "--processes", "1")

# In an order in which each command finds what it needs. GRAPH is a graph of the bundle, PORT a free port.
COMMANDS = {
    ("edge-msa", "data", "inspect"): ("data.npz",),
    ("edge-msa", "data", "convert"): ("data.npz", "--output", "copy.npz"),
    ("edge-msa", "features", "extract"): (
        *("sounds", "--labels", "labels.csv", "--draw-splits", "--task", "mosi", "--modalities", "audio"),
        *("--workers", "2", "--output", "sounds.npz"),
    ),
    ("edge-msa", "train"): ("--output-dir", "teacher", *RUN),
    ("edge-msa", "distill"): ("--teacher", "teacher", "--output-dir", "student", *RUN),
    ("edge-msa", "compare"): (
        "--recipe",
        "variants.toml",
        "--teacher",
        "teacher",
        "--seeds",
        "1",
        "--output-dir",
        "compared",
    ),
    ("edge-msa", "calibrate"): ("student", "--num-samples", "16", "--output-dir", "calibrated"),
    ("edge-msa", "sensitivity"): (*("calibrated", "--target", "laptop", "--budget", "0", "--output-dir", "planned"),),
    ("edge-msa", "export"): (
        *("calibrated", "--target", "laptop", "--max-drop", "100", "--allow-worse-than-constant"),
        *("--output-dir", "bundle"),
    ),
    ("edge-msa", "config", "list"): (),
    ("edge-msa", "config", "show"): ("hrlf",),
    ("edge-msa", "config", "validate"): ("recipe.toml",),
    ("edge-msa", "pretrained", "list"): (),
    ("edge-msa", "pretrained", "info"): ("text-nano",),
    ("edge-msa", "pretrained", "get"): ("text-nano", "--output-dir", "pretrained"),
    ("edge-msa", "pretrained", "push"): ("bundle", "--repo", "someone/small"),
    ("edge-msa", "devices", "list"): (),
    ("edge-msa", "devices", "show"): ("jetson",),
    ("edge-msa", "inspect"): ("GRAPH", "--tensorrt", "10.3"),
    ("edge-msa", "evaluate"): ("bundle", "--data", "data.npz", "--output", "evaluation.json"),
    ("edge-msa", "predict"): ("bundle", "--data", "data.npz", "--output", "predictions.csv"),
    ("edge-msa", "bench", "bundle"): ("bundle", *IN_ONE_PROCESS, "--output", "bench.json"),
    ("edge-msa", "report"): ("evaluation.json", "bench.json", "--output", "report.html"),
    ("edge-msa", "explain"): ("student", "--data", "data.npz", "--output", "explain.html"),
    ("edge-msa", "text", "train"): ("--encoder", "encoder", "--output-dir", "text-teacher", *TEXT),
    ("edge-msa", "text", "distill"): ("--teacher", "text-teacher", "--output-dir", "text-student", *TEXT),
    ("edge-msa", "text", "prune-vocabulary"): (
        *("text-teacher", "--transcripts", "transcripts.csv", "--output-dir", "pruned"),
    ),
    ("edge-msa", "text", "sweep"): (
        *("--encoder", "encoder", "--seeds", "1", "--layers", "2", "--target", "raspberry-pi", "--output-dir", "sweep"),
        *("--transcripts", "more.csv", *TEXT),
    ),
    ("edge-msa", "data", "encode"): (
        "transcripts.csv",
        "--output",
        "encoded.npz",
        "--encoder",
        "encoder",
        "--max-tokens",
        "8",
    ),
    ("edge-msa", "import", "almt"): ("almt.pth", "--output-dir", "imported"),
    ("edge-msa", "reproduce"): ("--model", "hrlf", "--seeds", "1", "--output-dir", "reproduced", *RUN),
    ("edge-msa", "search"): (
        *("--target", "laptop", "--data", "data.npz", "--trials", "1", "--seeds", "1", "--epochs", "1"),
        *("--teacher", "teacher", "--recipe", "recipe.toml", "--output-dir", "search"),
    ),
    ("edge-msa", "pipeline"): ("--recipe", "recipe.toml", "--data", "data.npz", "--output-dir", "pipeline"),
    ("edge-msa", "demo"): ("--quick",),
    ("edge-msa", "bench", "streams"): ("demo/bundle-laptop", "--scenario", "lossy", "--utterances", "2"),
    ("edge-msa", "bench", "asr"): (
        *("text-bundle", "--transcripts", "transcripts.csv", "--asr", "whisper:whisper", "--output", "asr.json"),
    ),
    ("edge-msa", "bench", "models"): ("bundle", "--data", "data.npz"),
    ("edge-msa", "cascade"): (
        *("text-bundle", "encoder-bundle", "--data", "videos.csv", "--mean-cost", "1", "--output-dir", "cascade"),
    ),
    ("edge-msa", "keygen"): ("key.pem",),
    ("edge-msa", "sign"): ("cascade", "--key", "key.pem"),
    ("edge-msa", "bench", "layers"): ("bundle", "--repeats", "2"),
    ("edge-msa", "bench", "peers"): ("bundle", "teacher", "--data", "data.npz", "--repeats", "2"),
    ("edge-msa", "bench", "live"): ("bundle", "--media", "talk.wav", "--minutes", "0.02"),
    ("edge-msa", "bench", "students"): BENCH,
    ("edge-msa", "bench", "almt"): BENCH,
    ("edge-msa", "bench", "selfcheck"): ("bundle", "--checks", "1", "--processes", "2", "--repeats", "2"),
    ("edge-msa", "bench", "runtime"): ("./bundle", *BENCH),
    ("edge-msa", "bench", "training"): (),
    ("edge-msa", "bench", "long-windows"): IN_ONE_PROCESS,
    ("edge-msa-run", "info"): ("bundle",),
    ("edge-msa-run", "verify"): ("bundle", "--all"),
    ("edge-msa-run", "predict"): ("bundle", "--audio", "audio.npy"),
    ("edge-msa-run", "stream"): ("bundle", "--data", "data.npz", "--scenario", "faulty"),
    ("edge-msa-run", "watch"): ("talk.wav", "--bundle", "bundle", "--output", "talk.jsonl", "--page", "talk.html"),
    ("edge-msa-run", "live"): ("--bundle", "bundle", "--microphone", "file:talk.wav"),
    ("edge-msa-run", "serve"): ("bundle", "--no-media", "--port", "PORT"),
    ("edge-msa-run", "bench"): ("bundle", "--all", *IN_ONE_PROCESS, "--warmup", "0"),
    ("edge-msa-run", "build"): ("bundle",),
    ("edge-msa-run", "doctor"): ("bundle",),
}


@pytest.fixture(scope="module")
def guarded(
    inputs: Callable[[Path], Path],
    exported_bundle: Callable[[str, str], Path],
    whisper_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Guarded:
    """Run all commands."""
    folder = tmp_path_factory.mktemp("guarded")
    inputs(folder / "work")
    for name, run in (("text-bundle", "table"), ("encoder-bundle", "encoder")):
        shutil.copytree(exported_bundle("laptop-x86", run), folder / "work" / name)
    (folder / "work" / "whisper").symlink_to(whisper_model)
    np.save(folder / "work" / "audio.npy", np.zeros((4, WIDTH), np.float32))
    commands = [(*names, *arguments) for names, arguments in COMMANDS.items()]
    return run_guarded(folder, commands)


def test_the_guard_covers_every_command() -> None:
    assert toolkit_commands() | runtime_commands() == set(COMMANDS)


def test_every_command_succeeds_under_the_guard(guarded: Guarded) -> None:
    failed = [" ".join(names) for names, code in zip(COMMANDS, guarded.codes, strict=True) if code]
    assert failed == [], guarded.output


def test_no_command_leaves_the_machine(guarded: Guarded) -> None:
    assert guarded.events() == []


def test_no_command_writes_outside_of_its_output(guarded: Guarded) -> None:
    assert guarded.foreign_files() == []
    assert list(guarded.home.rglob("*")) == []
    assert [path.name for path in guarded.cache.rglob("*")] == ["durations.json"]


def test_no_temporary_file_remains(guarded: Guarded) -> None:
    assert list(guarded.temporary.rglob("*")) == []


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("import socket; socket.getaddrinfo('example.invalid', 80)", "socket.getaddrinfo example.invalid"),
        ("import socket; socket.socket().connect(('192.0.2.1', 80))", "socket.connect 192.0.2.1"),
        (
            "import ctypes as c; c.CDLL(None).getaddrinfo(b'example.invalid', None, None, c.byref(c.c_void_p()))",
            "getaddrinfo example.invalid",
        ),
        ("import subprocess; subprocess.run(['getent', 'ahosts', 'example.invalid'])", "getaddrinfo example.invalid"),
    ],
    ids=["Python look-up", "Python connection", "native look-up", "child process"],
)
def test_the_guard_sees_requests(code: str, event: str, tmp_path: Path) -> None:
    result = run_guarded(tmp_path, [("python", code)])
    assert any(line.endswith(event) for line in result.events())


CLUSTER = """
import edge_msa as em
from distributed import LocalCluster

with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
    em.extract_features(
        "sounds", labels="labels.csv", output="sounds.npz", draw_splits=True, task="mosi", modalities=["audio"],
        scheduler=cluster.scheduler_address,
    )
"""


def test_a_cluster_on_this_machine_does_not_leave_it(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    write_sounds(tmp_path / "work")
    (tmp_path / "work" / "cluster.py").write_text(CLUSTER)
    result = run_guarded(tmp_path, [("python", "import runpy; runpy.run_path('cluster.py')")])
    assert result.codes == (0,), result.output
    assert (result.work / "sounds.npz").is_file()
    assert result.events() == []


def test_the_guard_sees_files(tmp_path: Path) -> None:
    result = run_guarded(tmp_path, [("python", f"open({str(tmp_path / 'outside')!r}, 'w')")])
    assert [line.rsplit("/", 1)[1] for line in result.foreign_files()] == ["outside"]
