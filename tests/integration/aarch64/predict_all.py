"""Reads the same inputs with every precision of a bundle's ONNX Runtime, each subset by each way of prediction.

    python read_all.py BUNDLE INPUTS.npz PREDICTIONS.npz

Runs with what a device has: NumPy, the backend, the wheel of the bundle. `INPUTS.npz` holds `<modality>` (T, d), longer
than the window, `valid.<modality>` (T,), and `text` where the bundle reads words. `PREDICTIONS.npz` gets
`<precision>/<way>/<subset>` (outputs,). The ways: `window` (the frames that fit the window graph), `long` (all of them,
by step graphs), `stream` (all of them in uneven chunks, with the mask).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_msa_runtime import Subset, load
from edge_msa_runtime.bundle.loader import open_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_msa_runtime import Session

BACKEND = "onnxruntime"
CHUNKS = (1, 7, 2, 16, 3)


def main(bundle: str, inputs: str, predictions: str) -> None:
    """Read all and keep it."""
    given = dict(np.load(inputs))
    found: dict[str, Any] = {}
    for precision in open_bundle(bundle).precisions(BACKEND):
        with load(bundle, BACKEND, precision=precision) as session:
            for subset in Subset:
                if set(subset.modalities) <= set(session.manifest.modalities):
                    for way, outputs in _read(session, subset, given).items():
                        found[f"{precision}/{way}/{subset.value}"] = outputs
    np.savez(predictions, **found)


def _read(session: Session, subset: Subset, given: Mapping[str, Any]) -> dict[str, Any]:
    specs = session.manifest.modalities
    frames = {name: given[name] for name in subset.modalities}
    masks = {name: given[f"valid.{name}"] for name in subset.modalities}
    short = {name: values[: specs[name].window] for name, values in frames.items()}
    ways = {"window": session.predict(**short), "long": session.predict(**frames)}
    if "text" in given and "language" in frames:
        ways["words"] = session.predict(
            text=str(given["text"]), **{name: values for name, values in short.items() if name != "language"}
        )
    stream = session.create_stream()
    for name, values in frames.items():
        start = 0
        while start < len(values):
            end = start + CHUNKS[start % len(CHUNKS)]
            stream.push(**{name: values[start:end]}, valid={name: masks[name][start:end]})
            start = end
    ways["stream"] = stream.predict()
    return {way: np.asarray(prediction.outputs) for way, prediction in ways.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
