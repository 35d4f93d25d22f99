"""The folder of `edge-msa export --backend torch-tensorrt`: programs, what is known of them, how to compile them.

It lies beside a bundle and is none: no wheel of ours runs it, torch does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa_export.profiles import DeviceProfile
from edge_msa_export.torch_tensorrt.programs import Compiled, Programs, SavedProgram
from edge_msa_runtime.bundle.manifest import GraphKey

FACTS_NAME = "facts.json"
FORMAT = "edge-msa torch-tensorrt programs"
SCHEMA = 2


@dataclass(frozen=True)
class Facts:
    """What the folder is told besides its programs.

    `torch`: the version that wrote the programs. `precision`: that they are to be compiled at. `compiled`: what
    torch-tensorrt made of them here, None where it did not. `provenance`: as in a bundle.
    """

    profile: DeviceProfile
    torch: str
    precision: str
    compiled: Compiled | None
    provenance: Mapping[str, Any]

    @property
    def fits_torch(self) -> bool:
        """Whether the target's torch reads them; torch 2.8 does not read what 2.13 wrote, so only of one series."""
        return series(self.torch) == series(self.profile.torch_tensorrt or "")


def series(version: str) -> tuple[int, ...]:
    """A version of torch, or of the torch-tensorrt that goes with it, without its last part: 2.8.0+cpu as (2, 8)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def is_programs_folder(folder: Path) -> bool:
    """Whether an older one of these is there, that may be replaced."""
    try:
        value = json.loads((folder / FACTS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and value.get("format") == FORMAT


def write_facts(folder: Path, programs: Programs, facts: Facts) -> None:
    """Write facts.json and README.md beside the programs."""
    value = {
        "format": FORMAT,
        "schema": SCHEMA,
        "target": facts.profile.name,
        "profile": facts.profile.to_json(),
        "torch": facts.torch,
        "torch_tensorrt": facts.profile.torch_tensorrt,
        "read_by_the_targets_torch": facts.fits_torch,
        "precision": facts.precision,
        "parity_limit": programs.parity_limit,
        "compiled_for": facts.compiled.gpu if facts.compiled else None,
        "programs": [
            _program(folder, saved, facts.compiled.parity if facts.compiled else {}) for saved in programs.saved
        ],
        "provenance": dict(facts.provenance),
    }
    (folder / FACTS_NAME).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8", newline="\n")
    (folder / "README.md").write_text(_readme(facts), encoding="utf-8", newline="\n")


def _program(folder: Path, saved: SavedProgram, compiled: Mapping[GraphKey, float]) -> dict[str, Any]:
    told = {
        "role": saved.key.role,
        "modalities": list(saved.key.modalities),
        "length": saved.key.length,
        "file": saved.file,
        "sha256": hashlib.sha256((folder / saved.file).read_bytes()).hexdigest(),
        "inputs": {name: {"shape": list(shape), "type": kind} for name, (shape, kind) in saved.inputs.items()},
        "outputs": list(saved.outputs),
        "parity": saved.parity,
        "operators": dict(saved.operators),
        "without_converter": list(saved.unconverted),
    }
    return told if saved.key not in compiled else {**told, "compiled_parity": compiled[saved.key]}


COMPILE = """\
import json, pathlib, torch, torch_tensorrt

torch.set_grad_enabled(False)
facts = json.loads(pathlib.Path("facts.json").read_text())
half = facts["precision"] == "fp16"
pathlib.Path("compiled").mkdir(exist_ok=True)
for told in facts["programs"]:
    program = torch.export.passes.move_to_device_pass(torch.export.load(told["file"]), "cuda")
    inputs = [torch.ones(i["shape"], dtype=getattr(torch, i["type"]), device="cuda") for i in told["inputs"].values()]
    compiled = torch_tensorrt.dynamo.compile(
        program,
        arg_inputs=inputs,
        enabled_precisions={torch.float16, torch.float32} if half else {torch.float32},
        disable_tf32=True,
        truncate_double=True,
        min_block_size=1,
    )
    apart = max(
        float((a - b).abs().max())
        for a, b in zip(torch.utils._pytree.tree_leaves(compiled(*inputs)),
                        torch.utils._pytree.tree_leaves(program.module()(*inputs)))
    )
    path = pathlib.Path("compiled") / pathlib.Path(told["file"]).name
    torch_tensorrt.save(compiled, str(path), output_format="exported_program", arg_inputs=inputs)
    print(path, "largest difference from torch:", apart)
"""
"""What a device runs in the folder; the same as `compile_programs` does, without anything of ours installed."""


def _readme(facts: Facts) -> str:
    wanted = facts.profile.torch_tensorrt
    made = f"These programs are of torch {facts.torch}, and torch-tensorrt {wanted} goes with its own series of torch."
    again = "Torch 2.8 does not read what 2.13 wrote: make this folder again in an environment with that torch."
    other = "" if facts.fits_torch else f"\n{made}\n{again}\n"
    return f"""# A student's programs for torch-tensorrt {wanted}, on {facts.profile.name}
Each file in `programs/` has the inputs and outputs of the bundle's graph of the same name; `facts.json` has their
shapes, their distance from torch, and the operators that torch-tensorrt {wanted} has no converter for.
{other}
On the device, in this folder:

```
{facts.profile.torch_tensorrt_install}
python3 - <<'END'
{COMPILE}END
```

Then in Python, with torch and torch_tensorrt alone:

```python
import torch, torch_tensorrt
prediction = torch.export.load("compiled/fuse.pt2").module()(*inputs)  # tensors on "cuda", in the order of facts.json
```
"""
