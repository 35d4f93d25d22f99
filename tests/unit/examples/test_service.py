from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.tolerances import assert_close_to_scale
from tests.unit.runtime.fake_bundles import random_frames, reference_prediction

AUDIO, LANGUAGE = random_frames("audio", 6), random_frames("language", 5)


@pytest.fixture
def service(load_example: Callable[[str], ModuleType]) -> ModuleType:
    return load_example("service.py")


@pytest.fixture
def client(service: ModuleType, bundle: Path) -> Iterator[TestClient]:
    with TestClient(service.create_app(str(bundle))) as opened:
        yield opened


def test_a_client_predicts_from_any_subset(client: TestClient) -> None:
    inputs = {"language": LANGUAGE, "audio": AUDIO}
    response = client.post("/predict", json={name: frames.tolist() for name, frames in inputs.items()})
    assert response.status_code == 200
    prediction = response.json()
    assert prediction["subset"] == "la"
    assert_close_to_scale(prediction["outputs"], reference_prediction(inputs))
    assert client.get("/health").json()["features"] == {"language": 4, "audio": 2, "vision": 3}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "No modality has a valid frame. Pass at least one of language, audio, vision."),
        ({"audio": [[1.0, 2.0, 3.0]]}, "audio must be an array of shape (frames, 2), got (1, 3). Pass the same"),
        ({"audio": [[1.0, "x"]]}, "audio must have real numbers"),
        ({"audio": [[1.0, 2.0], [3.0]]}, "audio must be"),
        ({"audio": "AAAA"}, "audio must be an array, got a string"),
        ({"text": "i love it"}, "This bundle does not accept text."),
    ],
)
def test_a_wrong_input_is_refused_with_the_line_of_the_runtime(
    client: TestClient, inputs: dict[str, Any], message: str
) -> None:
    response = client.post("/predict", json=inputs)
    assert response.status_code == 422
    assert response.json()["detail"].startswith(message)
    assert "\n" not in response.json()["detail"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b'{"sound": []}', b""])
def test_a_body_that_is_not_an_utterance_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422


def test_not_a_number_is_refused(client: TestClient) -> None:
    response = client.post("/predict", content=b'{"audio": [[NaN, 1]]}', headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert "audio must have finite values" in response.json()["detail"]


def test_large_bodies_and_bodies_of_unknown_length_are_refused(client: TestClient, service: ModuleType) -> None:
    assert client.post("/predict", content=b" " * (service.MAX_BYTES + 1)).status_code == 413
    assert client.post("/predict", content=iter([b"{}"])).status_code == 413


def test_requests_errors_and_streams_are_counted(client: TestClient) -> None:
    client.post("/predict", json={})
    with client.websocket_connect("/stream") as socket:
        socket.send_json({"audio": AUDIO.tolist()})
        socket.receive_json()
        assert client.get("/metrics").text == "edge_msa_requests 1\nedge_msa_errors 1\nedge_msa_streams 1\n"
    assert client.get("/metrics").text.endswith("edge_msa_streams 0\n")


def test_each_client_has_its_own_stream(client: TestClient) -> None:
    with client.websocket_connect("/stream") as one, client.websocket_connect("/stream") as other:
        for socket, frames in ((one, AUDIO[:3]), (other, AUDIO), (one, AUDIO[3:])):
            socket.send_json({"audio": frames.tolist()})
            received = socket.receive_json()
        other.send_json({"reset": True, "language": LANGUAGE.tolist()})
        assert_close_to_scale(received["outputs"], reference_prediction({"audio": AUDIO}))
        assert_close_to_scale(other.receive_json()["outputs"], reference_prediction({"language": LANGUAGE}))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ('{"audio": [[1.0]]}', "audio must be an array of shape (frames, 2), got (1, 1)."),
        ('{"sound": 1}', "1 validation error for Piece"),
        ("{", "1 validation error for Piece"),
    ],
)
def test_a_wrong_message_does_not_change_a_stream(client: TestClient, message: str, error: str) -> None:
    with client.websocket_connect("/stream") as socket:
        socket.send_json({"audio": AUDIO[:3].tolist()})
        socket.receive_json()
        socket.send_text(message)
        assert socket.receive_json()["error"].startswith(error)
        socket.send_json({"audio": AUDIO[3:].tolist()})
        assert_close_to_scale(socket.receive_json()["outputs"], reference_prediction({"audio": AUDIO}))


def test_a_message_may_be_bytes_with_json(client: TestClient) -> None:
    with client.websocket_connect("/stream") as socket:
        socket.send_bytes(b"\xff\x00")
        assert "Invalid JSON" in socket.receive_json()["error"]
        socket.send_json({"audio": AUDIO.tolist()}, mode="binary")
        assert_close_to_scale(socket.receive_json()["outputs"], reference_prediction({"audio": AUDIO}))
    assert client.get("/metrics").text.endswith("edge_msa_streams 0\n")


def test_more_streams_than_allowed_are_refused(
    client: TestClient, service: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_STREAMS", 1)
    with client.websocket_connect("/stream") as first:
        with client.websocket_connect("/stream") as second:
            assert second.receive()["code"] == 1013
        first.send_json({"audio": AUDIO.tolist()})
        assert first.receive_json()["subset"] == "a"


def test_many_clients_get_the_right_predictions(client: TestClient) -> None:
    inputs = [random_frames("audio", 6, seed) for seed in range(8)]
    scores: dict[int, Any] = {}

    def ask(number: int) -> None:
        scores[number] = client.post("/predict", json={"audio": inputs[number].tolist()}).json()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, frames in enumerate(inputs):
        assert_close_to_scale(scores[number]["outputs"], reference_prediction({"audio": frames}))
