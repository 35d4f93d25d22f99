from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.files import load_inputs
from edge_msa_runtime.inputs.samples import open_samples

HINT = "`edge-msa features extract FOLDER` computes them, and `edge-msa-run watch FILE` predicts directly."


@pytest.mark.parametrize("name", ["clip.mp4", "CLIP.WAV", "a.opus"])
def test_sound_and_video_get_the_guide(tmp_path: Path, name: str) -> None:
    clip = tmp_path / name
    clip.write_bytes(b"no features")
    for read in (
        lambda: load_inputs(str(clip), {}),
        lambda: load_inputs(None, {"audio": str(clip)}),
        lambda: open_samples(clip),
        lambda: open_samples(tmp_path),
    ):
        with pytest.raises(UsageError) as error:
            read()
        assert HINT in str(error.value)


def test_other_files_get_other_advice(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"no features")
    with pytest.raises(UsageError, match=r"Write one with numpy\.save or numpy\.savez\.$"):
        load_inputs(str(tmp_path / "x.bin"), {})
