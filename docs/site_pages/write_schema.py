"""Write docs/reference/bench.schema.json."""

from __future__ import annotations

import sys
from pathlib import Path

_DOCS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_DOCS))

from site_pages.records import describe_benchmark_schema  # noqa: E402

if __name__ == "__main__":
    (_DOCS / "reference" / "bench.schema.json").write_text(describe_benchmark_schema(), encoding="utf-8")
