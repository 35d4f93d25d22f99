from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edge_msa_export.bundle.readme import format_readme
from edge_msa_export.profiles import find_profile
from edge_msa_export.provenance import DataSource, Provenance, Validation, ValidationMetric
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import Manifest, TaskSpec, TextSpec
from edge_msa_runtime.classes import ClassCalibration, PredictionSets
from edge_msa_runtime.conversation import ContextHead
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.intervals import Intervals

WHEEL = "edge_msa_runtime-1.0-py3-none-any.whl"
LANGUAGE = TextSpec("language/tokenizer.json", "encoder", "", 20, 0.0)


@pytest.fixture(scope="module")
def laptop_manifest(laptop_candidate: Path) -> Manifest:
    return open_bundle(laptop_candidate).manifest


@pytest.fixture(scope="module")
def jetson_manifest(jetson_candidate: Path) -> Manifest:
    return open_bundle(jetson_candidate).manifest


def read_code(readme: str) -> str:
    return readme.partition("```python\n")[2].partition("```")[0]


def test_readme_installs_the_wheel_with_the_first_backend(laptop_manifest: Manifest) -> None:
    readme = format_readme(laptop_manifest, WHEEL)
    assert f"python3 -m pip install './{laptop_manifest.name}/{WHEEL}[openvino]'" in readme
    assert "python3 -m venv edge-msa-venv\n. edge-msa-venv/bin/activate\n" in readme
    assert f"edge-msa-run verify {laptop_manifest.name}\n" in readme
    assert "TensorRT" not in readme


def test_readme_installs_the_text_extra_for_a_text_model(laptop_manifest: Manifest) -> None:
    readme = format_readme(dataclasses.replace(laptop_manifest, language=LANGUAGE), WHEEL)
    assert f"./{laptop_manifest.name}/{WHEEL}[openvino,text]" in readme
    assert 'session.predict(text="i love it", audio=audio, vision=vision)' in readme
    assert 'stream.push_text("i love it")' in readme
    assert ' --text "i love it" --audio audio.npy --vision vision.npy' in readme
    assert "A text has at most 20 tokens." in readme
    assert "language = " not in read_code(readme)
    assert "np.save('audio.npy', np.zeros((17, 5)))" in readme


def test_readme_explains_the_context_of_a_text_encoder(laptop_manifest: Manifest) -> None:
    language = dataclasses.replace(LANGUAGE, context=2)
    readme = format_readme(dataclasses.replace(laptop_manifest, language=language, context=None), WHEEL)
    text = " ".join(readme.split())
    assert "The text encoder reads up to 2 of them. Pass their texts to `session.predict` as `context=[...]`" in text
    assert "call `stream.end_utterance()` after each utterance" in text


def test_readme_of_a_text_only_bundle_has_a_program_without_arrays(laptop_manifest: Manifest) -> None:
    only = {"language": laptop_manifest.modalities["language"]}
    code = read_code(format_readme(dataclasses.replace(laptop_manifest, modalities=only, language=LANGUAGE), WHEEL))
    compile(code, "README.md", "exec")
    assert "np" not in code


def test_readme_for_a_jetson_builds_plans_and_uses_its_tensorrt(jetson_manifest: Manifest) -> None:
    readme = format_readme(jetson_manifest, WHEEL)
    assert "python3 -m venv --system-site-packages edge-msa-venv" in readme
    assert f"python3 -m pip install './{jetson_manifest.name}/{WHEEL}'\n" in readme
    assert "python3 -m pip install 'cuda-python<13'" in readme
    assert f"edge-msa-run build {jetson_manifest.name}`" in readme


def test_readme_for_a_desktop_installs_tensorrt_with_pip(jetson_manifest: Manifest) -> None:
    profile = find_profile("desktop-nvidia")
    manifest = dataclasses.replace(jetson_manifest, target=profile.name, profile=profile.to_json())
    readme = format_readme(manifest, WHEEL)
    assert f"python3 -m pip install './{manifest.name}/{WHEEL}[tensorrt]' 'tensorrt>=10.3,<11'\n" in readme
    assert "--system-site-packages" not in readme
    assert "cuda-python" not in readme
    assert f"edge-msa-run build {jetson_manifest.name}`" in readme


def test_readme_explains_classes_and_their_sets(laptop_manifest: Manifest) -> None:
    sets = PredictionSets((0.9,), (), {"audio": 5.0}, 31, {})
    manifest = dataclasses.replace(
        laptop_manifest,
        task=TaskSpec("classes", 3, ("calm", "glad", "sad")),
        intervals=None,
        class_calibration=ClassCalibration(1.5, sets),
    )
    readme = " ".join(format_readme(manifest, WHEEL).split())
    assert "A multimodal classification model for laptop-x86" in readme
    assert "`prediction.label` is the most probable of the classes `calm`, `glad`, `sad`." in readme
    assert "has the classes that contain the label of 90 % of utterances like those of the 31 videos" in readme
    assert "print(prediction.probabilities, prediction.label" in readme


def test_readme_explains_the_conversation_memory_where_the_bundle_has_one(laptop_manifest: Manifest) -> None:
    assert "earlier utterances of the conversation" not in format_readme(laptop_manifest, WHEEL)
    manifest = dataclasses.replace(laptop_manifest, context=ContextHead(0.9, 2.0, {}, 229, 10))
    assert "earlier utterances of the conversation" in format_readme(manifest, WHEEL)


def test_readme_explains_intervals_where_the_bundle_has_them(laptop_manifest: Manifest) -> None:
    assert "prediction.interval" not in format_readme(laptop_manifest, WHEEL)
    manifest = dataclasses.replace(laptop_manifest, intervals=Intervals((0.9,), (), {}, 31, {}, {}))
    readme = " ".join(format_readme(manifest, WHEEL).split())
    assert "contains the label of 90 % of utterances like those of the 31 videos of the validation split" in readme
    assert ("labeled `uncertain`" in readme) == manifest.task.has_sign


def test_readme_lists_backends_and_modalities(laptop_manifest: Manifest) -> None:
    readme = format_readme(laptop_manifest, WHEEL)
    assert "1. OpenVINO (`openvino`) at fp32\n2. ONNX Runtime (`onnxruntime`) at fp32\n" in readme
    assert "| audio | 5 features per frame | " in readme
    assert "audio = np.zeros((17, 5), np.float32)" in readme
    assert 'stream.push("audio", audio[:5])' in readme
    assert "The accuracy was not measured." in readme


def test_readme_states_accuracy_beside_the_baselines_and_reasons(laptop_manifest: Manifest) -> None:
    metrics = (
        ValidationMetric("acc2", "Acc-2", percent=True, baselines={"median": 0.5, "best_constant": 0.6}),
        ValidationMetric("mae", "MAE", percent=False, baselines={"median": 1.25, "best_constant": 1.0}),
    )
    provenance = Provenance(
        data=DataSource("mosi", "0" * 64),
        precision_reasons={"openvino": "it is the fastest"},
        validation=Validation("lav", 20, metrics),
    )
    accuracy = {"openvino": {"fp32": {"measured_by": "onnxruntime", "by_subset": {"lav": {"acc2": 0.8, "mae": 0.7}}}}}
    manifest = dataclasses.replace(laptop_manifest, provenance=provenance.to_json(), accuracy=accuracy)
    readme = format_readme(manifest, WHEEL)
    assert (
        "| lav, 20 samples | Acc-2 | MAE |\n|---|---|---|\n"
        "| openvino at fp32 (measured with onnxruntime) | 80.0 % | 0.700 |\n"
        "| baseline: median | 50.0 % | 1.250 |\n| baseline: best constant | 60.0 % | 1.000 |\n"
    ) in readme
    assert "at fp32. Reason: it is the fastest\n" in readme
    assert "trained on `mosi`" in readme


def test_readme_names_a_subset_that_was_not_measured(laptop_manifest: Manifest) -> None:
    metrics = (ValidationMetric("mae", "MAE", percent=False, baselines={"median": 1.25}),)
    provenance = Provenance(data=DataSource("mosi", "0" * 64), validation=Validation("lav", 20, metrics))
    accuracy = {"openvino": {"fp32": {"measured_by": "openvino", "by_subset": {"la": {"mae": 0.7}}}}}
    manifest = dataclasses.replace(laptop_manifest, provenance=provenance.to_json(), accuracy=accuracy)
    readme = format_readme(manifest, WHEEL)
    assert "| openvino at fp32 | not measured |\n| baseline: median | 1.250 |\n" in readme


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (
            TaskSpec("mosi", 1, ("negative", "neutral", "positive"), (-0.5, 0.5), -3.0, 3.0),
            "its range: below -0.5 `negative`, -0.5 to 0.5 `neutral`, from 0.5 `positive`.",
        ),
        (TaskSpec("regression", 1), "`prediction.score` is a number. If a sensor"),
        (TaskSpec("emotions", 2, ("happy", "sad")), "independent of the others: happy, sad."),
    ],
)
def test_readme_explains_the_output(laptop_manifest: Manifest, task: TaskSpec, text: str) -> None:
    readme = format_readme(dataclasses.replace(laptop_manifest, task=task), WHEEL)
    assert text in " ".join(readme.split())
    assert ("prediction.probabilities, " in read_code(readme)) == (task.kind == "emotions")


def test_readme_says_what_the_features_are(laptop_manifest: Manifest) -> None:
    readme = format_readme(laptop_manifest, WHEEL)
    assert "- audio: COVAREP 1.4, 100 frames per second\n  - parameters: window_ms = 25, method = SRH\n" in readme
    assert f"  - SHA-256 of the model file: {'0f' * 32}\n  - a (Hz), b, c, d (dB), e\n- vision: not stated\n" in readme


def test_readme_says_that_a_demo_is_no_model_for_real_input(laptop_manifest: Manifest) -> None:
    source = FeatureSource("edge-msa synthetic data", "1")
    modalities = {name: dataclasses.replace(spec, features=source) for name, spec in laptop_manifest.modalities.items()}
    readme = format_readme(dataclasses.replace(laptop_manifest, modalities=modalities), WHEEL)
    demo = "This is a demo model, trained on synthetic data: it is useless on real input."
    assert readme.startswith(f"# {laptop_manifest.name}\n\n{demo}\n\n")
    assert readme.count(demo) == 2  # also in the limits
    assert "microphones" not in readme
    assert demo not in format_readme(laptop_manifest, WHEEL)


def test_readme_quotes_a_name_with_spaces(laptop_manifest: Manifest) -> None:
    readme = format_readme(dataclasses.replace(laptop_manifest, name="my bundle"), WHEEL)
    assert "edge-msa-run verify 'my bundle'\n" in readme
    assert 'load("my bundle")' in read_code(readme)
    assert f"'./my bundle/{WHEEL}[openvino]'" in readme


def test_readme_says_how_to_predict_from_a_video_where_the_runtime_computes_the_features(
    laptop_manifest: Manifest,
) -> None:
    assert "edge-msa-run watch" not in format_readme(laptop_manifest, WHEEL)
    sources = {"language": "words", "audio": "edge-msa audio", "vision": "edge-msa face"}
    modalities = {
        name: dataclasses.replace(spec, features=FeatureSource(sources[name]))
        for name, spec in laptop_manifest.modalities.items()
    }
    manifest = dataclasses.replace(laptop_manifest, modalities=modalities, language=LANGUAGE)
    readme = format_readme(manifest, WHEEL)
    assert f"{WHEEL}[audio,vision,asr]" in readme
    assert f"edge-msa-run watch talk.mp4 --bundle {manifest.name} --asr whisper:FOLDER --page timeline.html" in readme
    others = modalities | {"vision": dataclasses.replace(modalities["vision"], features=FeatureSource("openface"))}
    assert "edge-msa-run watch" not in format_readme(dataclasses.replace(manifest, modalities=others), WHEEL)
