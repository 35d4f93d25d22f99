"""MkDocs hook: replaces each line `<!-- generated: NAME -->` of a page by text that is generated from the code."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# MkDocs loads this file by its path, so the packages must be found first: this one, and those that it describes.
_DOCS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_DOCS), *(str(_DOCS.parent / name) for name in (".", "export", "calibrate", "runtime"))]

from mkdocs.config.defaults import MkDocsConfig  # noqa: E402
from mkdocs.plugins import event_priority  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402

from site_pages import commands, devices, errors, python_names, recipes, records  # noqa: E402

_ROW = re.compile(r"^\|.*$", re.MULTILINE)
_CODE = re.compile(r"`[^`]+`")
_INLINE_CODE = re.compile(r"<code>[^<]+</code>")
_OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
_ONLY_IN_REPOSITORY = re.compile(r"^<!-- not on the site -->\n(?:>.*\n)+\n?", re.MULTILINE)
MARKER = re.compile(r"^<!-- generated: (\S+) -->$", re.MULTILINE)
GENERATORS: dict[str, Callable[[], str]] = {
    "edge-msa": commands.describe_toolkit,
    "edge-msa-run": commands.describe_runtime,
    "recipes": recipes.describe_recipes,
    "presets": recipes.describe_presets,
    "exit-codes": errors.describe_exit_codes,
    "error-classes": errors.describe_classes,
    "error-messages": errors.describe_messages,
    "devices": devices.describe_devices,
    "device-fields": devices.describe_fields,
    "manifest": records.describe_manifest,
    "run": records.describe_run,
    "benchmark": records.describe_benchmark,
    "report": records.describe_report,
    "toolkit-api": python_names.describe_toolkit,
    "runtime-api": python_names.describe_runtime,
}


NOTEBOOKS = ("examples/quickstart.ipynb",)
"""Notebooks outside `docs/` that are pages of the site."""


@event_priority(100)  # before the plugin that renders notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebooks to the pages. MkDocs calls this once per build."""
    for name in NOTEBOOKS:
        files.append(File(name, str(_DOCS.parent), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, **_options: Any) -> str:
    """Return the page with its generated parts, without what only people who read the page of the repository need.

    MkDocs calls this for every page.
    """
    page = MARKER.sub(lambda match: GENERATORS[match[1]](), _ONLY_IN_REPOSITORY.sub("", markdown))
    # GitHub wants bars in the code of a table cell escaped. Python-Markdown would show the backslash.
    return _ROW.sub(lambda row: _CODE.sub(lambda code: code[0].replace("\\|", "|"), row[0]), page)


def on_page_content(html: str, **_options: Any) -> str:
    """Return the page with every option in code marked, so that no line breaks inside it.

    MkDocs calls this for every page.
    """
    mark = r'<span class="option">\g<0></span>'
    return _INLINE_CODE.sub(lambda code: _OPTION.sub(mark, code[0]), html)
