"""Small cascades of fake bundles: a table answers first, then an encoder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Mapping

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import CASCADE_NAME
from edge_msa_runtime.cascade.manifest import (
    CASCADE_DIGEST_NAME,
    CASCADE_SCHEMA,
    CascadeManifest,
    Estimate,
    MemberSpec,
    Route,
    Stage,
)

COVERAGES = (0.5, 0.9)
STRENGTH = Estimate(0.0, (1.0, 0.0, 0.0), 0.01)
"""An estimate that is the distance of a score from 0."""


def write_cascade(
    folder: Path,
    members: Mapping[str, Path],
    *,
    threshold: float | None = 0.5,
    share: float = 0.75,
    spread: Estimate = STRENGTH,
    subsets: tuple[str, ...] = ("l", "la"),
    coverages: tuple[float, ...] = COVERAGES,
) -> None:
    """Write a cascade that asks on if the score is farther from 0 than `threshold`."""
    for name, bundle in members.items():
        shutil.copytree(bundle, folder / "members" / name)
    count = len(members)
    stages = [
        Stage(
            1.0 if index == 0 else share,
            spread,
            threshold if index < count - 1 else None,
            tuple(0.5 * (rank + 1) for rank in range(len(coverages))),
        )
        for index in range(count)
    ]
    costs = tuple(0.25 ** (count - 1 - index) for index in range(count))
    manifest = CascadeManifest(
        schema=CASCADE_SCHEMA,
        name="fake-cascade",
        members=tuple(MemberSpec(name, file_sha256(folder / "members" / name / "manifest.json")) for name in members),
        routes={subset: Route(tuple(stages), costs, (0.0,) * count, 0.4) for subset in subsets},
        typical_frames={"language": 5.0, "audio": 10.0},
        coverages=coverages,
        accuracy={},
        provenance={},
    )
    (folder / CASCADE_NAME).write_text(json.dumps(manifest.to_json()), encoding="utf-8")
    seal(folder)


def seal(folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Change fields of a cascade's description and write its digest."""
    path = folder / CASCADE_NAME
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **(changes or {})}), encoding="utf-8")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / CASCADE_DIGEST_NAME).write_text(digest + "\n", encoding="utf-8")
