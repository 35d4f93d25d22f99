"""The JSON that pages contain."""

from __future__ import annotations

import json
import re
from typing import Any


def embedded(html: str) -> Any:
    """Return the figures of a page."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def look_up(value: Any, path: str) -> Any:
    """Return what the figures have at a path such as `rows.0.name`."""
    for name in path.split("."):
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value
