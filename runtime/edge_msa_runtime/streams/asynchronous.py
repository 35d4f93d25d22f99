"""Predictions of a stream at regular moments, for programs with asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, AsyncIterator, Callable

if TYPE_CHECKING:
    from edge_msa_runtime.prediction import Prediction


async def predict_regularly(
    predict: Callable[[], Prediction | None], is_closed: Callable[[], bool], every: float
) -> AsyncIterator[Prediction]:
    """Yield a prediction every `every` seconds until the stream is closed.

    Args:
        predict: predicts, or returns None if there is nothing to predict from. It runs in the default executor.
        is_closed: returns whether the stream is closed.
        every: seconds between the starts of two predictions. One that takes longer delays the following ones.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + every
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        if is_closed():
            return
        due = max(due + every, loop.time())
        prediction = await loop.run_in_executor(None, predict)
        if prediction is not None:
            yield prediction
