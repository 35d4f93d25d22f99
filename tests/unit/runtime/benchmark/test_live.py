from __future__ import annotations

import dataclasses
import math
import os
import re
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from edge_msa_runtime import load
from edge_msa_runtime.benchmark.live import RepeatedCamera, RepeatedMicrophone, measure_live, measure_stages, use_cores
from edge_msa_runtime.benchmark.live_report import format_live
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.live.word_sources import RecognizedWords
from edge_msa_runtime.media.signals import Picture, Sound
from edge_msa_runtime.text.words import Word
from tests.unit.runtime.live.stand_ins import (
    AudioStandIn,
    ListenerStandIn,
    VisionStandIn,
    VoiceStandIn,
    make_pictures,
    make_sounds,
)


def open_media(sound: bool, pictures: bool) -> Any:
    found: list[Sound | Picture] = [*make_sounds(1.2, [(0.0, 0.5)])] if sound else []
    return nullcontext(found if sound else make_pictures(1.2) if pictures else [])


def test_each_stage_is_measured() -> None:
    class Slow(VisionStandIn):
        def push(self, picture: Picture) -> Any:
            time.sleep(0.004)
            return super().push(picture)

    stages = measure_stages(open_media, AudioStandIn(), Slow(), VoiceStandIn())
    assert stages.sound_seconds == pytest.approx(1.2)
    assert stages.audio_share is not None
    assert 0 < stages.audio_share < 0.5
    assert (stages.picture_size, stages.pictures, stages.face_share) == ((12, 8), 7, 1.0)
    assert (stages.vision_ms["p50"] or 0) >= 4
    alone = measure_stages(open_media, None, Slow(), VoiceStandIn())
    assert alone.audio_share is None
    with pytest.raises(UsageError, match="too short to measure"):
        measure_stages(lambda *_: nullcontext([]), AudioStandIn(), None, VoiceStandIn())


def test_a_recording_is_repeated_with_times_that_go_on() -> None:
    origin = time.monotonic() - 100.0
    microphone = RepeatedMicrophone(lambda: open_media(sound=True, pictures=False), origin)
    ends = [sound.end for sound in (microphone.read(0.1) for _ in range(30)) if sound is not None]
    assert ends == pytest.approx([(index + 1) / 10 for index in range(30)])
    camera = RepeatedCamera(lambda: open_media(sound=False, pictures=True), time.monotonic() - 2.0)
    picture = camera.read(0.1)
    assert picture is not None
    assert picture.time == pytest.approx(2.0, abs=0.2)
    assert camera.dropped >= 15
    camera.close()


def test_this_thread_gets_so_many_cores() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("the system cannot choose cores")
    before = os.sched_getaffinity(0)
    with use_cores(1) as cores:
        assert cores == len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_a_run_in_real_time_is_measured(shared_bundle: Path) -> None:
    windows: list[Any] = []
    words = RecognizedWords(ListenerStandIn([Word("love", 0.1, 0.2)]))
    with load(shared_bundle, "onnxruntime") as session:
        result = measure_live(
            session,
            open_media,
            audio=AudioStandIn(),
            vision=VisionStandIn(),
            voice=VoiceStandIn(),
            words=words,
            minutes=0.7 / 60,
            on_window=windows.append,
        )
    (window,) = windows
    assert window.predictions >= 1
    assert window.cores > 0
    assert 5 <= result.pictures + result.dropped <= 9
    assert result.memory_slope is None  # there are too few values
    assert re.search(r"ms per prediction \((within|over) 1 ms\)", "\n".join(format_live(result)))
    assert not math.isnan(window.late_ms)
    stages = dataclasses.replace(result.stages, audio_share=0.04)
    fast = dataclasses.replace(result, stages=stages, model_ms={"p50": 0.9, "p99": 1.5})
    text = "\n".join(format_live(fast))
    assert "(within 0.05)" in text
    assert "p50 0.90, p99 1.50 ms per prediction (within 1 ms)" in text
    slow = dataclasses.replace(
        result, stages=dataclasses.replace(stages, audio_share=0.06), model_ms={"p50": 1.1, "p99": 1.5}
    )
    text = "\n".join(format_live(slow))
    assert "(over 0.05)" in text
    assert "p50 1.10, p99 1.50 ms per prediction (over 1 ms)" in text
