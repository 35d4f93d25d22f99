"""Feature provenance: which program computed the frames of a modality, and what the features mean.

Archives, runs and bundles store a `FeatureSource` for each modality. Many programs compute the same number of features
per frame, so shapes do not show that a model gets other features than it was trained on.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Mapping

from edge_msa_runtime.json_fields import JsonFields
from edge_msa_runtime.modalities import MODALITIES

_RATE_TOLERANCE = 0.01  # relative; 29.97 Hz is commonly called 30 Hz
_SHOWN_NAMES = 4
_SHOWN_PARAMETERS = 6
_SHOWN_DIGITS = 12
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[^\W\d_]+|\d+")  # words and numbers


@dataclasses.dataclass(frozen=True)
class FeatureSource:
    """How the frames of one modality were computed. Every field may be unknown.

    Attributes:
        extractor: the program or model, such as `COVAREP` or `BERT bert-base-uncased`. Empty if unknown.
        version: its version or that of its published features, a revision or a digest. Empty if unknown.
        rate_hz: frames per second. None if unknown, or if frames are not evenly spaced, such as one per word.
        names: name of each feature, in order. Empty if unknown.
        units: unit of each feature, in the same order; an empty text for a feature without a unit. Empty if unknown.
        parameters: settings of the extractor that change its features, by name: numbers or texts. Empty if unknown.
        model_sha256: SHA-256 of the extractor's model file, 64 hexadecimal digits. Empty if unknown, or if the
            extractor has no model file.
    """

    extractor: str = ""
    version: str = ""
    rate_hz: float | None = None
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    parameters: Mapping[str, float | str] = dataclasses.field(default_factory=dict, hash=False)
    model_sha256: str = ""

    @classmethod
    def from_json(cls, value: Any, path: str) -> FeatureSource:
        """Build from JSON. Missing fields are unknown.

        Raises:
            ValueError: a field is unknown to this version, or has a wrong type or value. The message has its path.
        """
        stated = {**dataclasses.asdict(cls()), **value} if isinstance(value, Mapping) else value
        fields = JsonFields(stated, path, [field.name for field in dataclasses.fields(cls)])
        source = cls(
            extractor=fields.text("extractor").strip(),
            version=fields.text("version").strip(),
            rate_hz=fields.optional_number("rate_hz"),
            names=fields.texts("names"),
            units=fields.texts("units"),
            parameters=fields.scalar_mapping("parameters"),
            model_sha256=fields.text("model_sha256").strip().lower(),
        )
        if source.rate_hz is not None and not source.rate_hz > 0:
            raise ValueError(f"{fields.path('rate_hz')} must be a positive number in Hz, got {source.rate_hz}")
        for name, texts in (
            ("extractor", (source.extractor,)),
            ("version", (source.version,)),
            ("names", source.names),
            ("units", source.units),
            ("parameters", [text for item in source.parameters.items() for text in item if isinstance(text, str)]),
        ):
            for text in texts:
                if not text.isprintable():
                    raise ValueError(f"{fields.path(name)} must be printable text, got {text!r:.60}")
        if not all(source.parameters):
            raise ValueError(f"{fields.path('parameters')} must have a name for each value, got an empty name")
        if source.model_sha256 and not _SHA256.fullmatch(source.model_sha256):
            digest = source.model_sha256
            raise ValueError(f"{fields.path('model_sha256')} must be 64 hexadecimal digits, got {digest!r:.80}")
        if not all(source.names) or len(set(source.names)) < len(source.names):
            raise ValueError(f"{fields.path('names')} must be a different name for each feature")
        counts = (len(source.names), len(source.units))
        if all(counts) and counts[0] != counts[1]:
            raise ValueError(f"{fields.path('units')} must be {counts[0]} texts, one per name, got {counts[1]}")
        return source

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is known."""
        return self == FeatureSource()

    @property
    def title(self) -> str:
        """Extractor and version, or `unknown extractor`."""
        return f"{self.extractor} {self.version}".strip() if self.extractor else "unknown extractor"

    def describe(self) -> str:
        """Return what is known as one line, or `unknown`."""
        if self.is_empty:
            return "unknown"
        parts = [self.title, *([] if self.rate_hz is None else [f"{self.rate_hz:g} Hz"])]
        if self.parameters:
            settings = [f"{name}={_format_value(value)}" for name, value in self.parameters.items()]
            rest = len(settings) - _SHOWN_PARAMETERS
            more = f" and {rest} more {'parameter' if rest == 1 else 'parameters'}" if rest > 0 else ""
            parts.append(" ".join(settings[:_SHOWN_PARAMETERS]) + more)
        if self.model_sha256:
            parts.append(f"model {self.model_sha256[:_SHOWN_DIGITS]}")
        if self.names:
            units = self.units or ("",) * len(self.names)
            named = [f"{name} ({unit})" if unit else name for name, unit in zip(self.names, units)]
            rest = len(named) - _SHOWN_NAMES
            parts.append(" ".join(named[:_SHOWN_NAMES]) + (f" and {rest} more features" if rest > 0 else ""))
        return ", ".join(parts)

    def check_width(self, dim: int, path: str) -> None:
        """Check that there is a name and a unit for each of `dim` features, where they are known.

        Raises:
            ValueError: there are more or fewer. The message starts with `path`.
        """
        for name, texts in (("names", self.names), ("units", self.units)):
            if texts and len(texts) != dim:
                raise ValueError(f"{path}.{name} must be {dim} texts, one per feature, got {len(texts)}")

    def differences(self, other: FeatureSource) -> list[str]:
        """Return how another source contradicts this one. What either of them does not state is no difference.

        A less specific extractor, such as `FACET` for `FACET 4.2`, is no difference either.
        """
        found = []
        if self.extractor and other.extractor and not _agree(self.title, other.title):
            found.append(f"{other.title} instead of {self.title}")
        if self.rate_hz and other.rate_hz and abs(other.rate_hz - self.rate_hz) > _RATE_TOLERANCE * self.rate_hz:
            found.append(f"{other.rate_hz:g} Hz instead of {self.rate_hz:g} Hz")
        for kind, expected, actual in (("name", self.names, other.names), ("unit", self.units, other.units)):
            if not expected or not actual or expected == actual:
                continue
            if len(expected) != len(actual):
                found.append(f"{len(actual)} {kind}s instead of {len(expected)}")
                continue
            index = next(index for index, pair in enumerate(zip(expected, actual)) if pair[0] != pair[1])
            found.append(f"{kind} of feature {index}: {actual[index] or 'none'} instead of {expected[index] or 'none'}")
        for name, value in self.parameters.items():
            stated = other.parameters.get(name, value)
            if stated != value:
                found.append(f"{name}={_format_value(stated)} instead of {name}={_format_value(value)}")
        if self.model_sha256 and other.model_sha256 and self.model_sha256 != other.model_sha256:
            digests = (other.model_sha256[:_SHOWN_DIGITS], self.model_sha256[:_SHOWN_DIGITS])
            found.append("model {} instead of {}".format(*digests))
        return found

    def filled_from(self, other: FeatureSource) -> FeatureSource:
        """Return this source with its unknown fields taken from another one, unless that contradicts this one."""
        if self.differences(other):
            return self
        is_same = not self.extractor or _tokens(self.extractor) == _tokens(other.extractor)
        return FeatureSource(
            extractor=self.extractor or other.extractor,
            version=self.version or (other.version if is_same else ""),
            rate_hz=self.rate_hz or other.rate_hz,
            names=self.names or other.names,
            units=self.units or other.units,
            parameters={**(other.parameters if is_same else {}), **self.parameters},
            model_sha256=self.model_sha256 or (other.model_sha256 if is_same else ""),
        )


UNKNOWN = FeatureSource()


def parse_features(value: Any, path: str) -> dict[str, FeatureSource]:
    """Return the sources in a JSON object by modality. Sources that state nothing are left out.

    Raises:
        ValueError: a name is not a modality, or a source is invalid. The message has the path.
    """
    stated = JsonFields({path: value}, "", [path]).mapping(path)
    for name in stated:
        if name not in MODALITIES:
            raise ValueError(f"{path} must be for {', '.join(MODALITIES)}, got {name!r:.60}")
    sources = {name: FeatureSource.from_json(stated[name], f"{path}.{name}") for name in MODALITIES if name in stated}
    return {name: source for name, source in sources.items() if not source.is_empty}


def features_to_json(features: Mapping[str, FeatureSource]) -> dict[str, Any]:
    """Return sources as plain JSON values, which `parse_features` reads."""
    return {name: dataclasses.asdict(source) for name, source in features.items()}


def fill_features(
    features: Mapping[str, FeatureSource], others: Mapping[str, FeatureSource]
) -> dict[str, FeatureSource]:
    """Return the sources with what they do not state taken from others, see `FeatureSource.filled_from`."""
    return {
        name: features.get(name, UNKNOWN).filled_from(others.get(name, UNKNOWN))
        for name in MODALITIES
        if name in features or name in others
    }


def list_differences(expected: Mapping[str, FeatureSource], actual: Mapping[str, FeatureSource]) -> str:
    """Return how sources contradict the expected ones, such as `audio: librosa instead of COVAREP`; empty if not."""
    found = []
    for name in MODALITIES:
        differences = expected.get(name, UNKNOWN).differences(actual.get(name, UNKNOWN))
        if differences:
            found.append(f"{name}: {', '.join(differences)}")
    return "; ".join(found)


def mismatch_warning(
    expected: Mapping[str, FeatureSource], actual: Mapping[str, FeatureSource], data: str
) -> str | None:
    """Return a warning if data has other features than a model was trained on, or None if nothing contradicts.

    Args:
        expected: the model's sources by modality.
        actual: the sources of the data by modality.
        data: name of the data.
    """
    differences = list_differences(expected, actual)
    if not differences:
        return None
    return (
        f"{data} has other features than the model was trained on, so predictions can be wrong ({differences}). "
        "Compute features as for training. To correct a wrong statement, use edge-msa data convert --features"
    )


def _agree(title: str, other: str) -> bool:
    """Return whether one title starts with all words and numbers of the other."""
    return all(one == two for one, two in zip(_tokens(title), _tokens(other)))


def _format_value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def _tokens(text: str) -> list[str]:
    return [token.lower() for token in _TOKEN.findall(text)]
