"""Pages from templates: one look for all, everything inline, every text escaped."""

from __future__ import annotations

import importlib.resources
from typing import Any

_SHARED = ("edge_msa.reporting", "style.css", "grid.html.j2")


def fill(package: str, template: str, **content: Any) -> str:
    """The template that lies in that package, filled; it may include the report's `style.css` and `grid.html.j2`."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    room, *names = _SHARED
    texts = {name: _text(room, name) for name in names} | {template: _text(package, template)}
    environment = Environment(
        loader=DictLoader(texts), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**content)


def _text(package: str, name: str) -> str:
    return importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
