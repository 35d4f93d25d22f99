"""The README inside a bundle: the two commands that the device needs, and what is inside."""

from __future__ import annotations

from edge_msa_runtime.bundle.manifest import Manifest

# TensorRT comes with JetPack, never from pip.
_EXTRAS = ("onnxruntime", "openvino")


def bundle_readme(manifest: Manifest, wheel: str) -> str:
    """The text; the same manifest gives the same text."""
    first = manifest.backends[0]
    extras = [*([first] if first in _EXTRAS else []), *(["text"] if manifest.language else [])]
    extra = f"[{','.join(extras)}]" if extras else ""
    system = "" if first in _EXTRAS else _tensorrt(manifest)
    precisions = "\n".join(f"| {backend} | {manifest.precision[backend]} |" for backend in manifest.backends)
    modalities = "\n".join(
        f"| {name} | {spec.dim} | {spec.chunk} | {spec.window} |" for name, spec in manifest.modalities.items()
    )
    return f"""# {manifest.name}, for {manifest.target}
In this folder, on the device:

```
python3 -m pip install './{wheel}{extra}'
edge-msa-run verify .
```
{system}
Then `edge-msa-run bench .` measures it there, and in Python:

```python
import edge_msa_runtime
session = edge_msa_runtime.load(".")
{_call(manifest)}
```

| backend, best first | precision |
|---|---|
{precisions}

| modality | features a frame | frames a step | frames a window |
|---|---|---|---|
{modalities}

License: {manifest.license}
"""


def _tensorrt(manifest: Manifest) -> str:
    cuda = str(manifest.profile.get("cuda") or "")
    python = f"cuda-python<{int(cuda.partition('.')[0]) + 1}" if cuda else "cuda-python"
    return f"""A virtual environment needs `--system-site-packages`: TensorRT is JetPack's. Its buffers need
`python3 -m pip install '{python}'` beside it. `edge-msa-run build .` builds its plans ahead of time, which takes
minutes, once a device; without it each is built when it is first asked for.
"""


def _call(manifest: Manifest) -> str:
    if manifest.language:
        return 'prediction = session.predict(text="i love it")  # a text; and (T, d) float32 of the other modalities'
    first = next(iter(manifest.modalities))
    return f"prediction = session.predict({first}=frames)  # (T, d) float32; any subset of the modalities"
