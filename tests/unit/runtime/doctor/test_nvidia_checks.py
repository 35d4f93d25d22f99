from __future__ import annotations

import pytest

from edge_msa_runtime.doctor.nvidia_checks import jetpack_version


@pytest.mark.parametrize(
    ("release", "jetpack"),
    [("35.4.1", "5.1"), ("35.1.0", "5.0.2"), ("36.3.0", "6.0"), ("36.4.0", "6.1"), ("36.4.4", "6.2.1"), ("40.1", None)],
)
def test_the_l4t_release_gives_the_jetpack_version(release: str, jetpack: str | None) -> None:
    assert jetpack_version(release) == jetpack
