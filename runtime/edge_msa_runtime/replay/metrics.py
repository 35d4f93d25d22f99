"""Metrics of a replayed stream in the text format of Prometheus, served on the loopback interface only."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Mapping

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.prediction import Prediction
from edge_msa_runtime.replay.percentiles import Percentiles
from edge_msa_runtime.replay.status import Status
from edge_msa_runtime.vendor_packages import import_package

LOOPBACK = "127.0.0.1"
_RESULTS = ("used", "late", "duplicate", "overflow", "masked", "forgotten", "refused")
_BOUNDS_MS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0)


@contextlib.contextmanager
def serve_metrics(status: Status, info: Mapping[str, str], port: int) -> Iterator[int]:
    """Serve the metrics while the context is active, and return the port.

    Args:
        status: what is measured.
        info: labels of the metric `edge_msa_info`: names of bundle, backend and precision.
        port: TCP port; 0 for any free one.

    Raises:
        PackageImportError: prometheus-client is not installed.
        UsageError: the port cannot be used.
    """
    prometheus: Any = import_package("prometheus_client")
    registry = prometheus.CollectorRegistry()
    registry.register(_Collector(status, info))
    try:
        server, thread = prometheus.start_http_server(port, addr=LOOPBACK, registry=registry)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--metrics-port {port} cannot be used: {error}. Choose another port, or 0 for any."
        ) from error
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Collector:
    """Reads the status whenever Prometheus asks."""

    def __init__(self, status: Status, info: Mapping[str, str]) -> None:
        self._status = status
        self._info = dict(info)

    def collect(self) -> Iterator[Any]:
        """Yield the metrics."""
        core: Any = import_package("prometheus_client.core")
        status = self._status
        with status.lock:
            yield from self._collect(core, status)

    def _collect(self, core: Any, status: Status) -> Iterator[Any]:
        info = core.InfoMetricFamily("edge_msa", "Bundle, backend and precision.")
        info.add_metric([], self._info)
        yield info
        frames = core.CounterMetricFamily(
            "edge_msa_frames",
            "Frames, or words, that were sent, by what became of them.",
            labels=["modality", "result"],
        )
        missing = core.CounterMetricFamily("edge_msa_frames_missing", "Frames that never came.", labels=["modality"])
        for name, counters in status.counters.items():
            for result in _RESULTS:
                frames.add_metric([name, result], getattr(counters, result))
            missing.add_metric([name], counters.missing)
        predictions = core.CounterMetricFamily("edge_msa_predictions", "Predictions by subset.", labels=["subset"])
        for subset, count in status.subsets.items():
            predictions.add_metric([subset], count)
        events = core.CounterMetricFamily(
            "edge_msa_stream_events", "Events of the stream.", labels=["kind", "modality"]
        )
        for (kind, modality), count in status.events.items():
            events.add_metric([kind, modality], count)
        yield from (frames, missing, predictions, events)
        for name, text, value in (
            ("edge_msa_utterances", "Utterances that ended with a prediction.", status.finals),
            ("edge_msa_skipped", "Moments without anything to predict from.", status.skipped),
            ("edge_msa_input_errors", "Lines or samples that could not be used.", status.errors),
            ("edge_msa_stream_seconds", "Stream time that has passed.", status.seconds),
        ):
            yield core.CounterMetricFamily(name, text, value=value)
        yield _histogram(core, "edge_msa_latency_seconds", "Time of a prediction.", status.latency)
        yield _histogram(core, "edge_msa_delay_seconds", "From the newest frame to the prediction.", status.delay)
        if status.latest is not None:
            yield from _newest(core, status.latest.prediction)


def _newest(core: Any, prediction: Prediction) -> Iterator[Any]:
    """Yield what the newest prediction is, and what it is based on."""
    ages = core.GaugeMetricFamily("edge_msa_age_seconds", "Age of the newest frame.", labels=["modality"])
    for name, age in prediction.ages.items():
        ages.add_metric([name], age)
    yield ages
    if prediction.score is not None:
        yield core.GaugeMetricFamily("edge_msa_score", "Newest score.", value=prediction.score)
    if prediction.probabilities:
        shares = core.GaugeMetricFamily("edge_msa_probability", "Newest probabilities.", labels=["label"])
        for label, value in prediction.probabilities.items():
            shares.add_metric([label], value)
        yield shares


def _histogram(core: Any, name: str, text: str, durations: Percentiles) -> Any:
    buckets = [(f"{bound / 1e3:g}", durations.count_up_to(bound)) for bound in _BOUNDS_MS]
    return core.HistogramMetricFamily(
        name, text, buckets=[*buckets, ("+Inf", durations.count)], sum_value=durations.total_ms / 1e3
    )
