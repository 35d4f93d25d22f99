"""The README inside a bundle: how to install, check and use it on the device."""

from __future__ import annotations

from edge_msa_runtime.backend_info import PIP_BACKENDS
from edge_msa_runtime.bundle.manifest import Manifest

_TENSORRT_NOTES = """
The Python package of TensorRT is part of JetPack, so create virtual environments with `--system-site-packages`. On its
first use each graph is built into a TensorRT plan for this device. To build all plans in advance, which takes minutes,
run `edge-msa-run build .`
"""


def format_readme(manifest: Manifest, wheel: str) -> str:
    """Return the README for a manifest and the file name of the runtime wheel."""
    backends = "\n".join(
        f"| {backend} | {manifest.describe_precision(backend, manifest.precision[backend])} |"
        for backend in manifest.backends
    )
    modalities = "\n".join(
        f"| {name} | {spec.dim} | {spec.chunk} | {spec.window} |" for name, spec in manifest.modalities.items()
    )
    predicts = "emotion" if manifest.task.kind == "emotions" else "sentiment"
    return f"""# {manifest.name}

A multimodal {predicts} model for {manifest.target}. This folder contains the model and the runtime that executes it on
the device. It does not need torch.

## Install

Run these commands in this folder, on the device:

```
{_format_installation(manifest, wheel)}
edge-msa-run verify .
```

`verify` checks the hash of every file, and compares the predictions on this device with those of the original model,
which are stored in this folder. It finds damage, not forgery: the bundle is not signed. Use bundles of people you
trust.
{_TENSORRT_NOTES if "tensorrt" in manifest.backends else ""}
## Use

```python
import edge_msa_runtime

with edge_msa_runtime.load(".") as session:
    {_format_call(manifest)}
    print(prediction)
```

Any subset of the modalities works: leave out those that you do not have. To measure latency, memory and load time on
this device, run `edge-msa-run bench .`

## Contents

The runtime uses the first of these backends that is available:

| backend | precision |
|---|---|
{backends}

Frames are float32 arrays of shape (frames, features), not normalized:

| modality | features per frame | frames per streaming step | frames per window |
|---|---|---|---|
{modalities}

## Features

Compute the features as for training. Others with the same shape give wrong predictions without an error.

{_format_features(manifest)}

## License

{manifest.license}
"""


def _format_installation(manifest: Manifest, wheel: str) -> str:
    """Return the pip commands for the runtime and the Python packages of the first backend."""
    first = manifest.backends[0]
    extras = [*([first] if first in PIP_BACKENDS else []), *(["text"] if manifest.language else [])]
    requirement = f"./{wheel}[{','.join(extras)}]" if extras else f"./{wheel}"
    commands = [f"python3 -m pip install '{requirement}'"]
    if first == "tensorrt":
        major = str(manifest.profile.get("cuda") or "").partition(".")[0]
        limit = f"<{int(major) + 1}" if major else ""
        commands.append(f"python3 -m pip install 'cuda-python{limit}'")
    return "\n".join(commands)


def _format_features(manifest: Manifest) -> str:
    """Return what computed the features of each modality, and their names and units."""
    lines = []
    for name, spec in manifest.modalities.items():
        source = spec.features
        rate = "" if source.rate_hz is None else f", {source.rate_hz:g} frames per second"
        computed = f"{source.title}{rate}" if source.extractor else f"not stated{rate}"
        lines.append(f"- {name}: {computed}")
        units = source.units or ("",) * len(source.names)
        named = [f"{feature} ({unit})" if unit else feature for feature, unit in zip(source.names, units, strict=True)]
        if named:
            lines.append(f"  - {', '.join(named)}")
    return "\n".join(lines)


def _format_call(manifest: Manifest) -> str:
    if manifest.language:
        return 'prediction = session.predict(text="i love it")  # and audio=frames, vision=frames'
    first = next(iter(manifest.modalities))
    return f"prediction = session.predict({first}=frames)"
