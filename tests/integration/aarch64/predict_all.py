"""Predict with every precision of a bundle's ONNX Runtime graphs, for each subset and each kind of graph.

    python predict_all.py BUNDLE INPUTS.npz PREDICTIONS.npz

Needs only what a device has: NumPy, the backend, and the wheel of the bundle.

`INPUTS.npz` contains `<modality>` (T, d), longer than the window, `valid.<modality>` (T,), and `text` if the bundle
takes text. `PREDICTIONS.npz` gets `<precision>/<kind>/<subset>` (outputs,). The kinds are:

- `window`: the frames that fit into the window graph
- `long`: all frames, by step graphs
- `text`: the text instead of language frames
- `stream`: all frames in uneven chunks, with the mask
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


def main(bundle: str, inputs_path: str, predictions_path: str) -> None:
    """Predict for all subsets and write the predictions."""
    inputs = dict(np.load(inputs_path))
    predictions: dict[str, Any] = {}
    for precision in open_bundle(bundle).precisions(BACKEND):
        with load(bundle, BACKEND, precision=precision) as session:
            for subset in Subset:
                if set(subset.modalities) <= set(session.manifest.modalities):
                    for kind, outputs in _predict(session, subset, inputs).items():
                        predictions[f"{precision}/{kind}/{subset.value}"] = outputs
    np.savez(predictions_path, **predictions)


def _predict(session: Session, subset: Subset, inputs: Mapping[str, Any]) -> dict[str, Any]:
    specs = session.manifest.modalities
    frames = {name: inputs[name] for name in subset.modalities}
    masks = {name: inputs[f"valid.{name}"] for name in subset.modalities}
    short = {name: values[: specs[name].window] for name, values in frames.items()}
    predictions = {"window": session.predict(**short), "long": session.predict(**frames)}
    if "text" in inputs and "language" in frames:
        others = {name: values for name, values in short.items() if name != "language"}
        predictions["text"] = session.predict(text=str(inputs["text"]), **others)
    stream = session.create_stream()
    for name, values in frames.items():
        start = 0
        while start < len(values):
            end = start + CHUNKS[start % len(CHUNKS)]
            stream.push(name, values[start:end], valid=masks[name][start:end])
            start = end
    predictions["stream"] = stream.predict()
    return {kind: np.asarray(prediction.outputs) for kind, prediction in predictions.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
