"""Compile the programs in this folder with torch-tensorrt, for the GPU of this machine.

Run this file in its folder. It needs torch and torch-tensorrt only. The compiled programs are written to `compiled/`.
"""

import json
from pathlib import Path


def main(device: str = "cuda") -> None:
    """Compile every program, and print how much its outputs differ from those of torch."""
    import torch
    import torch_tensorrt
    from torch.export.passes import move_to_device_pass
    from torch.utils._pytree import tree_leaves

    torch.set_grad_enabled(False)
    folder = Path(__file__).parent
    info = json.loads((folder / "programs.json").read_text(encoding="utf-8"))
    fp16 = info["precision"] == "fp16"
    (folder / "compiled").mkdir(exist_ok=True)
    for item in info["programs"]:
        program = move_to_device_pass(torch.export.load(folder / item["file"]), device)
        inputs = [
            torch.ones(spec["shape"], dtype=getattr(torch, spec["dtype"]), device=device)
            for spec in item["inputs"].values()
        ]
        compiled = torch_tensorrt.dynamo.compile(
            program,
            arg_inputs=inputs,
            enabled_precisions={torch.float16, torch.float32} if fp16 else {torch.float32},
            disable_tf32=True,
            truncate_double=True,
            min_block_size=1,
        )
        expected = tree_leaves(program.module()(*inputs))
        actual = tree_leaves(compiled(*inputs))
        difference = max(float((a - b).abs().max()) for a, b in zip(actual, expected, strict=True))
        path = folder / "compiled" / Path(item["file"]).name
        torch_tensorrt.save(compiled, str(path), output_format="exported_program", arg_inputs=inputs)
        print(f"compiled/{path.name}: largest difference from torch {difference:.1e}")


if __name__ == "__main__":
    main()
