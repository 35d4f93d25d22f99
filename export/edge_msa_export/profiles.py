"""Device profiles: one TOML a device, that says what it is and what it can run.

Shipped ones lie in `devices/` (of the checkout, or inside the wheel). A person adds their own by the path of a file,
or by a folder of files that the environment variable EDGE_MSA_DEVICES names.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edge_msa_export.errors import ProfileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENVIRONMENT = "EDGE_MSA_DEVICES"
BACKENDS = ("onnxruntime", "openvino", "tensorrt")
PRECISIONS = ("fp32", "fp16", "int8")
SCHEMES = ("ort-x86-vnni", "ort-x86-avx2", "ort-arm", "openvino-x86", "tensorrt")
ARCHITECTURES = ("x86_64", "aarch64")


@dataclass(frozen=True)
class BackendProfile:
    """One backend on a device: the `precisions` it may be given, and the `scheme` of its int8 (None without int8)."""

    name: str
    precisions: tuple[str, ...]
    scheme: str | None = None

    def __post_init__(self) -> None:
        _one_of("backend name", self.name, BACKENDS)
        for precision in self.precisions:
            _one_of(f"precision of {self.name}", precision, PRECISIONS)
        if "fp32" not in self.precisions:
            raise ProfileError(f"backend {self.name}: precisions lack 'fp32', which every other is measured against")
        if self.scheme is not None:
            _one_of(f"scheme of {self.name}", self.scheme, SCHEMES)
        if ("int8" in self.precisions) != (self.scheme is not None):
            raise ProfileError(f"backend {self.name}: scheme goes with precision 'int8', give both or neither")


@dataclass(frozen=True)
class DeviceProfile:
    """What a device is and can run.

    `family_default`: the family's name points here. `backends`: in order of preference. `python`: of the device, as
    "3.10". `memory_mib` is shared with the GPU on a Jetson. `sm`: compute capability of the GPU, 87 for 8.7. `vnni`:
    8-bit dot products that do not saturate. `jetpack`, `tensorrt` and `cuda` are versions, and None where there is no
    such thing: graphs are made for exactly that TensorRT. `dla`: the board has a DLA. `torch_tensorrt`: the version of
    torch-tensorrt that fits this JetPack, with the command that installs it there. `notes` are for people.
    """

    name: str
    description: str
    family: str
    architecture: str
    backends: tuple[BackendProfile, ...]
    family_default: bool = False
    vnni: bool = False
    python: str | None = None
    memory_mib: int | None = None
    gpu: str | None = None
    sm: int | None = None
    jetpack: str | None = None
    tensorrt: str | None = None
    cuda: str | None = None
    dla: bool = False
    torch_tensorrt: str | None = None
    torch_tensorrt_install: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").isalnum() or self.name != self.name.lower():
            raise ProfileError(f"name {self.name!r} must be lower case letters, digits and hyphens")
        _one_of("architecture", self.architecture, ARCHITECTURES)
        if not self.backends:
            raise ProfileError("backends is empty; give at least one [[backends]]")
        names = [backend.name for backend in self.backends]
        if len(set(names)) < len(names):
            raise ProfileError(f"a backend is there twice: {', '.join(names)}")
        if "tensorrt" in names and (self.sm is None or self.tensorrt is None):
            raise ProfileError("backend tensorrt needs sm and tensorrt, as its backends depend on both")
        if self.dla and "tensorrt" not in names:
            raise ProfileError("dla goes with backend tensorrt, which alone uses it")
        if (self.torch_tensorrt is None) != (self.torch_tensorrt_install is None):
            raise ProfileError("torch_tensorrt goes with torch_tensorrt_install, give both or neither")
        if self.memory_mib is not None and self.memory_mib <= 0:
            raise ProfileError(f"memory_mib {self.memory_mib} must be positive")

    def to_json(self) -> dict[str, Any]:
        """The profile as plain JSON values, for manifests and `--json`."""
        return asdict(self)

    def backend(self, name: str) -> BackendProfile:
        """The backend of that name.

        Raises:
            ProfileError: the device does not run it.
        """
        for backend in self.backends:
            if backend.name == name:
                return backend
        raise ProfileError(
            f"{self.name} does not run {name!r}; it runs {', '.join(item.name for item in self.backends)}"
        )


def load_profiles(extra: Path | None = None) -> dict[str, DeviceProfile]:
    """Every known profile by name, in the order of names.

    Args:
        extra: a folder of a person's own; left out, what EDGE_MSA_DEVICES names.

    Raises:
        ProfileError: a file that is not a valid profile, or two of one name.
    """
    own = extra if extra is not None else _folder_of_environment()
    found: dict[str, DeviceProfile] = {}
    for path in [*_files(_shipped()), *(_files(own) if own else ())]:
        profile = read_profile(path)
        if profile.name in found:
            raise ProfileError(f"{path}: there is a device {profile.name!r} already; give this one another name")
        found[profile.name] = profile
    return dict(sorted(found.items()))


def profile_named(name_or_path: str | Path, extra: Path | None = None) -> DeviceProfile:
    """The profile of a device's name, of a family's name, or of a path to a .toml.

    Raises:
        ProfileError: there is none; the message has the nearest name.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        return read_profile(Path(text))
    profiles = load_profiles(extra)
    if text in profiles:
        return profiles[text]
    families = {profile.family: profile for profile in profiles.values() if profile.family_default}
    if text in families:
        return families[text]
    known = [*families, *profiles]
    raise ProfileError(f"unknown target {text!r}{_nearest(text, known)}; there are {', '.join(known)}")


def read_profile(path: Path) -> DeviceProfile:
    """Read one TOML.

    Raises:
        ProfileError: it cannot be read, or a key is unknown, missing or of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read ({error}); give the path of a device's .toml") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path}: is not TOML ({error})") from error
    try:
        backends = table.get("backends")
        if isinstance(backends, list) and all(isinstance(item, dict) for item in backends):
            table["backends"] = tuple(BackendProfile(**_typed(BackendProfile, item, "backends: ")) for item in backends)
        return DeviceProfile(**_typed(DeviceProfile, table, ""))
    except ProfileError as error:
        raise ProfileError(f"{path}: {error}") from None


# What a TOML value must be, by the annotation of the field it fills.
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str,),
    "int | None": (int,),
    "bool": (bool,),
    "tuple[str, ...]": (tuple,),
    "tuple[BackendProfile, ...]": (tuple,),
}


def _typed(kind: type, table: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The table as arguments of `kind`, lists as tuples; every key known, there and of the right type."""
    known = {item.name: item for item in fields(kind)}
    for key in table:
        if key not in known:
            raise ProfileError(f"{prefix}unknown key {key!r}{_nearest(key, known)}")
    values: dict[str, Any] = {}
    for name, item in known.items():
        if name not in table:
            if item.default is MISSING:
                raise ProfileError(f"{prefix}{name} is missing")
            continue
        value = table[name]
        value = tuple(value) if isinstance(value, list) else value
        if not _fits(value, str(item.type)):
            raise ProfileError(f"{prefix}{name} = {value!r} must be {_words(str(item.type))}")
        values[name] = value
    return values


def _fits(value: Any, annotation: str) -> bool:
    kinds: Any = _TYPES[annotation]
    if not isinstance(value, kinds) or (isinstance(value, bool) and annotation != "bool"):
        return False
    return annotation != "tuple[str, ...]" or all(isinstance(item, str) for item in value)


def _words(annotation: str) -> str:
    names = {"str": "text", "int": "a whole number", "bool": "true or false", "tuple[str, ...]": "a list of texts"}
    return names.get(annotation.removesuffix(" | None"), "a list of tables, [[backends]]")


def _one_of(what: str, value: str, known: Iterable[str]) -> None:
    known = tuple(known)
    if value not in known:
        raise ProfileError(f"unknown {what} {value!r}{_nearest(value, known)}; there are {', '.join(known)}")


def _nearest(value: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(value, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _shipped() -> Path:
    """Inside the wheel the files lie beside this one, in the checkout at its top."""
    here = Path(__file__).parent
    for folder in (here / "devices", here.parents[1] / "devices"):
        if folder.is_dir():
            return folder
    raise ProfileError(f"the device profiles are not beside {here}; install edge-msa again")


def _folder_of_environment() -> Path | None:
    value = os.environ.get(ENVIRONMENT)
    return Path(value) if value else None


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ProfileError(f"{folder}: is no folder of device profiles; check {ENVIRONMENT}")
    return sorted(folder.glob("*.toml"))
