"""The folder that `edge-msa export --torch-tensorrt` writes: programs, their description, and how to compile.

The folder is not a bundle: torch runs it, not the runtime of this project.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_msa_export.profiles import DeviceProfile
from edge_msa_export.provenance import Provenance
from edge_msa_export.torch_tensorrt import compile_script
from edge_msa_export.torch_tensorrt.programs import CompiledPrograms, ProgramSet, SavedProgram
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import GraphKey

INFO_NAME = "programs.json"
SCRIPT_NAME = "compile.py"
FORMAT = "edge-msa torch-tensorrt programs"
SCHEMA = 2


@dataclass(frozen=True)
class ProgramsInfo:
    """The content of the description in addition to the programs.

    Attributes:
        profile: device that the programs are for.
        torch: version of torch that wrote the programs.
        precision: precision to compile at.
        compiled: the programs that torch-tensorrt compiled on this machine; None if it did not.
        provenance: what the programs are made from.
    """

    profile: DeviceProfile
    torch: str
    precision: str
    compiled: CompiledPrograms | None
    provenance: Provenance

    @property
    def loads_on_target(self) -> bool:
        """Whether the torch of the target can load the programs.

        Both versions must be of the same series: torch 2.8, for example, cannot load what 2.13 wrote.
        """
        return parse_series(self.torch) == parse_series(self.profile.torch_tensorrt or "")


def parse_series(version: str) -> tuple[int, ...]:
    """Return major and minor version of torch or torch-tensorrt: "2.8.0+cpu" gives (2, 8)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def is_programs_folder(folder: Path) -> bool:
    """Return whether a folder contains the description of an earlier export of programs."""
    try:
        value = json.loads((folder / INFO_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and value.get("format") == FORMAT


def load_provenance(folder: Path) -> Provenance:
    """Return what the programs in a folder were made from.

    Raises:
        ExportError: the description has other fields.
    """
    value = json.loads((folder / INFO_NAME).read_text(encoding="utf-8"))
    return Provenance.from_json(value.get("provenance", {}))


def write_programs_info(folder: Path, programs: ProgramSet, info: ProgramsInfo) -> None:
    """Write the description, the compile script and the README next to the programs."""
    compiled_parity = info.compiled.parity if info.compiled else {}
    value = {
        "format": FORMAT,
        "schema": SCHEMA,
        "target": info.profile.name,
        "profile": info.profile.to_json(),
        "torch": info.torch,
        "torch_tensorrt": info.profile.torch_tensorrt,
        "loads_on_target": info.loads_on_target,
        "precision": info.precision,
        "parity_limit": programs.parity_limit,
        "compiled_for": info.compiled.gpu if info.compiled else None,
        "programs": [_describe_program(folder, saved, compiled_parity) for saved in programs.saved],
        "provenance": info.provenance.to_json(),
    }
    (folder / INFO_NAME).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8", newline="\n")
    shutil.copyfile(compile_script.__file__, folder / SCRIPT_NAME)
    (folder / "README.md").write_text(_format_readme(info), encoding="utf-8", newline="\n")


def _describe_program(folder: Path, saved: SavedProgram, compiled_parity: Mapping[GraphKey, float]) -> dict[str, Any]:
    description = {
        "role": saved.key.role,
        "modalities": list(saved.key.modalities),
        "length": saved.key.length,
        "file": saved.file,
        "sha256": file_sha256(folder / saved.file),
        "inputs": {name: asdict(spec) for name, spec in saved.inputs.items()},
        "outputs": list(saved.outputs),
        "parity": saved.parity,
        "operators": dict(saved.operators),
        "unconverted_operators": list(saved.unconverted_operators),
    }
    if saved.key in compiled_parity:
        description["compiled_parity"] = compiled_parity[saved.key]
    return description


def _format_readme(info: ProgramsInfo) -> str:
    version = info.profile.torch_tensorrt
    warning = f"""
**These programs do not load on the device.** torch {info.torch} wrote them, and torch-tensorrt {version} needs torch
{".".join(map(str, parse_series(version or "")))}. Export this folder again in an environment with that torch.
"""
    return f"""# Programs for torch-tensorrt {version} on {info.profile.name}

Each file in `programs/` is an exported torch program with the inputs and outputs of the bundle's graph of the same
name. `{INFO_NAME}` lists their shapes, how much their predictions differ from the original model, and the operators
that torch-tensorrt {version} cannot convert.
{"" if info.loads_on_target else warning}
## Compile

Run these commands in this folder, on the device:

```
{info.profile.torch_tensorrt_install}
python3 {SCRIPT_NAME}
```

The script writes the compiled programs to `compiled/`. They run only on a GPU of the same kind.

## Use

```python
import torch, torch_tensorrt

fuse = torch.export.load("compiled/fuse.pt2").module()
prediction = fuse(*inputs)  # tensors on "cuda", in the order of {INFO_NAME}
```
"""
