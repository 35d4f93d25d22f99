from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.locations import REPOSITORY


@pytest.mark.case("F32")
def test_the_script_in_the_page_about_streams_shows_that_a_stream_does_not_forget(shared_bundle: Path) -> None:
    page = (REPOSITORY / "docs/explanation/streaming-state.md").read_text(encoding="utf-8")
    match = re.search(r"<!-- test: forgetting -->\n```python\n(.*?)```", page, re.DOTALL)
    assert match is not None
    completed = subprocess.run(
        [sys.executable, "-c", match[1], str(shared_bundle)], stdout=subprocess.PIPE, check=True, encoding="utf-8"
    )
    numbers = [float(number) for number in re.findall(r"[+-]\d+\.\d+", completed.stdout)]
    negative, positive, after_200, after_reset = numbers
    assert abs(after_200 - negative) < 0.1 * (positive - negative)
    assert after_reset == positive
