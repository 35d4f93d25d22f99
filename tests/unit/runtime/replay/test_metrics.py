from __future__ import annotations

import socket
import sys
import urllib.error
import urllib.request

import pytest

from edge_msa_runtime.errors import PackageImportError, UsageError
from edge_msa_runtime.replay.metrics import serve_metrics
from edge_msa_runtime.replay.status import Status
from tests.unit.runtime.replay.made_predictions import make
from tests.unit.runtime.replay.test_views import filled_status

INFO = {"bundle": "fake", "backend": "onnxruntime", "precision": "fp32"}


def read(port: int, host: str = "127.0.0.1") -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_metrics_follow_the_status() -> None:
    pytest.importorskip("prometheus_client")
    status = filled_status()
    with serve_metrics(status, INFO, 0) as port:
        text = read(port)
        status.finals = 7
        later = read(port)
    for line in (
        'edge_msa_info{backend="onnxruntime",bundle="fake",precision="fp32"} 1.0',
        'edge_msa_frames_total{modality="audio",result="used"} 90.0',
        'edge_msa_frames_total{modality="audio",result="late"} 10.0',
        'edge_msa_frames_missing_total{modality="vision"} 0.0',
        'edge_msa_predictions_total{subset="la"} 1.0',
        'edge_msa_stream_events_total{kind="late",modality="audio"} 1.0',
        'edge_msa_latency_seconds_bucket{le="0.0025"} 1.0',
        "edge_msa_latency_seconds_count 1.0",
        'edge_msa_age_seconds{modality="vision"} 3.0',
        "edge_msa_score 1.25",
        "edge_msa_stream_seconds_total 12.0",
    ):
        assert line in text.splitlines()
    assert "edge_msa_utterances_total 7.0" in later.splitlines()
    with pytest.raises(urllib.error.URLError):
        read(port)  # the server has ended


def test_probabilities_are_metrics() -> None:
    pytest.importorskip("prometheus_client")
    status = filled_status()
    status.on_prediction(make(1.0, None, label="joy", probabilities={"joy": 0.75, "calm": 0.25}))
    with serve_metrics(status, INFO, 0) as port:
        lines = read(port).splitlines()
    assert 'edge_msa_probability{label="joy"} 0.75' in lines
    assert not any(line.startswith("edge_msa_score") for line in lines)


def test_metrics_are_served_on_loopback_only() -> None:
    pytest.importorskip("prometheus_client")
    with serve_metrics(Status(), INFO, 0) as port:
        assert "edge_msa_skipped_total 0.0" in read(port).splitlines()
        with socket.socket() as probe:  # another address of the loopback network stands for an outside one
            probe.settimeout(5)
            assert probe.connect_ex(("127.0.0.2", port)) != 0


def test_a_port_in_use_is_named() -> None:
    pytest.importorskip("prometheus_client")
    with serve_metrics(Status(), INFO, 0) as port, pytest.raises(UsageError, match=f"--metrics-port {port} cannot"):
        serve_metrics(Status(), INFO, port).__enter__()


def test_without_prometheus_client_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(PackageImportError, match=r"pip install 'edge-msa-runtime\[metrics\]'"):
        serve_metrics(Status(), INFO, 0).__enter__()
