"""The README inside a bundle, a quick start: install, predict, stream, measure, and what the model was made for."""

from __future__ import annotations

import itertools
import json
import shlex
import textwrap
from collections.abc import Iterator

from edge_msa_export.provenance import Provenance
from edge_msa_runtime.audio.front_end import SOURCE
from edge_msa_runtime.backend_info import BACKEND_INFO, PIP_BACKENDS, tensorrt_requirement
from edge_msa_runtime.bundle.manifest import Manifest, ModalitySpec, TaskSpec
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.vision.front_end import EXTRACTOR

_TEXT = "i love it"
_DEMO = "This is a demo model, trained on synthetic data: it is useless on real input."
_SYNTHETIC = "edge-msa synthetic data"
"""What computed the features of synthetic data."""
_FRONT_ENDS = {SOURCE.extractor: "audio", EXTRACTOR: "vision"}
"""Extras of the runtime that compute features themselves, by extractor."""
_METRICS = {
    "Acc-2 Non0": "Acc-2 Non0 is the share of the samples with the right sign, without samples labeled 0.",
    "MAE": "MAE is the mean absolute error of the score; lower is better.",
}
"""Explanations by printed name."""


def format_readme(manifest: Manifest, wheel: str) -> str:
    """Return the README for a manifest and the file name of the runtime wheel."""
    provenance = Provenance.from_json(manifest.provenance)
    predicts = {"emotions": "emotion", "classes": "classification"}.get(manifest.task.kind, "sentiment")
    description = manifest.profile.get("description")
    device = f"{manifest.target} ({description})" if description else manifest.target
    introduction = (
        f"A multimodal {predicts} model for {device}. This folder contains the model and the runtime that executes it. "
        "The device needs Python 3.8 or later, NumPy and one backend. It does not need torch."
    )
    usage = (
        "Any subset of the modalities works: leave out those that you do not have. The arrays above are zeros: replace "
        f"them with your features. {_describe_output(manifest.task)}{_describe_intervals(manifest)}"
        f"{_describe_context(manifest)} If a sensor drops out, call "
        f'`stream.forget("{list(manifest.modalities)[-1]}")`, or create the stream with `max_age=2.0`, '
        "which forgets a modality 2 s after its last frame. `session.prepare()` loads the graphs of all subsets. "
        "`help(edge_msa_runtime)` describes the API."
    )
    files = "The first line writes zeros as an example: replace these files with your features.\n"
    files = files if _frame_modalities(manifest) else ""
    folder = shlex.quote(manifest.name)
    build = (
        "\nOn its first use, each graph is built into a TensorRT plan for this device. To build all plans in advance, "
        f"which takes\nminutes, run `edge-msa-run build {folder}`\n"
    )
    demo = f"{_DEMO}\n\n" if _is_demo(manifest) else ""
    archive = ", a `.npz` of\n`edge-msa data convert`, or a `.csv` of texts"
    if not manifest.language:
        archive = ", or a `.npz` of\n`edge-msa data convert`"
    return f"""# {manifest.name}

{demo}{_wrap(introduction)}

## Install

Run the commands and programs of this page on the device, in the folder that contains `{manifest.name}`. Keep your own
code and files outside of `{manifest.name}`: the runtime refuses a bundle with additional code. If you have renamed the
folder, use its new name.

```
{_format_installation(manifest, wheel)}
edge-msa-run verify {folder}
```

`verify` checks the hash of every file, and compares the predictions on this device with those of the original model,
which are stored in this folder. It finds damaged files. It cannot tell who made the bundle, because bundles are not
signed. Use bundles of people you trust. If something fails, `edge-msa-run doctor {folder}` examines the device and
suggests fixes.
{build if "tensorrt" in manifest.backends else ""}
## Predict in Python

```python
{_format_code(manifest)}
```

{_wrap(usage)}

## Predict on the command line

```
{_format_commands(manifest)}
```

{files}
To predict many samples, run `edge-msa-run predict {folder} --data samples --output predictions.csv`. `samples` is
a folder with `ID/audio.npy`, `ID/vision.npy` and so on for each utterance (or `ID.audio.npy`, or `ID.npz`){archive}.
A `.npz` of stacked arrays (samples, frames, features) is not accepted.
{_format_media(manifest, wheel)}
## Measure

```
edge-msa-run bench {folder}
edge-msa-run bench {folder} --all
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
    folder, extras = manifest.name, [first] if first in PIP_BACKENDS or tensorrt else []
    extras += ["text"] if manifest.language else []
    requirements = [
        f"./{folder}/{wheel}[{','.join(extras)}]" if extras else f"./{folder}/{wheel}",
        *([tensorrt] if tensorrt else []),
    ]
    commands = [
        # The Python package of TensorRT is part of JetPack.
        f"python3 -m venv {'--system-site-packages ' if from_system else ''}edge-msa-venv",
        ". edge-msa-venv/bin/activate",
        "python3 -m pip install " + " ".join(map(_quote, requirements)),
    ]
    if from_system:
        major = str(manifest.profile.get("cuda") or "").partition(".")[0]
        limit = f"<{int(major) + 1}" if major else ""
        commands.append(f"python3 -m pip install 'cuda-python{limit}'")
    return "\n".join(commands)


def _format_media(manifest: Manifest, wheel: str) -> str:
    """Return the section on videos and devices; empty if the features come from other programs."""
    frames = _frame_modalities(manifest)
    extras = [
        _FRONT_ENDS[spec.features.extractor] for spec in frames.values() if spec.features.extractor in _FRONT_ENDS
    ]
    if not extras or len(extras) < len(frames):
        return ""
    extras += ["asr"] if manifest.language else []
    folder = shlex.quote(manifest.name)
    asr = " --asr whisper:FOLDER" if manifest.language else ""
    models = ["Vision needs the face model: if it is missing, the commands print the line that downloads it."]
    models = models if "vision" in extras else []
    models += ["`FOLDER` holds a Whisper model for faster-whisper."] if manifest.language else []
    return f"""
## Predict from a video, a camera and a microphone

```
python3 -m pip install {_quote(f"./{manifest.name}/{wheel}[{','.join(extras)}]")}
```

```sh
edge-msa-run watch talk.mp4 --bundle {folder}{asr} --page timeline.html
edge-msa-run live --bundle {folder}{asr}
```

{_wrap(" ".join(["The runtime computes the features of this bundle itself.", *models]))}
"""


def _quote(requirement: str) -> str:
    """Quote a requirement for a shell, also where that is not necessary, as brackets usually need it."""
    quoted = shlex.quote(requirement)
    return quoted if quoted != requirement else f"'{requirement}'"


def _is_demo(manifest: Manifest) -> bool:
    return any(spec.features.extractor == _SYNTHETIC for spec in manifest.modalities.values())


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
    pushes = [f'    stream.push("{name}", {name}[:{spec.chunk}])' for name, spec in frames.items()]
    if manifest.language:
        pushes.append(f'    stream.push_text("{_TEXT}")')
    result = "score" if manifest.task.is_score else "probabilities"
    return "\n".join(
        [
            *(["import numpy as np"] if frames else []),
            "from edge_msa_runtime import load",
            "",
            *([*arrays, ""] if arrays else []),
            f"with load({_double_quoted(manifest.name)}) as session:  # the path of the bundle's folder",
            f'    session.prepare("{Subset.of(manifest.modalities).value}")  # load the graphs of these modalities',
            f"    prediction = session.predict({', '.join(arguments)})",
            f"    print(prediction.{result}, prediction.label, prediction.subset, prediction.latency_ms)",
            "",
            "    stream = session.create_stream()  # for frames and words as they arrive",
            *pushes,
            f"    print(stream.predict().{result})",
            "    stream.end_utterance()  # the next one starts: a stream does not forget by itself",
        ]
    )


def _double_quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _format_commands(manifest: Manifest) -> str:
    frames = _frame_modalities(manifest)
    options = [f'--text "{_TEXT}"'] if manifest.language else []
    options += [f"--{name} {name}.npy" for name in frames]
    saves = "".join(f"; np.save('{name}.npy', np.zeros(({spec.window}, {spec.dim})))" for name, spec in frames.items())
    return "\n".join(
        [
            *([f'python3 -c "import numpy as np{saves}"'] if saves else []),
            f"edge-msa-run predict {shlex.quote(manifest.name)} {' '.join(options)}",
            f"edge-msa-run info {shlex.quote(manifest.name)}",
        ]
    )


def _describe_output(task: TaskSpec) -> str:
    """Return what the fields of a prediction mean."""
    if task.kind == "emotions":
        return (
            "`prediction.probabilities` has the probability of each emotion, independent of the others: "
            f"{', '.join(task.labels)}. `prediction.label` is the most probable one."
        )
    if task.kind == "classes":
        labels = ", ".join(f"`{label}`" for label in task.labels)
        return (
            f"`prediction.label` is the most probable of the classes {labels}. `prediction.probabilities` has the "
            "probability of each one; their sum is 1."
        )
    scale = ""
    if task.low is not None and task.high is not None:
        scale = f" from {task.low:g} (most negative) to {task.high:g} (most positive)"
    text = f"`prediction.score` is the sentiment{scale}." if scale else "`prediction.score` is a number."
    if not task.labels:
        return text
    bounds = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(task.edges)]
    ranges = [f"below {task.edges[0]:g}", *bounds, f"from {task.edges[-1]:g}"]
    named = [f"{bound} `{label}`" for bound, label in zip(ranges, task.labels, strict=True)]
    label = task.labels[len(task.labels) // 2]
    return (
        f"{text} `prediction.label` is its range: {', '.join(named)}. The first printed line has the score, the label, "
        "the modalities (l: language, a: audio, v: vision) and the latency in milliseconds, such as "
        f"`0.05 {label} la 0.07`."
    )


def _describe_intervals(manifest: Manifest) -> str:
    """Return what the interval or set of a prediction means, with a space before; empty if the bundle has none."""
    sets = None if manifest.class_calibration is None else manifest.class_calibration.sets
    if sets is not None:
        return (
            " `prediction.prediction_set` has the classes that contain the label of 90 % of utterances like those of "
            f"the {sets.videos} videos of the validation split, also if modalities or frames are missing. Pass "
            "`load(..., coverage=0.8)` for another share. With `load(..., abstain=True)`, a prediction whose set has "
            "several classes is labeled `uncertain`."
        )
    if manifest.intervals is None:
        return ""
    count = manifest.intervals.videos
    text = (
        f" `prediction.interval` contains the label of 90 % of utterances like those of the {count} videos of the "
        "validation split, also if modalities or frames are missing. Pass `load(..., coverage=0.8)` for another share."
    )
    if manifest.task.has_sign:
        text += " With `load(..., abstain=True)`, a prediction whose interval has both signs is labeled `uncertain`."
    return text


def _describe_context(manifest: Manifest) -> str:
    """Return what earlier utterances do, with a space before; empty if they do nothing."""
    read = 0 if manifest.language is None else manifest.language.context
    if manifest.context is None and not read:
        return ""
    text = (
        " In a stream, earlier utterances of the conversation affect a score: call `stream.end_utterance()` after each "
        "utterance, and `stream.reset()` when another conversation begins."
    )
    if read:
        text += (
            f" The text encoder reads up to {read} of them. Pass their texts to `session.predict` as `context=[...]`, "
            "the newest last."
        )
    return text


def _format_sources(manifest: Manifest) -> str:
    """Return what computed the features of each modality, and their names and units."""
    lines = []
    for name, spec in manifest.modalities.items():
        source = spec.features
        rate = "" if source.rate_hz is None else f", {source.rate_hz:g} frames per second"
        computed = f"{source.title}{rate}" if source.extractor else f"not stated{rate}"
        lines.append(f"- {name}: {computed}")
        if source.parameters:
            settings = (f"{parameter} = {value}" for parameter, value in source.parameters.items())
            lines.append(f"  - parameters: {', '.join(settings)}")
        if source.model_sha256:
            lines.append(f"  - SHA-256 of the model file: {source.model_sha256}")
        units = source.units or ("",) * len(source.names)
        named = [f"{feature} ({unit})" if unit else feature for feature, unit in zip(source.names, units, strict=True)]
        if named:
            lines.append(f"  - {', '.join(named)}")
    return "\n".join(lines)


def _format_features(manifest: Manifest) -> str:
    rows = [
        "| modality | input | frames per step | frames per window |",
        "|---|---|---|---|",
    ]
    for name, spec in manifest.modalities.items():
        text = name == "language" and manifest.language is not None
        what = "text (or frames of its text encoder)" if text else f"{spec.dim} features per frame"
        rows.append(f"| {name} | {what} | {spec.chunk} | {spec.window} |")
    table = "\n".join(rows)
    return f"""{table}

Frames are float32 arrays of shape (frames, features). An utterance may have any number of them, and a stream accepts
chunks of any size. The last two columns only affect speed: they are the frames that are computed at once, in a stream
and in a whole utterance. Do not normalize frames: the model does. Values outside the range of the training data are
clipped. If they are far outside, `prediction.warnings` says so.

Compute the features exactly as for training. With features of another tool, or in another order or unit, there is no
error, but the predictions are wrong. The features of the training data were computed with:

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
    notes = [_METRICS[metric.title] for metric in metrics if metric.title in _METRICS]
    explanation = " ".join([f"`{validation.subset}` are the modalities (l: language, a: audio, v: vision).", *notes])
    return f"""{table}

{_wrap(explanation)}

The accuracy is that of the validation split, from which the precision was chosen. It is no result on unseen test data.
`manifest.json` has all metrics of all subsets and precisions."""


def _format_limits(manifest: Manifest, provenance: Provenance) -> str:
    return "\n".join(_wrap(f"- {line}", "  ") for line in _list_limits(manifest, provenance))


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _list_limits(manifest: Manifest, provenance: Provenance) -> Iterator[str]:
    data = f"`{provenance.data.name}`" if provenance.data else "the training data"
    if _is_demo(manifest):
        yield _DEMO
    else:
        yield (
            f"The model was trained on {data}. Its accuracy for other speakers, languages, cameras and microphones is "
            "not known. Measure it on your own data."
        )
    yield (
        "A prediction is an estimate of how people would rate one utterance. Do not use it as the only basis of a "
        "decision about a person."
    )
    yield "A stream uses every frame of an utterance. Call `end_utterance()` between utterances."
    if manifest.language is not None:
        yield (
            f"A text has at most {manifest.language.max_tokens} tokens. The end of a longer one is not used, and "
            "`prediction.warnings` says so."
        )
