from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import edge_msa as em
from tests.unit.edge_msa.toy_runs import write_dataset, write_teacher

COMMANDS: dict[str, Callable[[Path, Path], object]] = {
    "distill": lambda run, output: em.distill(run, output_dir=output),
    "evaluate": lambda run, _: em.evaluate(run),
    "explain": lambda run, output: em.explain(run, output=output.with_suffix(".html")),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_recorded_data_that_was_moved_is_reported_as_recorded(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "training")
    run = write_teacher(tmp_path / "teacher", str(write_dataset(Path("clips.npz"))))
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("clip.npz").touch()  # a similar name in this folder is not what is meant
    with pytest.raises(em.UsageError) as error:
        COMMANDS[command](run, tmp_path / "output")
    assert str(error.value) == (
        f"clips.npz does not exist. The run {run} recorded this path of its training data, relative to the folder of "
        f"that training (now in {Path.cwd()}). Pass the file with data."
    )
