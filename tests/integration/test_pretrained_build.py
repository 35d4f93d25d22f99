"""`pretrained/build.py` makes a package from transcripts, here from generated ones."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime import load, pretrained_bundle
from edge_msa_runtime.pretrained import PACKAGE, load_index
from edge_msa_runtime.verification import verify_bundle
from tests.locations import REPOSITORY

WORDS = {"love": 2.0, "great": 1.5, "nice": 1.0, "dull": -1.0, "bad": -1.5, "hate": -2.0}
FILLERS = ("the", "film", "was", "long", "and", "i", "saw", "it", "with", "my", "friends", "last", "week")
RECIPE = """
[text]
dim = 16
width = 16
hidden = 16
batch_size = 16
transfer = {epochs = 4, learning_rate = 1e-2}
final = {epochs = 3, learning_rate = 5e-3}
"""
SPLITS = {"train": 400, "valid": 80, "test": 60}


def write_transcripts(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "clip_id", "text", "label", "mode"])
        for split, count in SPLITS.items():
            for row in range(count):
                chosen = [str(word) for word in rng.choice(list(WORDS), size=2)]
                words = [*chosen, *rng.choice(FILLERS, size=6)]
                label = np.clip(sum(WORDS[word] for word in chosen) + rng.normal(0, 0.2), -3, 3)
                writer.writerow([f"{split}{row // 4}", row, " ".join(map(str, rng.permutation(words))), label, split])


@pytest.fixture(scope="module")
def build() -> Callable[[list[str]], None]:
    """The function `main` of the script."""
    spec = importlib.util.spec_from_file_location("pretrained_build", REPOSITORY / "pretrained" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # dataclasses look for their module there
    spec.loader.exec_module(script)
    main: Callable[[list[str]], None] = script.main
    return main


@pytest.mark.slow
def test_the_package_can_be_built_and_a_table_exported_again(
    build: Callable[[list[str]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("mosei.csv", "mosi.csv")):
        write_transcripts(tmp_path / name, seed)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    package = tmp_path / "site" / PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    files = ["--mosei", "mosei.csv", "--mosi", "mosi.csv", "--work-dir", "work", "--package", str(package)]
    recipes = ["--teacher-recipe", "recipe.toml", "--recipe", "recipe.toml"]
    build([*files, "--encoder", "wordpieces", *recipes])
    monkeypatch.syspath_prepend(str(package.parent))
    first = load_index()["text-nano"]
    with load(pretrained_bundle("text-nano"), "onnxruntime") as session:
        assert session.precision == "int8"
        verify_bundle(session).raise_if_failed()
        liked, hated = (session.predict(text=f"i {word} it").score for word in ("love", "hate"))
    assert liked is not None
    assert hated is not None
    assert hated < 0 < liked
    assert str(tmp_path) not in (package / "text-nano/manifest.json").read_text()
    build([*files, "--teacher", "work/teacher", "--table", "work/table"])
    again = load_index()["text-nano"]
    assert again.card["tested"] == first.card["tested"]
    (tmp_path / "reviews.csv").write_text("text\na great film\na dull and unnecessary remake\n")
    build([*files, "--teacher", "work/teacher", *recipes[2:], "--reviews", "reviews.csv"])
    assert "Movie reviews" in load_index()["text-nano"].card["data"][-1]
    assert (tmp_path / "work/pruned/run.json").is_file()
