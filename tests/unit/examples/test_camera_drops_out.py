from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.runtime import fake_bundles


def test_predictions_continue_without_the_camera(
    load_example: Callable[[str], ModuleType], bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_example("camera_drops_out.py").main(str(bundle), fast=True)
    lines = capsys.readouterr().out.splitlines()
    used = [(line.split("camera ")[1].split()[0], line.split("subset ")[1].split()[0]) for line in lines]
    assert used == [
        *[("ok", "av")] * 5,
        *[("silent", "av")] * 2,  # not yet older than max_age
        *[("silent", "a")] * 3,
        *[("ok", "av")] * 3,
        *[("unplugged", "a")] * 3,  # at once
        *[("ok", "av")] * 4,
    ]


def test_a_bundle_without_vision_is_refused_in_one_line(
    load_example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    fake_bundles.write_bundle(tmp_path / "bundle", names=("audio",))
    with pytest.raises(SystemExit, match="must have the modalities audio and vision"):
        load_example("camera_drops_out.py").main(str(tmp_path / "bundle"), fast=True)
