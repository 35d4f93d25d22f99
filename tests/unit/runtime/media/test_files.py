from __future__ import annotations

import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest

from edge_msa_runtime.errors import MediaError, UsageError
from edge_msa_runtime.media.files import BLOCK, MediaFile, open_media
from edge_msa_runtime.media.signals import SAMPLE_RATE, Picture, Sound
from tests.media_files import gray_pictures, tone, write_media

pytest.importorskip("av")

HALVES = np.concatenate([np.full((48, 32, 3), 250, np.uint8), np.zeros((48, 32, 3), np.uint8)], axis=1)
"""A picture that is bright on the left."""


def sounds(items: Any) -> list[Sound]:
    return [item for item in items if isinstance(item, Sound)]


def pictures(items: Any) -> list[Picture]:
    return [item for item in items if isinstance(item, Picture)]


def samples(items: Any) -> Any:
    return np.concatenate([sound.samples for sound in sounds(items)])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of sound and 25 pictures per second."""
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    return write_media(path, sound=tone(2, 44_100), rate=44_100, pictures=gray_pictures(50))


def test_sound_and_pictures_come_in_the_order_of_their_times(clip: Path) -> None:
    with open_media(clip) as file:
        items = list(file)
    assert (file.path, file.has_sound, file.has_pictures, file.notes) == (clip, True, True, ())
    assert file.duration == pytest.approx(2, abs=0.05)
    times = [item.end if isinstance(item, Sound) else item.time for item in items]
    assert times == sorted(times)
    assert len(pictures(items)) == 30
    assert all(len(sound.samples) == BLOCK for sound in sounds(items)[:-1])
    assert {(sound.samples.dtype, sound.samples.ndim) for sound in sounds(items)} == {(np.dtype(np.float32), 1)}
    assert len(samples(items)) == pytest.approx(2 * SAMPLE_RATE, abs=2048)


def test_every_iteration_reads_the_file_from_its_start(clip: Path) -> None:
    file = open_media(clip, pictures=False)
    assert np.array_equal(samples(file), samples(file))


def test_for_each_tick_the_first_picture_at_or_after_it_is_used(clip: Path) -> None:
    times = [picture.time for picture in pictures(open_media(clip, sound=False))]
    assert times[:6] == pytest.approx([0, 0.08, 0.16, 0.2, 0.28, 0.36])
    assert len(pictures(open_media(clip, sound=False, picture_rate=None))) == 50
    assert len(pictures(open_media(clip, sound=False, picture_rate=1))) == 2


def test_pictures_of_a_variable_rate_keep_their_own_times(tmp_path: Path) -> None:
    stated = [0, 0.01, 0.02, 0.5, 0.51, 0.99, 1.0]
    path = write_media(tmp_path / "phone.mkv", pictures=gray_pictures(7), picture_times=stated)
    times = [picture.time for picture in pictures(open_media(path, picture_rate=10))]
    assert times == pytest.approx([0, 0.5, 0.99, 1])


def test_rounded_times_do_not_change_which_pictures_are_used(tmp_path: Path) -> None:
    path = write_media(tmp_path / "milliseconds.mkv", pictures=gray_pictures(30), picture_rate=30)
    used = [round(30 * picture.time) for picture in pictures(open_media(path, picture_rate=15))]
    assert used == list(range(0, 30, 2))


@pytest.mark.parametrize(("rotation", "dark"), [(0, "right"), (90, "top"), (180, "left"), (-90, "bottom")])
def test_pictures_of_a_rotated_phone_are_upright(tmp_path: Path, rotation: int, dark: str) -> None:
    path = write_media(tmp_path / "phone.mp4", pictures=[HALVES] * 3, rotation=rotation)
    pixels = next(iter(pictures(open_media(path)))).pixels
    assert pixels.shape == ((64, 48, 3) if rotation % 180 else (48, 64, 3))
    edges = {"top": pixels[0], "bottom": pixels[-1], "left": pixels[:, 0], "right": pixels[:, -1]}
    assert min(edges, key=lambda edge: float(edges[edge].mean())) == dark


@pytest.mark.parametrize(
    ("rate", "layout", "suffix", "codec"),
    [
        (8_000, "mono", "wav", "pcm_s16le"),
        (8_000, "mono", "wav", "pcm_mulaw"),
        (48_000, "stereo", "mkv", "flac"),
        (44_100, "5.1", "mkv", "flac"),
        (11_025, "mono", "wav", "pcm_u8"),
        (16_000, "mono", "wav", "pcm_f32le"),
    ],
)
def test_any_sound_becomes_one_channel_at_16_khz(
    tmp_path: Path, rate: int, layout: str, suffix: str, codec: str
) -> None:
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    path = write_media(
        tmp_path / f"x.{suffix}", sound=np.stack([tone(1, rate)] * channels), rate=rate, layout=layout, codec=codec
    )
    recorded = samples(open_media(path))
    assert len(recorded) == SAMPLE_RATE
    assert recorded[500:-500] == pytest.approx(tone(1)[500:-500], abs=0.02)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.wav", sound=np.stack([tone(1), np.zeros(16_000)]), codec="pcm_s16le")
    assert samples(open_media(path)) == pytest.approx(tone(1) / 2, abs=1e-3)


def test_silence_is_sound(tmp_path: Path) -> None:
    file = open_media(write_media(tmp_path / "x.wav", sound=np.zeros(16_000), codec="pcm_s16le"))
    assert not samples(file).any()
    assert (len(samples(file)), file.notes) == (16_000, ())


def test_video_without_sound_and_sound_without_video_are_read(tmp_path: Path) -> None:
    silent = open_media(write_media(tmp_path / "x.mp4", pictures=gray_pictures(5)))
    assert (silent.has_sound, silent.has_pictures, sounds(silent)) == (False, True, [])
    voice = open_media(write_media(tmp_path / "x.ogg", sound=tone(1, 48_000), rate=48_000, codec="libopus"))
    assert (voice.has_sound, voice.has_pictures, pictures(voice)) == (True, False, [])


def test_a_gap_in_the_sound_gives_a_later_time(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.mkv", sound=tone(1), codec="pcm_s16le", sound_times=[0, 2])
    recorded = sounds(open_media(path))
    assert [sound.time for sound in recorded] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 2, 2.1, 2.2, 2.3, 2.4])
    assert len(samples(recorded)) == SAMPLE_RATE


def test_sound_that_overlaps_the_sound_before_is_used_once(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.mkv", sound=tone(2), codec="pcm_s16le", sound_times=[0, 0.8])
    file = open_media(path)
    recorded = sounds(file)
    assert recorded[-1].end == pytest.approx(1.8, abs=0.06)
    assert all(later.time == pytest.approx(earlier.end) for earlier, later in zip(recorded, recorded[1:]))
    assert file.notes == ("sound that overlaps the sound before it left out",)


def test_times_that_restart_do_not_stop_the_sound(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.nut", sound=tone(4), codec="pcm_s16le", sound_times=[90_000, 0])
    file = open_media(path)
    assert len(samples(file)) == 4 * SAMPLE_RATE
    assert "sound whose times jump: it follows the sound before it" in file.notes


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_start_and_end_choose_a_part(tmp_path: Path, suffix: str) -> None:
    sound = np.concatenate([np.zeros(2 * 16_000), tone(1), np.zeros(16_000)])
    codec = "aac" if suffix == "mp4" else "pcm_s16le"
    path = write_media(tmp_path / f"x.{suffix}", sound=sound, codec=codec, pictures=gray_pictures(100))
    part = open_media(path, start=2, end=2.95)
    items = list(part)
    recorded = samples(items)
    assert len(recorded) == round(0.95 * SAMPLE_RATE)
    assert sounds(items)[0].time == pytest.approx(0, abs=1e-4)
    assert recorded[1000:-1000] == pytest.approx(tone(0.95)[1000:-1000], abs=0.1 if suffix == "mp4" else 1e-3)
    times = [picture.time for picture in pictures(items)]
    assert 0 <= times[0] < 0.05
    assert times[-1] < 0.95
    assert pictures(items)[0].pixels.mean() == pytest.approx(255 * 50 / 99, abs=8)
    assert part.notes == ()


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    song, cover, path = tmp_path / "song.mp3", tmp_path / "cover.png", tmp_path / "covered.mp3"
    write_media(song, sound=tone(1, 44_100), rate=44_100, codec="libmp3lame")
    write_cover(song, cover, path)
    file = open_media(path)
    assert (file.has_sound, file.has_pictures, pictures(file)) == (True, False, [])


def write_cover(song: Path, cover: Path, path: Path) -> None:
    import av

    with av.open(str(cover), "w", format="image2") as writer:
        image = writer.add_stream("png")
        image.height, image.width, image.pix_fmt = 48, 64, "rgb24"
        frame = av.VideoFrame.from_ndarray(HALVES, format="rgb24")
        writer.mux([*image.encode(frame), *image.encode(None)])
    with av.open(str(song)) as source, av.open(str(cover)) as picture, av.open(str(path), "w") as writer:
        copies = {stream: writer.add_stream_from_template(stream) for stream in (*source.streams, *picture.streams)}
        copies[picture.streams[0]].disposition = av.stream.Disposition.attached_pic
        for origin in (picture, source):
            for packet in origin.demux():
                if packet.dts is not None:
                    packet.stream = copies[packet.stream]
                    writer.mux(packet)


def test_subtitles_are_ignored(tmp_path: Path, clip: Path) -> None:
    import av

    titles, path = tmp_path / "x.srt", tmp_path / "x.mkv"
    titles.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n", encoding="utf-8")
    with av.open(str(clip)) as source, av.open(str(titles)) as text, av.open(str(path), "w") as writer:
        copies = {stream: writer.add_stream_from_template(stream) for stream in (*text.streams, *source.streams)}
        for origin in (text, source):
            for packet in origin.demux():
                if packet.dts is not None:
                    packet.stream = copies[packet.stream]
                    writer.mux(packet)
    items = list(open_media(path))
    assert len(pictures(items)) == 30
    with pytest.raises(MediaError, match="is not a sound or video file"):
        open_media(titles)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_an_interrupted_download_is_decoded_as_far_as_it_goes(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(100)]
    whole = write_media(
        tmp_path / f"whole.{suffix}",
        sound=tone(4),
        pictures=images,
        options={"movflags": "faststart"} if suffix == "mp4" else None,
    )
    part = tmp_path / f"part.{suffix}"
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    file = open_media(part)
    items = list(file)
    assert 20 < len(pictures(items)) < 45
    assert sounds(items)[-1].end > 1
    assert any("interrupted download" in note for note in file.notes)


def test_damaged_packets_are_left_out_and_counted(tmp_path: Path) -> None:
    whole = write_media(tmp_path / "x.mkv", sound=tone(10), codec="flac", pictures=gray_pictures(250))
    data = bytearray(whole.read_bytes())
    rng = np.random.default_rng(0)
    middle = slice(len(data) // 3, len(data) // 2)
    data[middle] = rng.integers(0, 256, middle.stop - middle.start, dtype=np.uint8).tobytes()
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(data)
    file = open_media(damaged)
    items = list(file)
    assert pictures(items)[-1].time > 9
    assert sounds(items)[-1].end > 9.5
    assert np.isfinite(samples(items)).all()


def test_a_recording_without_an_index_says_so(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(clip.read_bytes()[:20_000])
    with pytest.raises(MediaError, match=r"x\.mp4 has no index, as after an interrupted download"):
        open_media(path)


def test_many_boxes_without_an_index_are_refused_quickly(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"\0\0\0\x14ftypisom\0\0\2\0isom" + b"\0\0\0\x08free" * 1_000_000)
    started = time.process_time()
    with pytest.raises(MediaError, match="is not a sound or video file, or it is damaged"):
        open_media(path)
    assert time.process_time() - started < 0.2


def test_an_index_that_takes_long_is_refused_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_msa_runtime.media.files._OPEN_SECONDS", 0.05)
    path = tmp_path / "x.mp4"
    boxes = b"\0\0\0\x08free" * 3_000_000
    index = (len(boxes) + 8).to_bytes(4, "big") + b"moov" + boxes
    path.write_bytes(b"\0\0\0\x14ftypisom\0\0\2\0isom" + index)
    started = time.process_time()
    with pytest.raises(MediaError, match=r"was not open after 0\.05 s|has neither sound nor a video"):
        open_media(path, busy_seconds=60)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.mp4", b"file, label\n1,2\n" * 100),
        ("x.txt", b"some text that FFmpeg could draw\n" * 50),
        ("x.wav", b"\x80\x04\x95" + bytes(5000)),
        ("x.mp4", b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"),
        ("x.m3u8", b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
        ("x.mp4", b"ffconcat version 1.0\nfile clip.mp4\n"),
        ("x.sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"),
        ("x.mp4", bytes(range(256)) * 40),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"is not a sound or video file, or it is damaged\. Check") as error:
        open_media(path)
    assert "\n" not in str(error.value)


def test_the_content_decides_what_a_file_is(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.wav", sound=tone(1), codec="pcm_s16le")
    assert len(samples(open_media(path.rename(tmp_path / "x.mp4")))) == SAMPLE_RATE
    assert len(samples(open_media((tmp_path / "x.mp4").rename(tmp_path / "http:x.mkv")))) == SAMPLE_RATE


def test_a_video_of_too_many_pixels_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_media(tmp_path / "x.mkv", sound=tone(1), pictures=gray_pictures(3))
    monkeypatch.setattr("edge_msa_runtime.media.files.MAX_PIXELS", 1000)
    with open_media(path) as file:
        assert not pictures(file)
    assert not file.has_pictures
    assert file.notes == ("pictures left out: 64 x 48 are more than 1000 pixels",)


def test_a_video_that_grows_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_media(tmp_path / "x.mkv", sound=tone(1), pictures=gray_pictures(3))
    file = open_media(path)
    monkeypatch.setattr("edge_msa_runtime.media.files.MAX_PIXELS", 1000)  # as if it had become larger
    assert not pictures(file)


def test_pictures_after_a_jump_of_their_times_are_counted(tmp_path: Path) -> None:
    stated = [0, 0.1, 0.2, *(4000 + 0.1 * index for index in range(5))]
    path = write_media(tmp_path / "x.mkv", sound=tone(1), pictures=gray_pictures(8), picture_times=stated)
    with open_media(path) as file:
        assert len(pictures(file)) == 3
    assert "5 pictures after a jump of more than 1 hour in their times left out" in file.notes


def test_decoding_has_a_limit_of_processor_time_although_nothing_is_returned(tmp_path: Path) -> None:
    stated = [0, *(4000 + index / 100 for index in range(100))]  # all but the first are left out
    path = write_media(tmp_path / "x.mkv", pictures=gray_pictures(101), picture_times=stated)
    items: list[Any] = []
    with pytest.raises(MediaError, match=r"needs more than 1e-06 s of processor time\. Cut it, or convert it") as error:
        items += open_media(path, busy_seconds=1e-6)
    assert len(items) <= 1
    assert "\n" not in str(error.value)
    assert len(pictures(open_media(path, busy_seconds=60))) == 1


def test_sound_of_a_few_samples_per_second_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(1)
        file.writeframes(bytes(range(200)))
    with pytest.raises(MediaError, match="sound of 1 samples per second left out: 1000 are needed"):
        list(open_media(path))


def test_empty_missing_and_odd_files_get_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").touch()
    with pytest.raises(MediaError, match=r"x\.mp4 is empty \(0 bytes\)\. Copy or record it again\."):
        open_media(tmp_path / "x.mp4")
    with pytest.raises(MediaError, match="is a folder"):
        open_media(tmp_path)
    with pytest.raises(MediaError, match="is not a regular file"):
        open_media("/dev/null")
    with pytest.raises(UsageError, match=r"y\.mp4 does not exist"):
        open_media(tmp_path / "y.mp4")


def test_a_file_with_nothing_that_can_be_decoded_is_refused(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.wav", sound=tone(0.5), codec="pcm_s16le")
    path.write_bytes(path.read_bytes()[:78])
    with pytest.raises(MediaError, match=r"^Nothing of .* can be decoded"):
        list(open_media(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": -1}, "start must be 0 or more seconds, got -1"),
        ({"start": float("nan")}, "start must be"),
        ({"start": 3, "end": 3}, "end must be after start"),
        ({"start": 30}, r"start must be before the end of .* \(2\.0 s\), got 30"),
        ({"picture_rate": 0}, "picture_rate must be a number above 0, got 0"),
    ],
)
def test_impossible_arguments_are_refused(clip: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_media(clip, **options)


def test_an_unfinished_iteration_leaves_no_open_file(clip: Path) -> None:
    with open_media(clip) as file:
        iterator: Iterator[Any] = iter(file)
        next(iterator)
    del iterator
    assert not any(str(clip) in str(path.resolve()) for path in Path("/proc/self/fd").iterdir() if path.exists())
    assert isinstance(file, MediaFile)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path: Path) -> None:
    script = (
        "import re, sys\nfrom edge_msa_runtime.media.files import open_media\n"
        "for item in open_media(sys.argv[1]): pass\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])"
    )
    peaks = []
    for minutes in (1, 20):
        path = tmp_path / f"{minutes}.mkv"
        write_media(path, sound=np.zeros(minutes * 60 * 16_000), pictures=gray_pictures(minutes * 60), picture_rate=1)
        completed = subprocess.run(
            [sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True
        )
        peaks.append(int(completed.stdout))
    assert peaks[1] < peaks[0] + 10_000
