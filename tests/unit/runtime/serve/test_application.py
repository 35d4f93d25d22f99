from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import wave
from pathlib import Path
from typing import Any, AsyncIterator, Callable

import numpy as np
import pytest

from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.front_ends import TimedFrames
from edge_msa_runtime.serve import application as module
from edge_msa_runtime.serve.limits import Limits
from edge_msa_runtime.serve.openapi import describe_api
from tests.media_files import gray_pictures, tone, write_media
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime.class_tasks import CLASSES, LABELS
from tests.unit.runtime.fake_bundles import random_frames, reference_prediction
from tests.unit.runtime.serve.stand_ins import LOCAL_NAMES, Color, Loudness

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("av", reason="the extra audio is not installed")

AUDIO, VISION = random_frames("audio", 6), random_frames("vision", 4)
JSON = {"content-type": "application/json"}
PAGES = Path(module.__file__).with_name("page")


def test_frames_are_predicted(make_client: Callable[..., Any]) -> None:
    response = make_client().post("/predict", json={"audio": AUDIO.tolist(), "vision": VISION.tolist()})
    assert response.status_code == 200
    assert response.json()["subset"] == "av"
    assert_close_to_scale(response.json()["outputs"], reference_prediction({"audio": AUDIO, "vision": VISION}))


def test_masked_frames_do_not_count(make_client: Callable[..., Any]) -> None:
    mask = [True] * 3 + [False] * 3
    response = make_client().post("/predict", json={"audio": AUDIO.tolist(), "valid": {"audio": mask}, "vision": None})
    assert_close_to_scale(response.json()["outputs"], reference_prediction({"audio": AUDIO[:3]}))


def test_text_is_predicted(make_client: Callable[..., Any]) -> None:
    client = make_client(text=True)
    assert client.post("/predict", json={"text": "i love it"}).json()["subset"] == "l"
    assert client.post("/predict", json={"text": ["i", "love"], "truncate": "start"}).status_code == 200
    assert client.post("/predict", json={"text": 1}).json()["error"].startswith("text must be a string")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "The body must be JSON: Expecting value at column 1."),
        ("null", "The body must be a JSON object, got null."),
        ("{", "The body must be JSON: Expecting property name enclosed in double quotes at column 2."),
        ("[1]", "The body must be a JSON object, got [1]."),
        ("[" * 100_000, "The body "),
        (
            '{"sound": []}',
            "Unknown field 'sound'. Known fields: text, language, audio, vision, valid, truncate, context.",
        ),
        ("{}", "No modality has a valid frame. Pass at least one of language, audio, vision."),
        ('{"audio": [[1, 2, 3]]}', "audio must be an array of shape (frames, 2), got (1, 3)."),
        ('{"audio": [[NaN, 1]]}', "audio must have finite values"),
        ('{"audio": [[1, 2], [3]]}', "The frames of audio must be lists of as many numbers each."),
        ('{"audio": [["1", "2"]]}', 'The frames of audio must be lists of numbers of float32, got [["1", '),
        ('{"audio": [[true, false]]}', "The frames of audio must be lists of numbers of float32, got [[true, false]]."),
        ('{"audio": [[null, 1]]}', "The frames of audio must be lists of numbers of float32, got [[null, 1]]."),
        ('{"audio": [' + "[]," * 500_000 + "[]]}", "The body must have at most 500000 arrays and objects, got 500003."),
        ('{"audio": "AAAA"}', 'audio must be a list of frames, each a list of numbers, got "AAAA".'),
        ('{"audio": 1e999}', "audio must"),
        ('{"audio": [[1' + "0" * 5000 + "]]}", "The body has a number with too many digits."),
        ('{"text": "i love it"}', "This bundle does not accept text."),
        ('{"audio": [[1, 2]], "valid": [true]}', "valid must be an object with masks by modality, got [true]."),
        (
            '{"audio": [[1, 2]], "valid": {"audio": [true, false]}}',
            "The mask of audio must be a list with true or false for each frame (1), got 2 values.",
        ),
        (
            '{"audio": [[1, 2]], "valid": {"audio": [1]}}',
            "The mask of audio must be a list with true or false for each frame (1), got [1].",
        ),
        ('{"audio": [[1, 2]], "truncate": []}', "truncate"),
    ],
)
def test_a_wrong_body_is_refused_in_one_line(make_client: Callable[..., Any], body: str, message: str) -> None:
    response = make_client().post("/predict", content=body, headers=JSON)
    assert response.status_code == 422, response.text
    assert response.json()["error"].startswith(message)
    assert "\n" not in response.json()["error"]
    assert len(response.text) < 500


def test_a_body_that_is_not_utf8_is_refused(make_client: Callable[..., Any]) -> None:
    response = make_client().post("/predict", content=b'{"text": "\xff"}', headers=JSON)
    assert response.json() == {"error": "The body must be UTF-8, but byte 10 is not."}


def test_large_bodies_are_refused(make_client: Callable[..., Any]) -> None:
    client = make_client(json_bytes=100)
    for content in (b" " * 101, iter([b" " * 60, b" " * 60])):  # with and without Content-Length
        response = client.post("/predict", content=content, headers=JSON)
        assert response.status_code == 413
        assert response.json()["error"].startswith("A request of this kind must have at most 100 bytes")


def test_another_content_type_is_refused(make_client: Callable[..., Any]) -> None:
    response = make_client().post("/predict", content=b"text=1", headers={"content-type": "text/plain"})
    assert response.status_code == 415
    assert "got 'text/plain'" in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/a/b", 404),
        ("GET", "/../application.py", 404),
        ("PUT", "/predict", 405),
        ("GET", "/predict", 405),
        ("GET", "/live", 426),
    ],
)
def test_unknown_requests_are_answered_in_one_line(
    make_client: Callable[..., Any], method: str, path: str, status: int
) -> None:
    response = make_client().request(method, path)
    assert response.status_code == status
    assert response.json()["error"].count("\n") == 0
    assert {405: "allow", 426: "upgrade"}.get(status, "content-type") in response.headers


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}]
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/bundle"), ("POST", "/predict")])
def test_requests_of_other_pages_are_refused(
    make_client: Callable[..., Any], headers: dict[str, str], method: str, path: str
) -> None:
    response = make_client().request(method, path, headers=headers)
    assert response.status_code == 403
    assert set(response.json()) == {"error"}


def test_a_failure_shows_no_stack_trace(
    make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from starlette.testclient import TestClient

    service = make_service()

    def fail(**_: object) -> None:
        raise RuntimeError("secret\nin two lines")

    monkeypatch.setattr(service.session, "predict", fail)
    client = TestClient(module.create_application(service, LOCAL_NAMES), base_url="http://127.0.0.1")
    response = client.post("/predict", json={})
    assert response.status_code == 500
    assert response.json() == {"error": "The server failed. Its terminal says why."}
    assert [record.getMessage() for record in caplog.records] == ["RuntimeError: secret"]


def test_health_and_bundle_are_described(make_client: Callable[..., Any]) -> None:
    client = make_client(text=True, words=True)
    assert client.get("/health").json() == {"status": "ok", "bundle": "fake", "live_streams": 0}
    bundle = client.get("/bundle").json()
    assert bundle["needs"] == {"microphone": True, "camera": False, "words": ["recognized", "typed"]}
    assert bundle["modalities"]["audio"]["dim"] == 2


def test_only_what_the_bundle_needs_is_asked_for(make_client: Callable[..., Any]) -> None:
    assert make_client().get("/bundle").json()["needs"] == {"microphone": True, "camera": True, "words": []}
    assert make_client(media=False, text=True).get("/bundle").json()["needs"] == {
        "microphone": False,
        "camera": False,
        "words": ["typed"],
    }


def test_every_response_has_the_security_headers(make_client: Callable[..., Any]) -> None:
    client = make_client()
    for response in (client.get("/"), client.get("/live.js"), client.get("/nothing"), client.post("/predict", json={})):
        assert response.headers["content-security-policy"].startswith("default-src 'none';")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


def test_pages_need_nothing_from_elsewhere(make_client: Callable[..., Any]) -> None:
    client = make_client()
    names = [path.name for path in PAGES.iterdir()]
    assert set(names) == set(module._TYPES)
    for name in names:
        response = client.get(f"/{name}")
        assert response.status_code == 200
        assert response.headers["content-type"] == module._TYPES[name]
        code = re.sub(r"^\s*//.*$", "", response.text, flags=re.MULTILINE)
        addresses = set(re.findall(r"(?:https?:)?//[\w.]+", code))
        assert addresses <= {"http://www.w3.org"}, name  # the name of SVG
        for link in re.findall(r'(?:href|src)="([^"]*)"', response.text):
            assert client.get(f"/{link.lstrip('./')}").status_code == 200, link
    assert client.get("/").text == (PAGES / "index.html").read_text()
    assert "innerHTML" not in "".join((PAGES / name).read_text() for name in names)


def test_the_interface_is_described(make_client: Callable[..., Any]) -> None:
    client = make_client(text=True)
    api = client.get("/openapi.json").json()
    assert api["openapi"] == "3.1.0"
    for path, methods in api["paths"].items():
        for method in methods:
            assert client.request(method, path).status_code != 404
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(api)))
    assert references <= set(api["components"]["schemas"])
    content = api["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/octet-stream"}
    answer = client.post("/predict", json=content["application/json"]["example"])
    assert answer.status_code == 200
    prediction = api["components"]["schemas"]["Prediction"]
    assert set(prediction["required"]) <= set(answer.json())


def test_classes_are_described(make_bundle: Callable[..., Path]) -> None:
    manifest = open_bundle(make_bundle(task=CLASSES, names=("language",))).manifest
    schema = describe_api(manifest, Limits(), accepts_media=False)["components"]["schemas"]["Prediction"]
    assert list(schema["properties"]["probabilities"]["properties"]) == list(LABELS)
    assert schema["properties"]["prediction_set"]["type"] == ["array", "null"]
    assert "prediction_set" in schema["required"]


def write_sound(path: Path, seconds: float, rate: int = 16_000) -> bytes:
    """Write a WAV file with a tone, and return its content."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        tone = np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
        file.writeframes((8000 * tone).astype("<i2").tobytes())
    return path.read_bytes()


def test_a_sound_file_is_predicted(make_client: Callable[..., Any], tmp_path: Path) -> None:
    body = write_sound(tmp_path / "sound.wav", 2.0)
    client = make_client(text=True, words=True)
    answer = client.post("/predict", content=body, headers={"content-type": "audio/wav"}).json()
    assert answer["subset"] == "la"
    assert answer["media"]["frames"] == {"audio": 200}
    assert answer["media"]["text"] == "love love"
    assert answer["media"]["words"] == [["love", 0.0, 0.5], ["love", 1.0, 1.5]]
    given = client.post("/predict?text=not+at+all", content=body, headers={"content-type": "audio/wav"}).json()
    assert given["media"]["text"] == "not at all"
    assert given["score"] != answer["score"]


def test_frames_and_words_after_a_gap_keep_their_times(make_client: Callable[..., Any], tmp_path: Path) -> None:
    path = write_media(tmp_path / "gap.mkv", sound=tone(2), codec="pcm_s16le", sound_times=[0, 3])
    client = make_client(text=True, words=True)
    answer = client.post("/predict", content=path.read_bytes(), headers={"content-type": "video/x-matroska"}).json()
    assert answer["media"]["frames"] == {"audio": 400}
    assert answer["media"]["words"][-1] == ["love", 3.0, 3.5]


@pytest.mark.parametrize("body", [b"", b"no media at all", b"RIFF\x00\x00\x00\x00WAVE", b"\x00" * 1000])
def test_a_file_that_is_no_media_is_refused_in_one_line(make_client: Callable[..., Any], body: bytes) -> None:
    headers = {"content-type": "application/octet-stream"}
    response = make_client().post("/predict", content=body, headers=headers)
    assert response.status_code == 422
    assert response.json()["error"].startswith(("The file", "Nothing of the file"))
    assert "\n" not in response.json()["error"]
    assert "/tmp" not in response.text  # noqa: S108 - not used


def test_long_and_large_files_are_refused(make_client: Callable[..., Any], tmp_path: Path) -> None:
    body = write_sound(tmp_path / "sound.wav", 2.0)
    headers = {"content-type": "application/octet-stream"}
    long = make_client(media_seconds=1.0).post("/predict", content=body, headers=headers)
    assert long.status_code == 422
    assert long.json()["error"].startswith("A file must have at most 1 s, got 2.0 s.")
    unstated = write_media(tmp_path / "unstated.mkv", sound=tone(2), options={"live": "1"}).read_bytes()
    longer = make_client(media_seconds=1.0).post("/predict", content=unstated, headers=headers)
    assert longer.json()["error"].startswith("A file must have at most 1 s, got more.")
    large = make_client(media_bytes=1000).post("/predict", content=iter([body]), headers=headers)
    assert large.status_code == 413


def test_a_file_that_takes_too_much_processor_time_is_refused(make_client: Callable[..., Any], tmp_path: Path) -> None:
    path = write_media(tmp_path / "video.mkv", pictures=gray_pictures(200), picture_rate=1000.0)
    response = make_client(busy_seconds=0.001).post(
        "/predict", content=path.read_bytes(), headers={"content-type": "video/x-matroska"}
    )
    assert response.status_code == 422
    assert response.json()["error"] == (
        "The file needs more than 0.001 s of processor time. Cut it, or convert it to smaller or fewer pictures."
    )


def test_a_file_without_a_face_is_refused_with_the_reason(
    make_client: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(_: Color, picture: Any) -> TimedFrames:
        return TimedFrames(picture.time, np.zeros((1, 3), np.float32), np.array([False]))

    monkeypatch.setattr(Color, "push", find_nothing)
    path = write_media(tmp_path / "video.mkv", pictures=gray_pictures(3))
    response = make_client().post("/predict", content=path.read_bytes(), headers={"content-type": "video/x-matroska"})
    assert response.status_code == 422
    assert response.json()["error"].startswith("There is nothing to predict from: no face was found. Send another file")


def test_nothing_is_computed_for_a_client_that_has_left(
    make_service: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_msa_runtime.serve.guard import RefusedError
    from edge_msa_runtime.serve.uploads import Uploads

    pushed: list[float] = []
    left = threading.Event()

    def push(_: Loudness, sound: Any) -> TimedFrames:
        pushed.append(sound.time)
        left.set()
        return TimedFrames(sound.time, np.zeros((10, 2), np.float32))

    class Request:
        """Sends a file, and leaves when its sound is read."""

        def __init__(self) -> None:
            self.headers: dict[str, str] = {}
            self.query_params: dict[str, str] = {}

        async def stream(self) -> AsyncIterator[bytes]:
            yield write_sound(tmp_path / "sound.wav", 5.0)

        async def receive(self) -> dict[str, str]:
            await asyncio.get_running_loop().run_in_executor(None, left.wait, 5)
            return {"type": "http.disconnect"}

    def slowly(front_end: Loudness, sound: Any) -> TimedFrames:
        frames = push(front_end, sound)
        time.sleep(0.02)
        return frames

    monkeypatch.setattr(Loudness, "push", slowly)
    request: Any = Request()
    with pytest.raises(RefusedError, match="The connection ended before the file was read"):
        asyncio.run(Uploads(make_service(text=True)).predict(request))
    assert len(pushed) < 25  # of 50


def test_no_file_remains(make_client: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = write_sound(tmp_path / "sound.wav", 1.0)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    client = make_client()
    for content in (body, b"damaged"):
        client.post("/predict", content=content, headers={"content-type": "audio/wav"})
    assert list(folder.iterdir()) == []


def test_a_server_without_media_refuses_files(make_client: Callable[..., Any]) -> None:
    response = make_client(media=False).post("/predict", content=b"x", headers={"content-type": "audio/wav"})
    assert response.status_code == 415
    assert response.json()["error"].startswith("This server accepts no media files")
