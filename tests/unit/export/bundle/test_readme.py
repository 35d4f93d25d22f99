from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edge_msa_export.bundle.readme import format_readme
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import Manifest, TextSpec

WHEEL = "edge_msa_runtime-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def laptop_manifest(laptop_candidate: Path) -> Manifest:
    return open_bundle(laptop_candidate).manifest


@pytest.fixture(scope="module")
def jetson_manifest(jetson_candidate: Path) -> Manifest:
    return open_bundle(jetson_candidate).manifest


def test_readme_installs_the_wheel_with_the_first_backend(laptop_manifest: Manifest) -> None:
    readme = format_readme(laptop_manifest, WHEEL)
    assert f"python3 -m pip install './{WHEEL}[openvino]'" in readme
    assert "edge-msa-run verify ." in readme
    assert "TensorRT" not in readme


def test_readme_installs_the_text_extra_for_a_text_model(laptop_manifest: Manifest) -> None:
    language = TextSpec("language/tokenizer.json", "encoder", "", 20, 0.0)
    readme = format_readme(dataclasses.replace(laptop_manifest, language=language), WHEEL)
    assert f"./{WHEEL}[openvino,text]" in readme
    assert '"i love it"' in readme


def test_readme_for_tensorrt_builds_plans_and_installs_cuda_python(jetson_manifest: Manifest) -> None:
    readme = format_readme(jetson_manifest, WHEEL)
    assert f"python3 -m pip install './{WHEEL}'" in readme
    assert "python3 -m pip install 'cuda-python<13'" in readme
    assert "edge-msa-run build ." in readme


def test_readme_lists_backends_and_modalities(laptop_manifest: Manifest) -> None:
    readme = format_readme(laptop_manifest, WHEEL)
    assert "| openvino | fp32 |\n| onnxruntime | fp32 |" in readme
    assert "| audio | 5 | 5 | 17 |" in readme


def test_readme_says_what_the_features_are(laptop_manifest: Manifest) -> None:
    readme = format_readme(laptop_manifest, WHEEL)
    assert "- audio: COVAREP 1.4, 100 frames per second\n  - a (Hz), b, c, d (dB), e\n- vision: not stated\n" in readme
