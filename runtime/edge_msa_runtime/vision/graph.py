"""Run a TensorFlow Lite model with LiteRT, on one thread."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from edge_msa_runtime.errors import BackendUnavailableError, InferenceError, first_line
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Only one thread at a time may replace the file of stderr.
_LOCK = threading.Lock()


class Graph:
    """One model. Only one thread at a time may run it.

    Args:
        content: the model, a flatbuffer.
        name: its name in messages.
        inputs: shape of its only input.
        outputs: names and shapes of the outputs to return.

    Raises:
        BackendUnavailableError: LiteRT is not installed, or has no version for this Python.
        ValueError: the model cannot be loaded, or has other inputs or outputs.
    """

    def __init__(
        self, content: bytes, name: str, inputs: tuple[int, ...], outputs: Sequence[tuple[str, tuple[int, ...]]]
    ) -> None:
        interpreter = _import_litert()
        self._name = name
        try:
            with _LOCK, _without_notes():
                self._vendor = interpreter.Interpreter(model_content=content, num_threads=1)
                self._vendor.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{name} cannot be loaded: {first_line(error)}") from None
        found = {str(item["name"]): item for item in self._vendor.get_output_details()}
        (given,) = self._vendor.get_input_details()
        self._input = given["index"]
        shapes = [("the input", inputs, given), *((name, shape, found.get(name)) for name, shape in outputs)]
        for part, expected, detail in shapes:
            if detail is None or tuple(detail["shape"]) != expected or detail["dtype"] is not np.float32:
                raise ValueError(f"{name} must have {part} of shape {expected}")
        self._outputs = [found[name]["index"] for name, _ in outputs]

    def run(self, values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for an input, without the batch dimension.

        Raises:
            InferenceError: an output is not finite, or LiteRT fails.
        """
        try:
            self._vendor.set_tensor(self._input, np.ascontiguousarray(values, np.float32)[None])
            self._vendor.invoke()
        except (ValueError, RuntimeError) as error:
            raise InferenceError(f"LiteRT cannot run {self._name} ({first_line(error)}).") from error
        outputs: list[NDArray[np.float32]] = [self._vendor.get_tensor(index) for index in self._outputs]
        if not all(np.isfinite(output).all() for output in outputs):
            raise InferenceError(f"{self._name} returned values that are not finite.")
        return outputs


def _import_litert() -> Any:
    if sys.version_info < (3, 9):
        raise BackendUnavailableError(
            f"The face models need LiteRT, which has no version for Python 3.8, got {sys.version.split()[0]}. "
            "Use Python 3.9 or later."
        )
    return import_package("ai_edge_litert.interpreter")


@contextmanager
def _without_notes() -> Iterator[None]:
    """Hide the line `INFO: Created TensorFlow Lite XNNPACK delegate for CPU.`, which LiteRT writes past `sys.stderr`.

    All other lines are written to stderr afterwards.
    """
    try:
        kept = os.dup(2)
    except OSError:  # a program without a console has no stderr
        yield
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file:
                if not line.startswith(b"INFO:"):
                    os.write(2, line)
