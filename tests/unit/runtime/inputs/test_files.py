from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.files import load_inputs

FRAMES = np.arange(8, dtype=np.float32).reshape(2, 4)


def _save(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_an_archive_has_frames_and_masks(tmp_path: Path) -> None:
    archive = _save(tmp_path / "in.npz", language=FRAMES, **{"valid.language": np.array([True, False])})
    frames, valid = load_inputs(archive, {})
    np.testing.assert_array_equal(frames["language"], FRAMES)
    assert valid["language"].tolist() == [True, False]


def test_files_add_modalities_to_an_archive(tmp_path: Path) -> None:
    archive = _save(tmp_path / "in.npz", language=FRAMES)
    np.save(tmp_path / "audio.npy", FRAMES)
    frames, valid = load_inputs(archive, {"audio": str(tmp_path / "audio.npy")})
    assert (sorted(frames), valid) == (["audio", "language"], {})


def test_no_files_give_no_inputs() -> None:
    assert load_inputs(None, {}) == ({}, {})


def test_a_modality_in_two_files_is_refused(tmp_path: Path) -> None:
    archive = _save(tmp_path / "in.npz", audio=FRAMES)
    np.save(tmp_path / "audio.npy", FRAMES)
    with pytest.raises(UsageError, match=r"audio is in .*in\.npz and in .*audio\.npy. Pass it once"):
        load_inputs(archive, {"audio": str(tmp_path / "audio.npy")})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "must be a .npy or .npz file"),
        (b"\x89PNG\r\n\x1a\n", "must be a .npy or .npz file"),
        (b"", "must be a .npy or .npz file"),
        (b"PK\x03\x04", "is not an .npz archive, or is truncated. Create or copy it again"),
        (b"\x93NUMPY\x01", "Cannot read .*x.npy .* Create or copy it again"),
        (None, "Cannot read .*: No such file"),
    ],
)
def test_a_file_of_another_type_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_inputs(None, {"audio": str(path)})
    assert "\n" not in str(caught.value)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([None]))
    with pytest.raises(UsageError, match=r"Cannot read .*x\.npy \(it contains Python objects\)"):
        load_inputs(None, {"audio": str(tmp_path / "x.npy")})


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = Path(_save(tmp_path / "in.npz", audio=FRAMES))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UsageError, match="is truncated"):
        load_inputs(str(path), {})


def test_an_unknown_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Unknown array 'sound' in .*in\.npz. Allowed: language, audio, vision"):
        load_inputs(_save(tmp_path / "in.npz", sound=FRAMES), {})


def test_an_archive_and_an_array_are_not_interchangeable(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", FRAMES)
    with pytest.raises(UsageError, match=r"has one array without a name. Pass it as --language, --audio or --vision"):
        load_inputs(str(tmp_path / "one.npy"), {})
    with pytest.raises(UsageError, match=r"--audio must be a .npy of one array, got several arrays in"):
        load_inputs(None, {"audio": _save(tmp_path / "in.npz", audio=FRAMES)})
