"""HTML pages from Jinja templates: one style, everything inline, all text escaped."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_SHARED_PACKAGE = "edge_msa.reporting"
_SHARED_FILES = ("base.html.j2", "macros.html.j2", "style.css", "report.css", "report.js")


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        header: Column titles.
        rows: Cells of each row. A row whose first cell ends with `*` is highlighted.
        caption: Text above the table.
        left: Number of leading columns that are aligned left. The other columns hold numbers and are aligned right.
        notes: Paragraphs below the table.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    left: int = 1
    notes: Sequence[str] = ()


def render_template(package: str, template: str, **content: Any) -> str:
    """Render a template of a package.

    The template may extend `base.html.j2`, import `macros.html.j2`, and include `report.css` and `report.js`, which all
    pages share. It may include files of its own package.

    Args:
        package: Dotted name of the package that contains the template.
        template: File name of the template.
        **content: Variables of the template. Text is escaped; pass `markupsafe.Markup` for trusted markup such as SVG.
    """
    from jinja2 import DictLoader, Environment, StrictUndefined

    sources = {name: _load_text(_SHARED_PACKAGE, name) for name in _SHARED_FILES}
    sources[template] = _load_text(package, template)
    included = re.findall(r'{% include "([\w.]+)" %}', sources[template])
    sources |= {name: _load_text(package, name) for name in included if name not in sources}
    environment = Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["with_code"] = _with_code
    environment.filters["with_options"] = _with_options
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return environment.get_template(template).render(**content)


def _with_code(text: str) -> str:
    """Return a text as HTML, escaped, with the parts in backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped above


def _with_options(command: str) -> str:
    """Return a command as HTML, escaped, without line breaks inside its options."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<!\S)(--?[a-z][\w-]*)", r'<span class="option">\1</span>', str(escape(command))))  # noqa: S704 - escaped above


def _load_text(package: str, name: str) -> str:
    return importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
