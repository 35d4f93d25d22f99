"""The interface of a backend: compile a graph file with static shapes, then run it on bound buffers."""

from __future__ import annotations

import abc
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

from edge_msa_runtime.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


MAX_THREADS = 256
MAX_WORKERS = 256


@dataclasses.dataclass(frozen=True)
class BackendOptions:
    """Options of every backend.

    Attributes:
        threads: CPU threads for one prediction, 1 to 256. Backends on other devices ignore it.
        device: name of the device in the backend's notation (`CPU`, `GPU`, `GPU:1`); empty for the default device.
        workers: programs of one graph that may run at the same time, 1 to 256.
        spin: whether idle CPU threads of ONNX Runtime spin, which saves a few microseconds per prediction with more
            than one thread, and uses the CPU all the time. Other backends ignore it.
    """

    threads: int = 1
    device: str = ""
    workers: int = 1
    spin: bool = False

    def __post_init__(self) -> None:
        for name, value, limit in (("threads", self.threads, MAX_THREADS), ("workers", self.workers, MAX_WORKERS)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise UsageError(f"{name} must be a whole number, got {value!r}.")
            if not 1 <= value <= limit:
                raise UsageError(f"{name} must be between 1 and {limit}, got {value}.")


class Program(abc.ABC):
    """A compiled graph with the buffers that it is bound to.

    Write into `inputs`, call `run`, then use `outputs`, which the next run overwrites. Or call the program with a
    mapping of arrays, which copies inputs and outputs. A program is not thread-safe, but several programs of one
    compiled graph may run at the same time.

    Attributes:
        inputs: input buffers by name, initially zero.
        outputs: output buffers by name.
        device: device that executes the graph.
        notes: what the backend could not use to execute the graph, such as a CUDA graph.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    device: str
    notes: Sequence[str] = ()

    @abc.abstractmethod
    def run(self) -> None:
        """Execute the graph once, from `inputs` to `outputs`.

        Raises:
            InferenceError: the backend failed.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Release the program's resources. It cannot run afterwards."""

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Copy arrays into the inputs, run, and return copies of the outputs.

        Args:
            inputs: one array per input of the graph, with exactly its shape.

        Raises:
            UsageError: an input is missing, unknown or has another shape.
            InferenceError: the backend failed.
        """
        import numpy as np  # here, so that `doctor` works without NumPy

        if set(inputs) != set(self.inputs):
            raise UsageError(f"The inputs must be {sorted(self.inputs)}, got {sorted(inputs)}.")
        for name, buffer in self.inputs.items():
            value = np.asarray(inputs[name])
            if value.shape != buffer.shape:
                raise UsageError(f"{name} must have shape {buffer.shape}, got {value.shape}.")
            buffer[...] = value
        self.run()
        return {name: value.copy() for name, value in self.outputs.items()}


CreateProgram = Callable[[], Program]
"""A compiled graph. Each call returns a program with its own buffers; the weights are shared. Not thread-safe."""


class Backend(abc.ABC):
    """A library that executes graphs on this machine.

    Attributes:
        name: one of `BACKENDS`.
        version: version of the library.
        device: the requested device.
        options: the options that the backend was opened with.
        gains_from_batches: whether one run for several streams is faster than one run per stream.
    """

    name: str
    version: str
    device: str
    options: BackendOptions
    gains_from_batches: bool = True

    def check_target(self, profile: Mapping[str, Any]) -> None:
        """Check that this version of the backend can run bundles for a device profile.

        Most backends run graphs made for any of their versions, so the default accepts every profile.

        Args:
            profile: the bundle's `manifest.profile`.

        Raises:
            BackendUnavailableError: the bundle is for another version. The message names both versions and the command
                to run.
        """
        del profile

    @abc.abstractmethod
    def compile(self, path: Path, precision: str = "fp32") -> CreateProgram:
        """Compile a graph, and return a function that creates programs of it.

        Args:
            path: the graph file. The caller has checked its digest.
            precision: the precision that the graph was made for: `fp32`, `fp16` or `int8`.

        Raises:
            BackendUnavailableError: this version of the backend cannot run the graph. The function raises it too.
            BundleError: the file does not exist.
        """

    def load(self, path: Path, precision: str = "fp32") -> Program:
        """Compile a graph and return one program of it. Arguments and errors are those of `compile`."""
        return self.compile(path, precision)()


def matches_device(name: str, requested: str) -> bool:
    """Return whether a device satisfies a request: `GPU` matches any GPU (`GPU.0`, `GPU.1`), `GPU.1` only itself."""
    return name == requested or name.startswith(f"{requested}.")
