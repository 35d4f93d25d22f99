"""Extraction with the real front ends: whole commands, killed and resumed, on several processes and on a cluster."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_msa.data.opening import open_dataset
from tests.media_files import tone, write_media

if TYPE_CHECKING:
    from tests.conftest import Once

CLIPS = 24
KILLS = 10
TIMEOUT = 120

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(once: Once, face_model: Path) -> Path:
    """Return a folder with `videos`, `labels.csv` and the face model. Some clips lack something, two are damaged."""

    def create(folder: Path) -> None:
        from edge_msa.data.synthetic.faces import Expression, render_face

        rng = np.random.default_rng(0)
        videos = folder / "videos"
        videos.mkdir()
        faces = [render_face(Expression(smile), width=160, height=160, size=0.6) for smile in (0.0, 0.5, 1.0)]
        rows = []
        for clip in range(CLIPS):
            seconds = 1 + clip % 4 / 4
            sound = tone(seconds, hertz=200 + 20 * clip) * rng.uniform(0.1, 0.9, round(seconds * 16_000))
            pictures = [faces[(clip + k) % 3] if clip != 5 else np.zeros((160, 160, 3), np.uint8) for k in range(8)]
            write_media(
                videos / f"{clip:02}.mp4",
                sound=None if clip == 6 else sound,
                pictures=None if clip == 7 else pictures,
                picture_rate=8,
            )
            rows += [f"{clip:02}.mp4,,,{clip % 7 - 3},video{clip // 2}"]
        rows += ["00.mp4,0.25,0.75,1,video0", "00.mp4,0.5,0.9,2,video0"]
        (videos / "03.mp4").write_bytes((videos / "03.mp4").read_bytes()[:500])
        (videos / "04.mp4").write_bytes(b"")
        (folder / "labels.csv").write_text("\n".join(["file,start,end,label,video", *rows]) + "\n")
        shutil.copy(face_model, folder / "face.task")

    return once("extraction-corpus", create)


def command(corpus: Path, output: Path, *options: str) -> list[str]:
    words = [sys.executable, "-m", "edge_msa", "features", "extract", str(corpus / "videos"), "--draw-splits"]
    words += ["--labels", str(corpus / "labels.csv"), "--face-model", str(corpus / "face.task")]
    return [*words, "--output", str(output), *options]


def extract(corpus: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        command(corpus, output, *options), capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert result.returncode == 1, result.stderr  # two files are damaged
    return result


@pytest.fixture(scope="module")
def expected(corpus: Path, once: Once) -> Path:
    """Return the folder with the archive of one uninterrupted process, and what the command printed as JSON."""

    def create(folder: Path) -> None:
        (folder / "result.json").write_text(extract(corpus, folder / "clips.npz", "--json").stdout)

    return once("extraction-expected", create)


def test_the_archive_has_what_the_clips_have(expected: Path) -> None:
    result = json.loads((expected / "result.json").read_text())
    assert [(item["id"], item["line"]) for item in result["failed"]] == [("03.mp4", 5), ("04.mp4", 6)]
    assert result["samples"] == CLIPS
    assert result["facts"]["no face"] == 1
    assert result["facts"]["no sound"] == 1
    assert result["facts"]["no pictures"] == 1
    dataset = open_dataset(expected / "clips.npz")
    assert dataset.features["audio"].extractor == "edge-msa audio"
    assert dataset.features["vision"].extractor == "edge-msa face"
    assert dataset.features["vision"].model_sha256
    positions = {
        sample: (position, split.modalities["audio"].lengths[row])
        for split in dataset.splits.values()
        for row, (sample, position) in enumerate(zip(split.ids, split.positions, strict=False))
    }
    assert positions["00.mp4[0.25:0.75]"] == (0.25, 48)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_command_that_is_killed_resumes_with_the_same_archive(
    corpus: Path, expected: Path, tmp_path: Path, workers: int
) -> None:
    output, results = tmp_path / "clips.npz", tmp_path / ".clips.npz.segments"
    moments = random.Random(workers)  # noqa: S311 - not for security
    counts = []
    for _ in range(KILLS):
        before = len(list(results.glob("*.npz")))
        process = subprocess.Popen(
            command(corpus, output, "--workers", str(workers)), stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            more = moments.randrange(4)
            deadline = time.monotonic() + TIMEOUT
            while len(list(results.glob("*.npz"))) < before + more and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.5))
        finally:
            process.kill()
            process.wait()
        counts.append(len(list(results.glob("*.npz"))))
        wait_until_empty(process.pid)
    assert counts == sorted(counts)
    assert counts[-1] > 0
    extract(corpus, output, "--workers", str(workers))
    assert output.read_bytes() == (expected / "clips.npz").read_bytes()
    assert not list(results.glob(".*.partial"))


def wait_until_empty(session: int) -> None:
    """Wait until no process of a session is left: workers end with the command, however it ends."""
    deadline = time.monotonic() + TIMEOUT
    while any(session_of(path) == session for path in Path("/proc").iterdir() if path.name.isdigit()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def session_of(process: Path) -> int | None:
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[3])


def test_ctrl_c_says_that_the_command_resumes(corpus: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(corpus, tmp_path / "clips.npz", "--workers", "2"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + TIMEOUT
    while not list(tmp_path.glob(".clips.npz.segments/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("edge-msa: Interrupted. Progress is kept in ")
    wait_until_empty(process.pid)


def test_two_workers_give_the_same_archive(corpus: Path, expected: Path, tmp_path: Path) -> None:
    extract(corpus, tmp_path / "clips.npz", "--workers", "2")
    assert (tmp_path / "clips.npz").read_bytes() == (expected / "clips.npz").read_bytes()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Return a function that starts a dask cluster of two processes, and returns its address."""
    processes: list[subprocess.Popen[bytes]] = []

    log = (tmp_path / "dask.log").open("wb")

    def start() -> str:
        file = tmp_path / "scheduler.json"
        options = ["--host", "127.0.0.1", "--no-dashboard"]
        where = ["--scheduler-file", str(file)]
        code = "import sys; from distributed.cli.dask_{0} import main; main()"
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", code.format("scheduler"), *options, *where, "--port", "0"],
                stdout=log,
                stderr=log,
                cwd=tmp_path,
            )
        )
        for _ in range(2):
            worker = ["--nthreads", "1", "--nworkers", "1", *options, *where, "--local-directory", str(tmp_path)]
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", code.format("worker"), *worker], stdout=log, stderr=log, cwd=tmp_path
                )
            )
        deadline = time.monotonic() + TIMEOUT
        while (tmp_path / "dask.log").read_text().count("Registered to") < 2:
            assert time.monotonic() < deadline, (tmp_path / "dask.log").read_text()
            time.sleep(0.1)
        address: str = json.loads(file.read_text())["address"]
        return address

    yield start
    for process in processes[::-1]:
        process.terminate()
    for process in processes:
        process.wait()
    log.close()


def test_a_cluster_gives_the_same_archive(
    corpus: Path, expected: Path, tmp_path: Path, scheduler: Callable[[], str]
) -> None:
    extract(corpus, tmp_path / "clips.npz", "--scheduler", scheduler())
    assert (tmp_path / "clips.npz").read_bytes() == (expected / "clips.npz").read_bytes()
