"""The description of a cascade: its members, and when a larger one is asked.

A cascade is a folder with `cascade.json` (this schema), `cascade.sha256` (the digest of `cascade.json`), `README.md`
and one bundle per member in `members/`. `cascade.json` has the digest of each member's manifest, which has the digests
of all other files of the member.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Mapping

from edge_msa_runtime.json_fields import JsonFields
from edge_msa_runtime.modalities import MODALITIES, Subset

CASCADE_SCHEMA = 1
CASCADE_DIGEST_NAME = "cascade.sha256"
MEMBERS_FOLDER = "members"
MIN_MEMBERS, MAX_MEMBERS = 2, 4
FEATURES = ("strength", "evidence", "disagreement")
"""What an estimate is computed from; `routing.answer_features` explains them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class MemberSpec:
    """One bundle of a cascade.

    Attributes:
        name: name of the member, and of its folder in `members/`.
        sha256: SHA-256 of its `manifest.json`.
    """

    name: str
    sha256: str

    @property
    def folder(self) -> str:
        """Path of the bundle in the cascade's folder."""
        return f"{MEMBERS_FOLDER}/{self.name}"

    @classmethod
    def from_json(cls, value: Any, path: str) -> MemberSpec:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, [field.name for field in dataclasses.fields(cls)])
        name, sha256 = fields.text("name"), fields.text("sha256")
        if not is_member_name(name):
            raise ValueError(
                f"{fields.path('name')} must be letters, digits, '.', '_' and '-', at most 64, got {name[:80]!r}"
            )
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{fields.path('sha256')} must be 64 hexadecimal digits, got {sha256[:80]!r}")
        return cls(name, sha256)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A linear function of `FEATURES`, at least `minimum`.

    Attributes:
        bias: its value if all features are 0.
        weights: one number per feature.
        minimum: the smallest value, above 0.
    """

    bias: float
    weights: tuple[float, ...]
    minimum: float

    def __call__(self, features: tuple[float, ...]) -> float:
        """Return the value for one prediction."""
        value = self.bias
        for weight, feature in zip(self.weights, features):
            value += weight * feature
        return max(self.minimum, value)

    @classmethod
    def from_json(cls, value: Any, path: str) -> Estimate:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, [field.name for field in dataclasses.fields(cls)])
        weights, minimum = fields.numbers("weights"), fields.number("minimum")
        if len(weights) != len(FEATURES):
            raise ValueError(f"{fields.path('weights')} must have {len(FEATURES)} numbers, got {len(weights)}")
        if minimum <= 0:
            raise ValueError(f"{fields.path('minimum')} must be positive, got {minimum:g}")
        return cls(fields.number("bias"), weights, minimum)


@dataclasses.dataclass(frozen=True)
class Stage:
    """The answer after a member was asked.

    Attributes:
        share: share of the member's outputs in the answer, above 0 and at most 1. The rest is the answer before. It is
            1 for the first member.
        spread: what the answer differs by, as far as that can be estimated: from the answer of the next member, or from
            the label. Its intervals are `spread` times a number.
        threshold: the next member is asked if `spread` is more than this, for an input of typical size; None if it
            never is, as in the last stage. For other sizes, the threshold grows with the time of the next member.
        half_widths: for each coverage of the cascade, half the width of an interval in units of `spread`; None if the
            data support only the whole scale. Empty if the task has no scores.
    """

    share: float
    spread: Estimate
    threshold: float | None
    half_widths: tuple[float | None, ...]

    @classmethod
    def from_json(cls, value: Any, path: str, coverages: int) -> Stage:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, [field.name for field in dataclasses.fields(cls)])
        share = fields.number("share")
        if not 0 < share <= 1:
            raise ValueError(f"{fields.path('share')} must be above 0 and at most 1, got {share:g}")
        widths: list[float | None] = []
        previous = 0.0
        for item, item_path in fields.array("half_widths"):
            number = math.inf if item is None else item
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not number >= previous:
                raise ValueError(f"{item_path} must be ascending from 0, or null, got {item!r:.40}")
            if item is not None and number == math.inf:
                raise ValueError(f"{item_path} must be finite, or null, got {item!r:.40}")
            widths.append(None if item is None else float(number))
            previous = number
        if len(widths) not in {0, coverages}:
            raise ValueError(f"{fields.path('half_widths')} must have {coverages} numbers, got {len(widths)}")
        return cls(
            share=share,
            spread=Estimate.from_json(fields.raw("spread"), fields.path("spread")),
            threshold=fields.optional_number("threshold"),
            half_widths=tuple(widths),
        )


@dataclasses.dataclass(frozen=True)
class Route:
    """How predictions from one subset of modalities are made.

    Attributes:
        stages: one per member.
        costs: mean time of each member, as a share of the largest one's, measured with these inputs.
        growth: how the time of each member grows with the size of the input, at least 0: the time for an input of twice
            the typical size is 1 + growth times that for the typical size.
        mean_cost: mean time of the cascade that is expected, in the same unit.
    """

    stages: tuple[Stage, ...]
    costs: tuple[float, ...]
    growth: tuple[float, ...]
    mean_cost: float

    @classmethod
    def from_json(cls, value: Any, path: str, members: int, coverages: int) -> Route:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, [field.name for field in dataclasses.fields(cls)])
        stages = tuple(Stage.from_json(item, where, coverages) for item, where in fields.array("stages"))
        costs, growth = fields.numbers("costs"), fields.numbers("growth")
        for name, count in (("stages", len(stages)), ("costs", len(costs)), ("growth", len(growth))):
            if count != members:
                raise ValueError(f"{fields.path(name)} must have one item per member, {members}, got {count}")
        if stages[0].share != 1:
            raise ValueError(f"{fields.path('stages[0].share')} must be 1, got {stages[0].share:g}")
        if stages[-1].threshold is not None:
            raise ValueError(f"{fields.path(f'stages[{members - 1}].threshold')} must be null: no member is left")
        if min(costs) <= 0:
            raise ValueError(f"{fields.path('costs')} must be positive, got {min(costs):g}")
        if min(growth) < 0:
            raise ValueError(f"{fields.path('growth')} must be at least 0, got {min(growth):g}")
        return cls(stages, costs, growth, fields.number("mean_cost"))


@dataclasses.dataclass(frozen=True)
class CascadeManifest:
    """The content of `cascade.json`. Unknown fields are refused.

    Attributes:
        schema: always `CASCADE_SCHEMA`.
        name: name of the cascade.
        members: the bundles, in the order in which they are asked.
        routes: by subset of modalities. From other subsets, the last member predicts alone.
        typical_frames: median number of frames of a validation sample, as the first member counts them, by modality.
        coverages: the coverages that intervals are stated for, ascending, between 0 and 1; empty for tasks without
            scores.
        accuracy: metrics on validation, in free form.
        provenance: how the cascade was made, in free form.
    """

    schema: int
    name: str
    members: tuple[MemberSpec, ...]
    routes: Mapping[str, Route]
    typical_frames: Mapping[str, float]
    coverages: tuple[float, ...]
    accuracy: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> CascadeManifest:
        """Build from the value of `cascade.json`.

        Raises:
            ValueError: the schema is not `CASCADE_SCHEMA`, or a field is missing, unknown or invalid.
        """
        if isinstance(value, Mapping) and value.get("schema") != CASCADE_SCHEMA:
            raise ValueError(f"schema must be {CASCADE_SCHEMA}, got {value.get('schema')!r:.40}")
        fields = JsonFields(value, "", [field.name for field in dataclasses.fields(cls)])
        members = tuple(MemberSpec.from_json(item, path) for item, path in fields.array("members"))
        if not MIN_MEMBERS <= len(members) <= MAX_MEMBERS:
            raise ValueError(f"members must be {MIN_MEMBERS} to {MAX_MEMBERS} bundles, got {len(members)}")
        if len({member.name for member in members}) < len(members):
            raise ValueError("members must have different names")
        coverages = fields.numbers("coverages")
        if any(not 0 < item < 1 for item in coverages) or list(coverages) != sorted(set(coverages)):
            raise ValueError(f"coverages must ascend between 0 and 1, got {list(coverages)}")
        return cls(
            schema=fields.integer("schema"),
            name=fields.text("name"),
            members=members,
            routes={
                _subset(name): Route.from_json(item, f"routes.{name}", len(members), len(coverages))
                for name, item in fields.mapping("routes").items()
            },
            typical_frames=_typical_frames(fields),
            coverages=coverages,
            accuracy=fields.mapping("accuracy"),
            provenance=fields.mapping("provenance"),
        )


def is_member_name(name: str) -> bool:
    """Return whether a name can be that of a member and of its folder."""
    return _NAME.fullmatch(name) is not None and not name.endswith(".")


def _subset(name: str) -> str:
    try:
        return Subset(name).value
    except ValueError:
        raise ValueError(f"routes.{name!s:.40} must be the name of a subset, such as la") from None


def _typical_frames(fields: JsonFields) -> dict[str, float]:
    typical = {}
    for name, value in fields.mapping("typical_frames").items():
        if name not in MODALITIES:
            raise ValueError(f"typical_frames.{name!s:.40} must be one of {', '.join(MODALITIES)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ValueError(f"typical_frames.{name} must be a positive number, got {value!r:.40}")
        typical[name] = float(value)
    return typical
