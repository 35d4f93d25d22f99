from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edge_msa_runtime.backends.tensorrt.plan_cache import BuildInfo, CacheLookup, Plan, PlanKey, load_plan, store_plan

KEY = PlanKey("ab" * 32, "int8", "10.3.0", "87", "Orin")
PLAN = Plan(b"plan", BuildInfo(1.5, 1 << 20, None, 1, {"int8": 1}, best_of=2, p50_ms=(0.1, 0.2)))


def test_a_plan_is_loaded_only_for_its_key(tmp_path: Path) -> None:
    store_plan(tmp_path / "cache", KEY, PLAN)
    assert load_plan(tmp_path / "cache", KEY) == CacheLookup(PLAN)
    for field in dataclasses.fields(KEY):
        assert load_plan(tmp_path / "cache", dataclasses.replace(KEY, **{field.name: "other"})) == CacheLookup()
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".json", ".plan"]


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        (".plan", b"pla", "it has 3 bytes instead of 4"),
        (".plan", b"plAn", "it has changed since it was built"),
        (".plan", None, "its build was interrupted"),
        (".json", None, "its build was interrupted"),
        (".json", b"{", "its sidecar file is invalid"),
        (".json", b"[]", "its sidecar file is invalid"),
        (".json", b"null", "its sidecar file is invalid"),
    ],
)
def test_a_damaged_plan_is_not_loaded(tmp_path: Path, suffix: str, content: bytes | None, reason: str) -> None:
    store_plan(tmp_path, KEY, PLAN)
    path = tmp_path / f"{KEY.stem}{suffix}"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert load_plan(tmp_path, KEY) == CacheLookup(reason=reason)


def test_a_plan_with_another_key_in_its_sidecar_is_not_loaded(tmp_path: Path) -> None:
    store_plan(tmp_path, KEY, PLAN)
    sidecar = tmp_path / f"{KEY.stem}.json"
    fields = json.loads(sidecar.read_text("utf-8"))
    fields["key"].update(tensorrt="8.5.2.2", sm="72")
    sidecar.write_text(json.dumps(fields), encoding="utf-8")
    cached = load_plan(tmp_path, KEY)
    assert cached.plan is None
    assert cached.reason == "it was built for tensorrt 8.5.2.2, now 10.3.0; sm 72, now 87"


def test_the_timing_cache_depends_on_device_and_version_only() -> None:
    assert KEY.timing_cache_name == dataclasses.replace(KEY, model="c", precision="fp32").timing_cache_name
    for field in ("tensorrt", "sm", "device"):
        assert KEY.timing_cache_name != dataclasses.replace(KEY, **{field: "other"}).timing_cache_name
