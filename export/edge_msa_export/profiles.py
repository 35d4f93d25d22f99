"""Device profiles: one TOML file per device, which describes the device and the backends that it can run.

The profiles of this project are in `devices/`, in the checkout and in the wheel. Users can pass the path of another
.toml file, or set the environment variable EDGE_MSA_DEVICES to a folder of .toml files.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from edge_msa_export.errors import ProfileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEVICES_VARIABLE = "EDGE_MSA_DEVICES"

Backend = Literal["onnxruntime", "openvino", "tensorrt"]
Precision = Literal["fp32", "fp16", "int8"]
Scheme = Literal["ort-x86-vnni", "ort-x86-avx2", "ort-arm", "openvino-x86", "tensorrt"]
Architecture = Literal["x86_64", "aarch64", "any"]

BACKENDS: tuple[str, ...] = get_args(Backend)
PRECISIONS: tuple[str, ...] = get_args(Precision)
INT4 = "int4"
"""A precision on request, of all backends with int8 but TensorRT: it computes as int8 does, and stores the weights of a
text encoder in 4 bits."""


def _list_to_tuple(value: object) -> object:
    """Convert the lists of TOML, because strict validation accepts only tuples for tuples."""
    return tuple(value) if isinstance(value, list) else value


_FromList = BeforeValidator(_list_to_tuple)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BackendProfile(_Model):
    """A backend that a device can run."""

    name: Backend = Field(description="Name of the backend.")
    precisions: Annotated[tuple[Precision, ...], _FromList] = Field(
        description="Precisions that the backend can run on the device. fp32 is required."
    )
    scheme: Scheme | None = Field(
        default=None, description="Quantization scheme of int8. Required with int8, forbidden without."
    )

    @model_validator(mode="after")
    def _check(self) -> BackendProfile:
        if "fp32" not in self.precisions:
            raise ValueError(
                f"precisions of {self.name} must include 'fp32', the reference for all others, got "
                f"{', '.join(self.precisions) or 'none'}."
            )
        if "int8" in self.precisions and self.scheme is None:
            raise ValueError(f"Backend {self.name} has precision 'int8' and needs a scheme.")
        if "int8" not in self.precisions and self.scheme is not None:
            raise ValueError(f"Backend {self.name} has scheme {self.scheme!r} but not precision 'int8'.")
        return self


class DeviceProfile(_Model):
    """A device: its hardware, its system software and the backends that it can run."""

    name: str = Field(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        description="Name of the target. Lowercase letters, digits and hyphens.",
    )
    description: str = Field(description="Description of the device, in one line.")
    family: str = Field(default="", description="Family of devices, a target too. By default, the name of the device.")
    family_default: bool = Field(default=False, description="Whether the name of the family selects this device.")
    architecture: Architecture = Field(description="Architecture of the CPU; `any` if the graphs run on all of them.")
    backends: Annotated[tuple[BackendProfile, ...], _FromList] = Field(
        min_length=1, description="Backends that the device can run, in order of preference."
    )
    vnni: bool = Field(default=False, description="Whether the CPU has VNNI, whose 8-bit dot products do not saturate.")
    python: str | None = Field(default=None, description="Python version of the device, such as 3.10.")
    memory_mib: int | None = Field(default=None, gt=0, description="Memory in MiB. A Jetson shares it with the GPU.")
    gpu: str | None = Field(default=None, description="Name of the GPU.")
    sm: int | None = Field(
        default=None,
        description="Compute capability of the GPU, such as 87 for 8.7; the lowest, if there are several.",
    )
    jetpack: str | None = Field(default=None, description="Version of JetPack.")
    tensorrt: str | None = Field(
        default=None, description="Version of TensorRT. Graphs are exported for exactly this version."
    )
    cuda: str | None = Field(default=None, description="Version of CUDA.")
    dla: bool = Field(default=False, description="Whether the board has a DLA.")
    torch_tensorrt: str | None = Field(default=None, description="Version of torch-tensorrt for the device.")
    torch_tensorrt_install: str | None = Field(
        default=None, description="Command that installs torch and torch-tensorrt on the device."
    )
    notes: Annotated[tuple[str, ...], _FromList] = Field(default=(), description="Notes for users.")

    @model_validator(mode="before")
    @classmethod
    def _add_family(cls, values: Any) -> Any:
        lacks_family = isinstance(values, dict) and isinstance(values.get("name"), str) and "family" not in values
        return {**values, "family": values["name"]} if lacks_family else values

    @model_validator(mode="after")
    def _check(self) -> DeviceProfile:
        names = [backend.name for backend in self.backends]
        if len(set(names)) < len(names):
            raise ValueError(f"backends must name each backend once, got {', '.join(names)}.")
        if "tensorrt" in names and (self.sm is None or self.tensorrt is None):
            raise ValueError("Backend tensorrt needs sm and tensorrt, because its plans depend on both.")
        if self.dla and "tensorrt" not in names:
            raise ValueError("dla needs backend tensorrt, the only one that can use a DLA.")
        if (self.torch_tensorrt is None) != (self.torch_tensorrt_install is None):
            raise ValueError("torch_tensorrt and torch_tensorrt_install must be set together.")
        return self

    @property
    def alias(self) -> str | None:
        """The name of the family if it selects this device, None if the device has no second name."""
        return self.family if self.family_default and self.family != self.name else None

    def to_json(self) -> dict[str, Any]:
        """Return the profile as plain JSON values, for manifests and `--json`."""
        return self.model_dump(mode="json")

    def backend(self, name: str) -> BackendProfile:
        """Return the backend of that name.

        Raises:
            ProfileError: the device does not run it.
        """
        for backend in self.backends:
            if backend.name == name:
                return backend
        available = ", ".join(backend.name for backend in self.backends)
        raise ProfileError(f"{self.name} does not run backend {name!r}. Available: {available}.")

    def with_backends(self, *names: str) -> DeviceProfile:
        """Return the same device with only these backends.

        Raises:
            ProfileError: the device does not run one of them.
        """
        return self.model_copy(update={"backends": tuple(self.backend(name) for name in names)})


def load_profiles() -> dict[str, DeviceProfile]:
    """Load the profiles of this project and those in the folder EDGE_MSA_DEVICES, sorted and keyed by name.

    Raises:
        ProfileError: a file is not a valid profile, or two profiles have the same name.
    """
    return {name: profile for name, (profile, _) in sorted(_load_files().items())}


def load_targets() -> dict[str, DeviceProfile]:
    """Load what `--target` accepts besides files: the names of families and devices, with their profiles.

    Raises:
        ProfileError: as `load_profiles`.
    """
    profiles = load_profiles()
    return {**{profile.family: profile for profile in profiles.values() if profile.family_default}, **profiles}


def find_profile(name_or_path: str | Path) -> DeviceProfile:
    """Return the profile for the name of a device, the name of a family, or the path of a .toml file.

    Raises:
        ProfileError: there is no such profile. The message suggests the closest name.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        return load_profile(Path(text))
    available = load_targets()
    if text in available:
        return available[text]
    raise ProfileError(f"Unknown target {text!r}.{_suggest(text, available)} Available: {', '.join(available)}.")


def read_profile(name_or_path: str | Path) -> str:
    """Return the text of a profile's .toml file, with its comments.

    Raises:
        ProfileError: as `find_profile`.
    """
    profile = find_profile(name_or_path)
    path = Path(name_or_path) if str(name_or_path).endswith(".toml") else _load_files()[profile.name][1]
    return path.read_text(encoding="utf-8")


def load_profile(path: Path) -> DeviceProfile:
    """Load one .toml file.

    Raises:
        ProfileError: the file cannot be opened, or a key is unknown, missing or has an invalid value.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be loaded ({error}). Pass the path of a device's .toml file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{path}: is not valid TOML ({error}).") from error
    try:
        return DeviceProfile.model_validate(table)
    except ValidationError as error:
        # A misspelled key causes two errors: it is unknown, and the correct one may be missing. The first one helps.
        first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
        raise ProfileError(f"{path}: {_describe(first)}") from None


_EXPECTED: Mapping[str, str] = {
    "string_type": "a string",
    "int_type": "an integer",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a table",
    "string_pattern_mismatch": "lowercase letters, digits and hyphens",
    "greater_than": "greater than 0",
}
"""What a value must be, by the type of pydantic's error."""


def _describe(error: ErrorDetails) -> str:
    """Return one line for a validation error: the key, what it must be, and the actual value."""
    kind, value = error["type"], error["input"]
    key = ".".join(str(part) for part in error["loc"])
    if kind == "value_error":
        message = str(error["ctx"]["error"])
    elif kind == "missing":
        message = f"{key} is missing."
    elif kind == "extra_forbidden":
        message = f"Unknown key {key!r}.{_suggest(str(error['loc'][-1]), _list_keys(error))}"
    elif kind == "literal_error":
        allowed = _list_allowed_values(error)
        message = f"{key} must be one of {', '.join(allowed)}, got {value!r}.{_suggest(str(value), allowed)}"
    elif key == "backends":
        message = "backends must be a list of at least one table. Write [[backends]] above each table."
    elif kind in _EXPECTED:
        message = f"{key} must be {_EXPECTED[kind]}, got {value!r}."
    else:
        message = f"{key}: {error['msg']}, got {value!r}."
    return message


def _list_keys(error: ErrorDetails) -> Iterable[str]:
    model = DeviceProfile if len(error["loc"]) == 1 else BackendProfile
    return model.model_fields


def _list_allowed_values(error: ErrorDetails) -> tuple[str, ...]:
    field = next(part for part in reversed(error["loc"]) if isinstance(part, str))
    literals = {"name": Backend, "precisions": Precision, "scheme": Scheme, "architecture": Architecture}
    return get_args(literals[field])


def _suggest(value: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(value, list(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _find_project_folder() -> Path:
    """Return the folder of this project's profiles: next to this file in a wheel, at the top of a checkout."""
    package = Path(__file__).parent
    for folder in (package / "devices", package.parents[1] / "devices"):
        if folder.is_dir():
            return folder
    raise ProfileError(f"The device profiles are missing from {package}. Reinstall edge-msa.")


def _get_environment_folder() -> Path | None:
    value = os.environ.get(DEVICES_VARIABLE)
    return Path(value) if value else None


def _load_files() -> dict[str, tuple[DeviceProfile, Path]]:
    """Load all profiles, keyed by name, with their files."""
    folders = [_find_project_folder(), _get_environment_folder()]
    profiles: dict[str, tuple[DeviceProfile, Path]] = {}
    for path in [path for folder in folders if folder for path in _list_files(folder)]:
        profile = load_profile(path)
        if profile.name in profiles:
            raise ProfileError(f"{path}: device {profile.name!r} already exists. Choose another name.")
        profiles[profile.name] = (profile, path)
    return profiles


def _list_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ProfileError(f"{folder} is not a folder of device profiles. Check {DEVICES_VARIABLE}.")
    return sorted(folder.glob("*.toml"))
