from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.segment_store import ResultStore, StoredRequest
from edge_msa.data.extraction.segment_job import SegmentResult
from edge_msa.data.extraction.settings import Recipe, Settings, digest_file
from edge_msa_runtime.features import FeatureSource

RESULT = SegmentResult(
    {"audio": np.ones((3, 2), np.float32)},
    {"audio": np.array([True, False, True])},
    "hello",
    1.5,
    ("no face",),
    ("a note",),
)


def test_results_are_kept_beside_the_output(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "clips.npz")
    assert store.load("key") is None
    store.save("key", RESULT.to_bytes())
    assert [path.name for path in tmp_path.iterdir()] == [".clips.npz.segments"]
    loaded = ResultStore(tmp_path / "clips.npz").load("key")
    assert loaded is not None
    assert loaded.to_bytes() == RESULT.to_bytes()
    assert (loaded.text, loaded.seconds, loaded.facts, loaded.notes) == ("hello", 1.5, ("no face",), ("a note",))


def test_damaged_results_are_not_used(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "clips.npz")
    for content in (b"", b"garbage", RESULT.to_bytes()[:-40], RESULT.to_bytes()[:100]):
        store.save("key", content)
        assert store.load("key") is None


def test_other_results_are_removed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "clips.npz")
    store.prune({"one"})
    for key in ("one", "two"):
        store.save(key, RESULT.to_bytes())
    (store.folder / ".two.npz.1234.partial").touch()
    store.save_request(StoredRequest(Request("x", {}, 0, {}), "digest", "state"))
    store.prune({"one"})
    assert sorted(path.name for path in store.folder.iterdir()) == ["one.npz", "request.json"]


def test_the_request_is_kept(tmp_path: Path) -> None:
    archive = tmp_path / "clips.npz"
    archive.write_bytes(b"content")
    store, request = ResultStore(archive), Request("features extract", {"rate": 15}, 0, {"labels": "abc"})
    assert store.request() is None
    store.save_request(StoredRequest(request, digest_file(archive), "state"))
    stored = store.request()
    assert stored is not None
    assert stored.is_current(request, "state", archive)
    assert not stored.is_current(request, "other", archive)
    assert not stored.is_current(Request("features extract", {"rate": 5}, 0, {"labels": "abc"}), "state", archive)
    archive.write_bytes(b"other")
    assert not stored.is_current(request, "state", archive)
    (store.folder / "request.json").write_text("{}")
    assert store.request() is None


def test_the_key_depends_on_everything_that_matters() -> None:
    settings = Settings(("audio", "vision"), "/models/face.task", recognizer="whisper:x", versions=(("av", "1"),))
    features = {"audio": FeatureSource("a", "1"), "vision": FeatureSource("v", "1")}
    recipe = Recipe(settings, features, "digest")
    key = recipe.key("content", 0.0, None, recognize=True)
    others = [
        recipe.key("other", 0.0, None, recognize=True),
        recipe.key("content", 1.0, None, recognize=True),
        recipe.key("content", 0.0, 2.0, recognize=True),
        recipe.key("content", 0.0, None, recognize=False),
        Recipe(settings, {**features, "audio": FeatureSource("a", "2")}, "digest").key(
            "content", 0.0, None, recognize=True
        ),
        Recipe(settings, features, "other").key("content", 0.0, None, recognize=True),
        Recipe(Settings(("audio", "vision")), features, "digest").key("content", 0.0, None, recognize=True),
    ]
    assert len({key, *others}) == 8
    moved = Settings(("audio", "vision"), "/elsewhere.task", recognizer="whisper:x", versions=(("av", "1"),))
    assert Recipe(moved, features, "digest").key("content", 0.0, None, recognize=True) == key
    without = [
        Recipe(item, features).key("content", 0.0, None, recognize=False)
        for item in (Settings(("audio",)), Settings(("audio",), recognizer="whisper:x"))
    ]
    assert without[0] == without[1]
