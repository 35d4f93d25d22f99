"""State what computed the features of a dataset, in a TOML file with a table for each modality.

```toml
[audio]
extractor = "COVAREP"
version = "1.4.2"
rate_hz = 100
names = ["F0", "VUV"]
units = ["Hz", ""]
parameters = { window_ms = 25 }
```

Every field may be missing; see `edge_msa_runtime.features.FeatureSource`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_msa.data.dataset import Dataset
from edge_msa.errors import UsageError
from edge_msa_runtime.features import UNKNOWN, FeatureSource, fill_features, list_differences, parse_features

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Features = Mapping[str, FeatureSource]
_ROOT = "the file"


def load_features(source: Path | Mapping[str, Any] | None) -> dict[str, FeatureSource]:
    """Return what a TOML file, or its tables, state about features, by modality; nothing for None.

    Raises:
        UsageError: The file cannot be read, is not TOML, or has an invalid field.
    """
    if source is None:
        return {}
    name = "features" if isinstance(source, Mapping) else str(source)
    try:
        tables = source if isinstance(source, Mapping) else tomllib.loads(Path(source).read_text(encoding="utf-8"))
        return parse_features(tables, _ROOT)
    except OSError as error:
        raise UsageError(f"Cannot read {name} ({error.strerror or error}).") from None
    except (ValueError, RecursionError) as error:
        reason = str(error).replace(f"{_ROOT}.", "", 1)
        raise UsageError(
            f"{name} does not state features ({reason}). It needs a table such as [audio] with some of "
            f"{', '.join(field.name for field in dataclasses.fields(FeatureSource))}."
        ) from None


def complete_features(
    known: Features, stated: Features, dims: Mapping[str, int], source: str
) -> dict[str, FeatureSource]:
    """Return the known features, with what is stated in addition.

    Args:
        known: What the data or the run states.
        stated: What the user states.
        dims: Features per frame of each modality.
        source: Name of the data or the run.

    Raises:
        UsageError: The statement contradicts what is known, or does not fit the dimensions.
    """
    _check_stated(stated, dims, source)
    if differences := list_differences(known, stated):
        raise UsageError(
            f"--features contradicts {source} ({differences}). If {source} is wrong, correct its data with "
            "edge-msa data convert FILE --output OUTPUT.npz --features FILE.toml, and train on the result."
        )
    return fill_features(known, stated)


def replace_features(dataset: Dataset, stated: Features) -> Dataset:
    """Return the dataset with features as stated. Where the statement contradicts the dataset, a note says so.

    Raises:
        UsageError: The statement does not fit the dataset.
    """
    _check_stated(stated, dataset.dims, dataset.name)
    differences = list_differences(dataset.features, stated)
    notes = (f"--features replaces what the file states ({differences})",) if differences else ()
    return dataclasses.replace(
        dataset, features=fill_features(stated, dataset.features), notes=(*dataset.notes, *notes)
    )


def _check_stated(stated: Features, dims: Mapping[str, int], source: str) -> None:
    for name, item in stated.items():
        if name not in dims:
            raise UsageError(
                f"--features must be for modalities of {source} ({', '.join(dims) or 'none'}), got {name}. Remove it."
            )
        try:
            item.check_width(dims[name], name)
        except ValueError as error:
            raise UsageError(f"--features does not fit {source}: {error}.") from None


def unknown_modalities(features: Features, modalities: Mapping[str, object]) -> list[str]:
    """Return the modalities whose extractor is not known."""
    return [name for name in modalities if not features.get(name, UNKNOWN).extractor]
