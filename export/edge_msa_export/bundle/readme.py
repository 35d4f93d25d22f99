"""The README inside a bundle: how to install, check and use it on the device."""

from __future__ import annotations

from edge_msa_runtime.bundle.manifest import Manifest

# Backends that pip installs as an extra of the runtime. TensorRT comes with JetPack.
_PIP_BACKENDS = ("onnxruntime", "openvino")


def format_readme(manifest: Manifest, wheel: str) -> str:
    """Return the README for a manifest and the file name of the runtime wheel."""
    first = manifest.backends[0]
    extras = [*([first] if first in _PIP_BACKENDS else []), *(["text"] if manifest.language else [])]
    install = f"./{wheel}[{','.join(extras)}]" if extras else f"./{wheel}"
    backends = "\n".join(f"| {backend} | {manifest.precision[backend]} |" for backend in manifest.backends)
    modalities = "\n".join(
        f"| {name} | {spec.dim} | {spec.chunk} | {spec.window} |" for name, spec in manifest.modalities.items()
    )
    return f"""# {manifest.name}

A multimodal sentiment model for {manifest.target}. This folder contains everything that the device needs except the
backend itself; torch is not required.

## Install and check

Run these commands in this folder, on the device:

```
python3 -m pip install '{install}'
edge-msa-run verify .
```

`verify` checks the hash of every file and compares the predictions on this device with those of the original model.
{"" if first in _PIP_BACKENDS else _format_tensorrt_section(manifest)}
## Use

```python
import edge_msa_runtime

with edge_msa_runtime.load(".") as session:
    {_format_call(manifest)}
    print(prediction.score, prediction.label)
```

Any subset of the modalities works: leave out those that you do not have. To measure latency, memory and load time on
this device, run `edge-msa-run bench .`

## Contents

The runtime uses the first backend that is available:

| backend | precision |
|---|---|
{backends}

Frames are float32 arrays of shape (frames, features), not normalized:

| modality | features per frame | frames per streaming step | frames per window |
|---|---|---|---|
{modalities}

## License

{manifest.license}
"""


def _format_tensorrt_section(manifest: Manifest) -> str:
    cuda = str(manifest.profile.get("cuda") or "")
    requirement = f"cuda-python<{int(cuda.partition('.')[0]) + 1}" if cuda else "cuda-python"
    return f"""
## TensorRT

TensorRT is part of JetPack, so create virtual environments with `--system-site-packages`. It also needs CUDA's Python
package:

```
python3 -m pip install '{requirement}'
edge-msa-run build .
```

`build` builds the TensorRT plans once per device, which takes minutes. Without it, each plan is built when it is first
used.
"""


def _format_call(manifest: Manifest) -> str:
    if manifest.language:
        return 'prediction = session.predict(text="i love it")  # and audio=frames, vision=frames'
    first = next(iter(manifest.modalities))
    return f"prediction = session.predict({first}=frames)"
