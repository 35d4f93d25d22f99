from __future__ import annotations

import hashlib
from pathlib import Path

from edge_msa_runtime.bundle.hashing import file_sha256


def test_the_digest_is_the_sha256_of_a_file_of_several_blocks(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1_000_000)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
