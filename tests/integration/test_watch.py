"""Watch and live with the real front ends and recognizer, on talks that are made on the spot."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_msa_runtime.cli.main import main
from tests.talks import Part, make_bundle, write_talk

if TYPE_CHECKING:
    from tests.conftest import Once

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"),
]

SMILE, NEGATIVE = (7.5, 15.0), 17.5
"""When the face smiles, and from when on the speech is negative, in seconds."""
PARTS = (
    *(Part(text, 2.5, 0.0) for text in ("the train leaves at noon", "it is on the table", "he reads the paper")),
    *(Part(text, 2.5, 1.0) for text in ("we meet on monday", "the house has a door", "they walk to work")),
    *(Part(text, 2.5, 0.0) for text in ("it is on the table", "this is terrible", "I hate it", "what an awful day")),
)
CUT = (9.0, 14.0)
"""A span without pictures."""


@pytest.fixture(scope="module")
def talks(face_model: Path, once: Once) -> Path:
    """The folder of a bundle, and of the same talk with and without a span without pictures."""

    def create(folder: Path) -> None:
        make_bundle(folder, face_model)
        write_talk(folder / "talk.mkv", PARTS)
        write_talk(folder / "cut.mkv", PARTS, without=CUT)

    return once("talks", create)


@pytest.fixture(scope="module")
def watch(talks: Path, face_model: Path, whisper_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Watch a talk and return the records of its log by kind; each once."""
    found: dict[tuple[str, ...], dict[str, list[Any]]] = {}

    def run(name: str, *options: str) -> dict[str, list[Any]]:
        key = (name, *options)
        if key not in found:
            log = tmp_path_factory.mktemp("log") / "timeline.jsonl"
            arguments = ["watch", str(talks / name), "--bundle", str(talks / "bundle"), "--output", str(log), "--json"]
            models = ["--face-model", str(face_model), "--asr", f"whisper:{whisper_model}"]
            assert main([*arguments, *models, *options]) == 0
            records = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
            found[key] = {kind: [item for item in records if item["record"] == kind] for kind in KINDS}
        return found[key]

    return run


KINDS = ("prediction", "words", "summary")


def scores(records: dict[str, list[Any]], start: float, end: float) -> Any:
    """Return the scores of the utterances that end in a span of seconds."""
    finals = [item for item in records["prediction"] if item["final"] and start < item["at"] <= end]
    return np.array([item["score"] for item in finals])


def test_the_timeline_follows_the_smile_and_the_words(watch: Any) -> None:
    records = watch("talk.mkv")
    before, smiling = scores(records, 0, SMILE[0]), scores(records, SMILE[0] + 1, SMILE[1])
    after, negative = scores(records, SMILE[1] + 1, NEGATIVE), scores(records, NEGATIVE + 1, 25)
    assert len(before) >= 2
    assert len(smiling) >= 2
    assert len(negative) >= 2
    assert smiling.min() > max(before.max(), after.max()) + 0.7
    assert negative.max() < min(before.min(), after.min()) - 0.4
    words = [
        (word, end) for item in records["words"] for word, (_, end) in zip(item["words"], item["times"], strict=True)
    ]
    times = {re.sub(r"\W", "", word).lower(): end for word, end in words}
    assert NEGATIVE < times["terrible"] < NEGATIVE + 2
    (summary,) = records["summary"]
    assert summary["utterances"] == len(PARTS)
    assert summary["errors"] == 0
    for name in ("language", "audio", "vision"):
        assert summary["counters"][name]["late"] == 0


def test_predictions_go_on_without_the_camera(watch: Any) -> None:
    records = watch("cut.mkv")
    subsets = [(item["at"], item["subset"]) for item in records["prediction"]]
    assert {"v" in subset for at, subset in subsets if CUT[0] + 1.1 < at <= CUT[1]} == {False}
    assert any("v" in subset for at, subset in subsets if at < CUT[0])
    assert any("v" in subset for at, subset in subsets if at > CUT[1] + 0.5)
    times = [at for at, _ in subsets]
    assert max(np.diff(times)) < 0.55


def test_the_page_and_the_video_are_made(talks: Path, face_model: Path, whisper_model: Path, tmp_path: Path) -> None:
    page, video = tmp_path / "timeline.html", tmp_path / "out.mp4"
    arguments = ["watch", str(talks / "talk.mkv"), "--bundle", str(talks / "bundle"), "--face-model", str(face_model)]
    outputs = ["--page", str(page), "--thumbnails", "--annotate", str(video)]
    assert main([*arguments, "--asr", f"whisper:{whisper_model}", *outputs, "--json"]) == 0
    text = page.read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 25
    assert "terrible" in text
    assert video.stat().st_size > 50_000


def test_real_time_gives_the_same_utterances(talks: Path, face_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talk = f"file:{talks / 'talk.mkv'}"
    arguments = ["live", "--bundle", str(talks / "bundle"), "--face-model", str(face_model)]
    devices = ["--camera", talk, "--microphone", talk, "--seconds", "9"]
    assert main([*arguments, *devices, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["utterances"] in {3, 4}
    assert summary["devices"]["microphone"]["dropped"] == 0
    assert "av" in summary["subsets"]


def test_a_bundle_of_other_features_is_refused(
    talks: Path, exported_bundle: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = exported_bundle("laptop-x86", "streams")
    assert main(["watch", str(talks / "talk.mkv"), "--bundle", str(bundle)]) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("edge-msa-run:")]
    assert "but this command computes edge-msa audio 1" in line


def test_no_connection_is_opened(talks: Path, face_model: Path, whisper_model: Path, tmp_path: Path) -> None:
    """All system calls that connect are recorded, also those of libraries."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace.txt"
    options = [
        "--asr",
        f"whisper:{whisper_model}",
        "--face-model",
        str(face_model),
        "--page",
        str(tmp_path / "page.html"),
    ]
    command = [
        sys.executable,
        "-m",
        "edge_msa_runtime",
        "watch",
        str(talks / "talk.mkv"),
        "--bundle",
        str(talks / "bundle"),
    ]
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(trace), *command, *options],  # noqa: S607
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    )
    connections = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert [line for line in connections if "127.0.0.1" not in line and "::1" not in line] == []
