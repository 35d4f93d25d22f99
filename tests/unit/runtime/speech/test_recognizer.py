from __future__ import annotations

import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.speech import open_recognizer


@pytest.mark.parametrize("name", ["whisper", "whisper:", "kaldi:x", ""])
def test_an_unknown_recognizer_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"must be whisper:FOLDER or whisper:NAME, got '{name}'"):
        open_recognizer(name)


def test_threads_must_be_positive() -> None:
    with pytest.raises(UsageError, match="threads must be 1 or more, got 0"):
        open_recognizer("whisper:x", threads=0)
