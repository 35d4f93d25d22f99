from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_msa.cli import main, run


@pytest.mark.case("F1")
def test_caches_of_libraries_are_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def use_caches() -> dict[str, object]:
        """Do what importing Matplotlib and torch's compiler do."""
        (Path(os.environ["MPLCONFIGDIR"]) / "fontlist.json").touch()
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path / "inductor")
        (tmp_path / "inductor").mkdir()
        used.append(os.environ["MPLCONFIGDIR"])
        return {}

    used: list[str] = []
    for name in ("MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("edge_msa.workflows.inspect.devices", use_caches)
    assert run(["devices"]) == 0
    assert not Path(used[0]).exists()
    assert not (tmp_path / "inductor").exists()
    assert "MPLCONFIGDIR" not in os.environ


@pytest.mark.case("F1")
def test_caches_that_the_user_has_set_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("edge_msa.workflows.inspect.devices", dict)
    assert run(["devices"]) == 0
    assert tmp_path.is_dir()
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path)


@pytest.mark.parametrize(
    ("user", "expected"), [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, None)]
)
def test_waiting_threads_spin_shortly_unless_the_user_decides(
    monkeypatch: pytest.MonkeyPatch, user: dict[str, str], expected: str | None
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that the variable is restored after the test
        monkeypatch.delenv(name)
    for name, value in user.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["edge-msa", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
