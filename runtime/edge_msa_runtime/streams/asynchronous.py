"""Predictions of a stream at regular moments, for programs with asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, AsyncIterator, Callable

if TYPE_CHECKING:
    from edge_msa_runtime.prediction import Prediction


async def predict_regularly(
    predict: Callable[[], Prediction | None],
    is_closed: Callable[[], bool],
    closing: list[Callable[[], object]],
    every: float,
) -> AsyncIterator[Prediction]:
    """Yield a prediction every `every` seconds until the stream is closed.

    Args:
        predict: predicts, or returns None if there is nothing to predict from. It runs in the default executor.
        is_closed: returns whether the stream is closed.
        closing: the stream calls these functions when it is closed, in any thread.
        every: seconds between the starts of two predictions. One that takes longer delays the following ones.
    """
    loop, closed = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(closed.set)

    closing.append(wake)
    try:
        due = loop.time() + every
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(closed.wait(), max(0.0, due - loop.time()))
            if is_closed():
                return
            due = max(due + every, loop.time())
            prediction = await loop.run_in_executor(None, predict)
            if prediction is not None:
                yield prediction
    finally:
        closing.remove(wake)
