"""A pickle reader that cannot run code: NumPy arrays and plain containers, nothing else.

A pickle is a program; what it can do is what `find_class` hands it. Here that is a closed table of the names that
NumPy's own pickles call (both spellings, `numpy.core` and `numpy._core`) and of containers of values alone. NumPy's
names lead to stand-ins, not to NumPy: `dtype.__setstate__` believes any flags that it is given, and an array of floats
whose dtype claims to hold objects would make NumPy follow the file's bytes as pointers.
"""

from __future__ import annotations

import functools
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.identifiers import is_text
from edge_msa.errors import DataError

_SPEC = re.compile(r"[|<>=]?(?:[biufcSU]\d+|O\d*)")  # bool, numbers, bytes, text, objects
_NDARRAY = object()  # what `numpy.ndarray` means in a pickle: a word to say to `_reconstruct`, nothing to call


class _RefusedError(pickle.UnpicklingError):
    """The pickle names something that is not in the table."""


class _Call:
    """A function in the table; a pickle may call it and cannot change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to change a function")


class _Dtype:
    """A dtype whose state gives its byte order and nothing else."""

    __slots__ = ("dtype",)

    def __init__(self, spec: Any) -> None:
        if not isinstance(spec, str) or not _SPEC.fullmatch(spec):
            raise pickle.UnpicklingError(f"arrays of dtype {spec!r} are not features")
        self.dtype: np.dtype[Any] = np.dtype(object) if spec.lstrip("|<>=").startswith("O") else np.dtype(spec)

    def __setstate__(self, state: Any) -> None:
        order, subarray, names, fields = state[1:5]
        if any(part is not None for part in (subarray, names, fields)):
            raise pickle.UnpicklingError("structured arrays are not features")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """An array that checks what a pickle makes of it; `load_pickle` gives plain arrays back."""

    def __setstate__(self, state: Any, /) -> None:
        shape, dtype, fortran, data = state[-4:]  # a version may come first
        real = _real_dtype(dtype)
        sizes = tuple(int(size) for size in shape)
        if real.hasobject:
            fits = isinstance(data, list) and len(data) == math.prod(sizes)
        else:
            data = _raw(data)
            fits = len(data) == math.prod(sizes) * real.itemsize
        if min(sizes, default=0) < 0 or not fits:
            raise pickle.UnpicklingError(f"an array of shape {sizes} does not have that much data")
        checked: Any = (1, sizes, real, bool(fortran), data)
        super().__setstate__(checked)
        _check_text(self)


def _real_dtype(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("an array comes without a dtype")
    return dtype.dtype


def _raw(data: Any) -> bytes | bytearray:
    """An array's bytes, which Python 2 wrote as text."""
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError(f"an array's data is a {type(data).__name__}")
    return data


def _check_text(array: NDArray[Any]) -> NDArray[Any]:
    if not is_text(array):
        raise pickle.UnpicklingError("an array of text holds characters that do not exist")
    return array


def _dtype(spec: Any, _align: Any = False, _copy: Any = False) -> _Dtype:
    return _Dtype(spec)


def _reconstruct(subtype: Any, _shape: Any, _type: Any) -> _Array:
    if subtype is not _NDARRAY:
        raise pickle.UnpicklingError("only plain arrays are read")
    return np.empty(0, np.int8).view(_Array)


def _scalar(dtype: Any, data: Any) -> Any:
    real = _real_dtype(dtype)
    if real.hasobject:
        raise pickle.UnpicklingError("a NumPy scalar that holds an object")
    return _check_text(np.frombuffer(_raw(data), real, 1))[0] if real.itemsize else real.type()


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    real = _real_dtype(dtype)
    if real.hasobject:
        raise pickle.UnpicklingError("an array of objects as bytes")
    return _check_text(np.frombuffer(_raw(buffer), real).reshape(shape, order=order))


def _encode(text: str, encoding: str = "latin1", errors: str = "strict") -> bytes:
    """How pickles of protocol 2 spell bytes; other codecs (compression among them) have no place in one."""
    if encoding.lower().replace("-", "").replace("_", "") != "latin1":
        raise pickle.UnpicklingError(f"_codecs.encode asks for {encoding!r}; NumPy's pickles only use latin1")
    return text.encode("latin1", errors)


@functools.cache
def _admitted() -> dict[tuple[str, str], Any]:
    """Everything that a feature file's pickle may name."""
    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): _Call(_dtype),
        ("collections", "OrderedDict"): _Call(dict),
        ("_codecs", "encode"): _Call(_encode),
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = _Call(_reconstruct)
        table[f"{core}.multiarray", "scalar"] = _Call(_scalar)
        table[f"{core}.numeric", "_frombuffer"] = _Call(_frombuffer)
    for builtins in ("builtins", "__builtin__"):
        for kind in (bytearray, bytes, complex, frozenset, set):
            table[builtins, kind.__name__] = _Call(kind)
    return table


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _admitted()[module_name, global_name]
        except KeyError:
            raise _RefusedError(f"{module_name}.{global_name}") from None


def load_pickle(path: Path) -> Any:
    """What the pickle at `path` holds; strings of Python 2 arrive as text (latin1).

    Raises:
        DataError: it names anything but NumPy arrays and plain containers (the message has the name), is truncated, or
            is not a pickle.
    """
    try:
        with path.open("rb") as file:
            return _plain(_SafeUnpickler(file, encoding="latin1").load())
    except _RefusedError as refused:
        raise DataError(
            f"{path} asks for {str(refused)!r}, which could run code: only NumPy arrays and plain containers are read; "
            "save the features again as those"
        ) from None
    except EOFError:
        raise DataError(f"{path} is truncated: the pickle ends before its last object; copy it again") from None
    except MemoryError:
        raise DataError(f"{path} asks for more memory than there is; it is damaged, or too large here") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001 - damaged opcodes make constructors raise anything at all
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "truncated" in reason or "exhausted" in reason:
            raise DataError(f"{path} is truncated ({reason}); copy it again") from None
        raise DataError(f"{path} is not a pickle of features, or is damaged ({reason})") from None


def _plain(loaded: Any) -> Any:
    """The same with plain arrays in its dicts, lists and tuples."""
    if isinstance(loaded, _Array):
        return loaded.view(np.ndarray)
    if isinstance(loaded, dict):
        return {key: _plain(value) for key, value in loaded.items()}
    if isinstance(loaded, (list, tuple)):
        return type(loaded)(map(_plain, loaded))
    return loaded
