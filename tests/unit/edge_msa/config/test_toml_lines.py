"""Lines of keys in TOML files."""

from __future__ import annotations

import pytest

from edge_msa.config.toml_lines import find_line

TEXT = """# comment
seed = 1
[student]
width = 32   # width
msm = {inter = 0.5, intra = 0.3}
audio.stride = 2
ratios = [
    0.1,
]

[student.vision]
"kernel" = 3
[ variants . 'with teacher' ]
width = 8
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("seed",), 2),
        (("student",), 3),
        (("student", "width"), 4),
        (("student", "msm", "inter"), 5),
        (("student", "audio", "stride"), 6),
        (("student", "ratios"), 7),
        (("student", "vision", "kernel"), 12),
        (("student", "absent"), 3),
        (("variants", "with teacher", "width"), 14),
        (("absent",), None),
    ],
)
def test_the_line_of_a_key_is_found(key: tuple[str, ...], line: int | None) -> None:
    assert find_line(TEXT, key) == line
