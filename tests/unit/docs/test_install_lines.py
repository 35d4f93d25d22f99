from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_msa_runtime.vendor_packages import _REQUIREMENTS

REPOSITORY = Path(__file__).parents[3]
RUNTIME = REPOSITORY / "runtime" / "edge_msa_runtime"
MEDIA = ("media", "audio", "vision", "speech", "live")


@pytest.mark.parametrize(("page", "folders"), [("serve.md", (*MEDIA, "serve")), ("watch.md", MEDIA)])
def test_the_install_line_of_a_page_has_all_packages(page: str, folders: tuple[str, ...]) -> None:
    text = (REPOSITORY / "docs" / "how-to" / page).read_text(encoding="utf-8")
    found = re.search(r'^pip install "\$\(ls bundle-talk/\*\.whl\)\[([\w,]+)\]"$', text, re.MULTILINE)
    assert found is not None
    installed = set(found[1].split(","))
    sources = [path for folder in folders for path in (RUNTIME / folder).rglob("*.py") if path.stem != "annotate"]
    names = {name for path in sources for name in re.findall(r'import_package\("(\w+)', path.read_text("utf-8"))}
    names -= {"h11"}  # a dependency of uvicorn
    needed = {_REQUIREMENTS.get(name, f"[{name}]").partition("[")[2].partition("]")[0] for name in names}
    assert {"audio", "vision", "asr", "onnxruntime"} <= needed
    assert needed | {"text"} <= installed  # words need the tokenizer of the bundle
