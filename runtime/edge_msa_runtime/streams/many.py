"""Predictions of several streams at once, with graphs that take several streams where the backend gains from that."""
# ruff: noqa: SLF001 - this is the part of `Stream` that concerns several streams

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Sequence

from edge_msa_runtime.errors import EdgeMsaError, NothingToPredictError
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.streams.deferred_steps import DeferredSteps

if TYPE_CHECKING:
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.prediction import Prediction
    from edge_msa_runtime.streams.stream import PreparedPrediction, Stream

    Result = Prediction | Exception | None


def predict_streams(graphs: Graphs, streams: Sequence[Stream], at: float | None) -> list[Result]:
    """Return the prediction of each stream, its error, or None if it has nothing to predict from.

    Args:
        graphs: the graphs of all streams.
        streams: different streams. Their locks are taken in an order that is the same for all threads.
        at: as in `Stream.predict`, for all streams.
    """
    if len(streams) < graphs.min_batch:
        return [_predict_one(stream, at) for stream in streams]
    started = time.perf_counter()
    with ExitStack() as stack:
        for stream in streams:
            stack.callback(stream._emit)  # after the locks are released
        for stream in sorted(streams, key=id):
            stack.enter_context(stream._encoding_lock)
        steps = DeferredSteps()
        results: dict[int, Result] = {}
        prepared: dict[int, PreparedPrediction] = {}
        try:
            for number, stream in enumerate(streams):
                steps.begin(number)
                try:
                    prepared[number] = stream._prepare(at, steps)
                except NothingToPredictError:
                    results[number] = None
                except EdgeMsaError as error:
                    results[number] = error
            errors = steps.run(graphs)
        finally:
            steps.settle()
        results.update(errors)
        waiting = {number: item for number, item in prepared.items() if number not in errors}
        outputs = _compute_outputs(graphs, waiting)
        for number, item in waiting.items():
            values = outputs[number]
            try:
                results[number] = (
                    values if isinstance(values, EdgeMsaError) else streams[number]._finish(item, values, started)
                )
            except EdgeMsaError as error:  # an output is not finite
                results[number] = error
    return [results[number] for number in range(len(streams))]


def _predict_one(stream: Stream, at: float | None) -> Result:
    try:
        return stream.predict(at)
    except NothingToPredictError:
        return None
    except EdgeMsaError as error:
        return error


def _compute_outputs(
    graphs: Graphs, prepared: dict[int, PreparedPrediction]
) -> dict[int, Sequence[float] | EdgeMsaError]:
    """Return the outputs of each stream, or its error. Window graphs take one stream at a time."""
    outputs: dict[int, Sequence[float] | EdgeMsaError] = {}
    for number, item in prepared.items():
        if item.has_window:
            try:
                outputs[number] = graphs.run(Subset.of(item.states), item.states)
            except EdgeMsaError as error:
                outputs[number] = error
    numbers = [number for number in prepared if number not in outputs]
    outputs.update(zip(numbers, graphs.fuse_many([prepared[number].states for number in numbers])))
    return outputs
