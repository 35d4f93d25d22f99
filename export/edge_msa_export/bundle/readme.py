"""The README inside a bundle, a quick start: install, predict, stream, measure, and what the model was made for."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from edge_msa_export.provenance import Provenance
from edge_msa_runtime.backend_info import BACKEND_INFO, PIP_BACKENDS, tensorrt_requirement
from edge_msa_runtime.bundle.manifest import Manifest, ModalitySpec, TaskSpec

_TEXT = "i love it"
_TENSORRT_NOTES = """
On its first use, each graph is built into a TensorRT plan for this device. To build all plans in advance, which takes
minutes, run `edge-msa-run build .`
"""


def format_readme(manifest: Manifest, wheel: str) -> str:
    """Return the README for a manifest and the file name of the runtime wheel."""
    provenance = Provenance.from_json(manifest.provenance)
    predicts = "emotion" if manifest.task.kind == "emotions" else "sentiment"
    description = manifest.profile.get("description")
    device = f"{manifest.target} ({description})" if description else manifest.target
    introduction = (
        f"A multimodal {predicts} model for {device}. This folder contains the model and the runtime that executes it. "
        "The device needs Python 3.8 or later, NumPy and one backend. It does not need torch."
    )
    usage = (
        "Any subset of the modalities works: leave out those that you do not have. The arrays above are zeros: replace "
        f"them with your features. {_describe_output(manifest.task)}"
    )
    files = "The first line writes zeros as an example: replace these files with your features.\n"
    files = files if _frame_modalities(manifest) else ""
    return f"""# {manifest.name}

{_wrap(introduction)}

## Install

Run these commands in this folder, on the device:

```
{_format_installation(manifest, wheel)}
edge-msa-run verify .
```

`verify` checks the hash of every file, and compares the predictions on this device with those of the original model,
which are stored in this folder. It finds damage, not forgery: the bundle is not signed. Use bundles of people you
trust. If something fails, `edge-msa-run doctor .` examines the device and suggests fixes.
{_TENSORRT_NOTES if "tensorrt" in manifest.backends else ""}
## Predict in Python

```python
{_format_code(manifest)}
```

{_wrap(usage)}

## Predict on the command line

```
{_format_commands(manifest)}
```

{files}`edge-msa-run predict . --data FILE --output OUT.csv` predicts many samples: a `.npz` archive, a `.csv` of texts,
or a folder of `.npy` files. `edge-msa-run info .` lists what this folder contains.

## Measure

```
edge-msa-run bench .
edge-msa-run bench . --all
```

The first command measures latency, load time, size and memory on this device, as the model runs by default. The second
one compares all installed backends and precisions.

## Features

{_format_features(manifest)}

## Backends and accuracy

The runtime uses the first of these backends that is available:

{_format_backends(manifest, provenance)}

{_format_accuracy(manifest, provenance)}

## Limits

{_format_limits(manifest, provenance)}

## License

{manifest.license}
"""


def _format_installation(manifest: Manifest, wheel: str) -> str:
    """Return the commands that install the runtime and the Python packages of the first backend."""
    first = manifest.backends[0]
    tensorrt = tensorrt_requirement(manifest.profile) if first == "tensorrt" else None
    from_system = first == "tensorrt" and tensorrt is None
    extras = [first] if first in PIP_BACKENDS or tensorrt else []
    extras += ["text"] if manifest.language else []
    requirements = [f"./{wheel}[{','.join(extras)}]" if extras else f"./{wheel}", *([tensorrt] if tensorrt else [])]
    commands = [
        # The Python package of TensorRT is part of JetPack.
        f"python3 -m venv {'--system-site-packages ' if from_system else ''}../edge-msa-venv",
        ". ../edge-msa-venv/bin/activate",
        "python3 -m pip install " + " ".join(f"'{requirement}'" for requirement in requirements),
    ]
    if from_system:
        major = str(manifest.profile.get("cuda") or "").partition(".")[0]
        limit = f"<{int(major) + 1}" if major else ""
        commands.append(f"python3 -m pip install 'cuda-python{limit}'")
    return "\n".join(commands)


def _frame_modalities(manifest: Manifest) -> dict[str, ModalitySpec]:
    """Return the modalities that users pass as frames."""
    return {name: spec for name, spec in manifest.modalities.items() if name != "language" or manifest.language is None}


def _format_code(manifest: Manifest) -> str:
    """Return a complete program that predicts one utterance, whole and as a stream."""
    frames = _frame_modalities(manifest)
    arrays = [
        f"{name} = np.zeros(({spec.window}, {spec.dim}), np.float32)  # {spec.window} frames with {spec.dim} features"
        for name, spec in frames.items()
    ]
    arguments = [f'text="{_TEXT}"'] if manifest.language else []
    arguments += [f"{name}={name}" for name in frames]
    pushes = [f"    stream.push({name}={name}[:{spec.chunk}])" for name, spec in frames.items()]
    if manifest.language:
        pushes.append(f'    stream.push(text="{_TEXT}")')
    result = "probabilities" if manifest.task.kind == "emotions" else "score"
    return "\n".join(
        [
            *(["import numpy as np"] if frames else []),
            "from edge_msa_runtime import load",
            "",
            *([*arrays, ""] if arrays else []),
            'with load(".") as session:  # the path of this folder',
            f"    prediction = session.predict({', '.join(arguments)})",
            f"    print(prediction.{result}, prediction.label, prediction.subset, prediction.latency_ms)",
            "",
            "    stream = session.create_stream()  # for frames and words as they arrive",
            *pushes,
            f"    print(stream.predict().{result})",
            "    stream.reset()  # before the next utterance: a stream does not forget by itself",
        ]
    )


def _format_commands(manifest: Manifest) -> str:
    frames = _frame_modalities(manifest)
    options = [f'--text "{_TEXT}"'] if manifest.language else []
    options += [f"--{name} ../{name}.npy" for name in frames]
    saves = "".join(
        f"; np.save('../{name}.npy', np.zeros(({spec.window}, {spec.dim})))" for name, spec in frames.items()
    )
    return "\n".join(
        [
            *([f'python3 -c "import numpy as np{saves}"'] if saves else []),
            f"edge-msa-run predict . {' '.join(options)}",
            "edge-msa-run info .",
        ]
    )


def _describe_output(task: TaskSpec) -> str:
    """Return what the fields of a prediction mean."""
    if task.kind == "emotions":
        return (
            "`prediction.probabilities` has the probability of each emotion, independent of the others: "
            f"{', '.join(task.labels)}. `prediction.label` is the most probable one."
        )
    scale = ""
    if task.low is not None and task.high is not None:
        scale = f" from {task.low:g} (most negative) to {task.high:g} (most positive)"
    text = f"`prediction.score` is the sentiment{scale}." if scale else "`prediction.score` is a number."
    if not task.labels:
        return text
    upper = [f"`{label}` from {edge:g}" for label, edge in zip(task.labels[1:], task.edges, strict=True)]
    ranges = [f"`{task.labels[0]}`", *upper]
    return f"{text} `prediction.label` is its range: {', '.join(ranges)}."


def _format_sources(manifest: Manifest) -> str:
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


def _format_features(manifest: Manifest) -> str:
    rows = [
        "| modality | input | frames per streaming step | frames per window |",
        "|---|---|---|---|",
    ]
    for name, spec in manifest.modalities.items():
        text = name == "language" and manifest.language is not None
        what = "text (or frames of its text encoder)" if text else f"{spec.dim} features per frame"
        rows.append(f"| {name} | {what} | {spec.chunk} | {spec.window} |")
    table = "\n".join(rows)
    return f"""{table}

Frames are float32 arrays of shape (frames, features). An utterance may have any number of them. Do not normalize them:
the model does. Values outside the range of the training data are clipped. If they are far outside,
`prediction.warnings` says so.

Compute the features as for training. Others with the same shape give wrong predictions without an error. They were
computed with:

{_format_sources(manifest)}"""


def _format_backends(manifest: Manifest, provenance: Provenance) -> str:
    """Return the backends in order of preference, each with its precision and the reason for it."""
    reasons = provenance.precision_reasons
    lines = []
    for number, backend in enumerate(manifest.backends, 1):
        precision = manifest.describe_precision(backend, manifest.precision[backend])
        reason = f". Reason: {reasons[backend]}" if backend in reasons else ""
        lines.append(_wrap(f"{number}. {BACKEND_INFO[backend].title} (`{backend}`) at {precision}{reason}", "   "))
    return "\n".join(lines)


def _format_accuracy(manifest: Manifest, provenance: Provenance) -> str:
    """Return a table of the accuracy of each backend beside the baselines."""
    validation = provenance.validation
    if validation is None:
        return "The accuracy was not measured."
    metrics = validation.metrics
    rows = [
        f"| {validation.subset}, {validation.samples} samples | {' | '.join(metric.title for metric in metrics)} |",
        f"|---|{'---|' * len(metrics)}",
    ]
    for backend in manifest.backends:
        precision = manifest.precision[backend]
        measured = manifest.accuracy.get(backend, {}).get(precision)
        if measured:
            found = measured["by_subset"].get(validation.subset, {})
            values = [metric.format(found[metric.key]) if metric.key in found else "not measured" for metric in metrics]
            by = measured["measured_by"]
            source = "" if by == backend else f" (measured with {by})"
            rows.append(f"| {backend} at {precision}{source} | {' | '.join(values)} |")
    for name in metrics[0].baselines:
        values = [metric.format(metric.baselines[name]) for metric in metrics]
        rows.append(f"| baseline: {name.replace('_', ' ')} | {' | '.join(values)} |")
    table = "\n".join(rows)
    return f"""{table}

The accuracy is that of the validation split, from which the precision was chosen. It is no result on unseen test data.
`manifest.json` has all metrics of all subsets and precisions."""


def _format_limits(manifest: Manifest, provenance: Provenance) -> str:
    return "\n".join(_wrap(f"- {line}", "  ") for line in _list_limits(manifest, provenance))


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _list_limits(manifest: Manifest, provenance: Provenance) -> Iterator[str]:
    data = f"`{provenance.data.name}`" if provenance.data else "the training data"
    yield (
        f"The model was trained on {data}. Its accuracy for other speakers, languages, cameras and microphones is not "
        "known. Measure it on your own data."
    )
    yield (
        "A prediction is an estimate of how people would rate one utterance. Do not use it as the only basis of a "
        "decision about a person."
    )
    yield "A stream uses every frame since it was created or reset. Call `reset()` between utterances."
    if manifest.language is not None:
        yield (
            f"A text has at most {manifest.language.max_tokens} tokens. The end of a longer one is not used, and "
            "`prediction.warnings` says so."
        )
