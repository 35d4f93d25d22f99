"""What a backend is to the rest of the runtime: it loads a file of static shapes, and runs it on bound buffers."""

from __future__ import annotations

import abc
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


MAX_THREADS = 256


@dataclasses.dataclass(frozen=True)
class BackendOptions:
    """How a backend is to run.

    `threads`: for one inference, at least 1; CPU backends only. `device`: what it runs on, in the backend's own words
    (`CPU`, `GPU`, `GPU:1`); empty for the backend's usual device.
    """

    threads: int = 1
    device: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= MAX_THREADS:
            raise UsageError(f"threads is {self.threads}; give 1 to {MAX_THREADS}")


class Program(abc.ABC):
    """One loaded graph with the buffers it is bound to for good.

    Write into `inputs` (zero at first), call `run`, read `outputs`, which the next run overwrites; or call the
    program with a mapping, which copies in and out. `device` is what executes; `notes` say what of it is otherwise
    than is usual. For one thread at a time.
    """

    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    device: str
    notes: Sequence[str] = ()

    @abc.abstractmethod
    def run(self) -> None:
        """Execute once, from `inputs` to `outputs`.

        Raises:
            InferenceError: the backend failed.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of what the program holds; it cannot run any more."""

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run on copies.

        Args:
            inputs: an array for every input of the graph, of exactly its shape.

        Raises:
            UsageError: an input is missing, unknown or of another shape.
            InferenceError: the backend failed.
        """
        if set(inputs) != set(self.inputs):
            raise UsageError(f"the graph takes {sorted(self.inputs)}, given are {sorted(inputs)}")
        for name, buffer in self.inputs.items():
            value = np.asarray(inputs[name])
            if value.shape != buffer.shape:
                raise UsageError(f"{name} has shape {value.shape}, the graph takes {buffer.shape}")
            buffer[...] = value
        self.run()
        return {name: value.copy() for name, value in self.outputs.items()}


class Backend(abc.ABC):
    """One way to execute graphs on this machine. `version` is the vendor's; `device` is what was asked for."""

    name: str
    version: str
    device: str

    def check_target(self, profile: Mapping[str, Any]) -> None:
        """Refuse a bundle that was made for another version of this backend; most read what any version reads.

        Args:
            profile: the bundle's `manifest.profile`.

        Raises:
            BackendUnavailableError: names both versions and what to run.
        """
        del profile

    @abc.abstractmethod
    def load(self, path: Path, precision: str = "fp32") -> Program:
        """Load a graph.

        Args:
            path: the file, whose digest has been checked.
            precision: `fp32`, `fp16` or `int8`: what the graph was made for.

        Raises:
            BackendUnavailableError: this version of the backend cannot run the graph.
            BundleError: the file is not there.
        """


def is_device(name: str, asked: str) -> bool:
    """Whether a device's name is what was asked for: `GPU` asks for whichever GPU, `GPU.1` for that one alone."""
    return name == asked or name.startswith(f"{asked}.")


def first_line(error: object) -> str:
    """The first line of a vendor's message that says anything: theirs run over many, ours are one."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
