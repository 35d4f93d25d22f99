"""Files in a bundle's folder that the manifest does not list: which are ignored, and which are refused.

Nothing reads an unlisted file: graphs, weights, tokenizer, table and golden vectors are found by the manifest, and
graphs may only refer to the weights that it names. Operating systems, version control and editors leave files
everywhere; they are ignored with a note, and so are other files beside the bundle's own folders. Refused are

- anything that is not a regular file or folder: links, pipes, devices;
- code, which Python would import from the folder that it is started in;
- other files in the folders that hold graphs or the text input, where they look like a part of the bundle: they show
  that two bundles were mixed.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path, PurePosixPath
from typing import Collection, Iterator

from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.errors import BundleError

_CODE_SUFFIXES = frozenset({".py", ".pyc", ".pyo", ".pyd", ".pyw", ".pth", ".so", ".dll", ".dylib", ".exe"})
_CLUTTER_FOLDERS = re.compile(
    r"\..+|__MACOSX|__pycache__|@eaDir|#recycle|lost\+found|\$RECYCLE\.BIN|System Volume Information", re.IGNORECASE
)
_CLUTTER_FILES = re.compile(
    r"\..+|.*~|#.*#|Thumbs\.db|ehthumbs\.db|desktop\.ini|Icon\r|.*\.(bak|backup|old|orig|rej|tmp|temp|sw[a-p]|part|log)",
    re.IGNORECASE,
)
_SHOWN = 3


def check_unlisted_files(
    root: Path, listed: Collection[str], listing: str = MANIFEST_NAME, container: str = "bundle"
) -> tuple[str, ...]:
    """Return a note on the ignored files, or nothing if there are none.

    Args:
        root: the bundle's folder.
        listed: paths of all listed files.
        listing: name of the file that lists them.
        container: what to copy again if there are others: the bundle or a cascade.

    Raises:
        BundleError: an unlisted file must not be in a bundle.
    """
    folders = {PurePosixPath(name).parent for name in listed} - {PurePosixPath()}
    ignored = []
    for name, mode in sorted(_unlisted(root, listed)):
        pure = PurePosixPath(name)
        reason = _problem(pure, mode, in_listed_folder=any(folder in pure.parents for folder in folders))
        if reason:
            raise BundleError(
                f"{listing} does not list {name!a}, which {reason}. Move your own files "
                f"elsewhere, or copy the {container} again."
            )
        ignored.append(ascii(name)[1:-1])
    if not ignored:
        return ()
    more = f" and {len(ignored) - _SHOWN} more" if len(ignored) > _SHOWN else ""
    return (f"Ignored, because the manifest does not list them: {', '.join(ignored[:_SHOWN])}{more}",)


def is_code(name: str) -> bool:
    """Return whether a file can be imported or executed. A wheel is not: it must be installed first."""
    return PurePosixPath(name).suffix.lower() in _CODE_SUFFIXES


def _problem(name: PurePosixPath, mode: int, *, in_listed_folder: bool) -> str:
    """Return why a file must not be in a bundle; empty if it is ignored."""
    if not stat.S_ISREG(mode):
        return "is a link or not a regular file"
    if any(_CLUTTER_FOLDERS.fullmatch(part) for part in name.parts[:-1]) or _CLUTTER_FILES.fullmatch(name.name):
        return ""
    if is_code(name.name):
        return "is code"
    return "looks like a part of the bundle" if in_listed_folder else ""


def _unlisted(root: Path, listed: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield the path and the mode of each file that is not listed. A linked folder counts as a file."""
    for folder, folders, files in os.walk(str(root)):
        current = Path(folder)
        linked = [name for name in folders if (current / name).is_symlink()]
        for name in files + linked:
            path = (current / name).relative_to(root).as_posix()
            if path not in listed:
                yield path, (current / name).lstat().st_mode
