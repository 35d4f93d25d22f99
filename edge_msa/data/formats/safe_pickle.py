"""Load pickles of NumPy arrays and plain containers without running code from the file.

A pickle is a program that can call whatever `find_class` returns. Here that is a fixed table: the names in pickles of
NumPy arrays (as `numpy.core` and `numpy._core`), and the containers of the standard library. Dicts and lists of every
kind become plain ones. The NumPy names are mapped to safe replacements and not to NumPy: `dtype.__setstate__` trusts
the flags in the file, and an array of floats whose dtype claims to hold objects would make NumPy use the bytes of the
file as pointers.
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

from edge_msa.errors import DataError
from edge_msa_runtime.inputs.npz_files import has_valid_characters

_SPEC = re.compile(r"[|<>=]?(?:[biufcSU]\d+|O\d*)")  # bool, numbers, bytes, text, objects
_NDARRAY = object()  # stands for `numpy.ndarray` in the arguments of `_reconstruct`; cannot be called


class _RefusedError(pickle.UnpicklingError):
    """The pickle refers to a name that is not in the table."""


class _Call:
    """A function in the table, which a pickle can call but not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to modify a function")


class _Dtype:
    """A dtype. A pickle can set its byte order and nothing else."""

    __slots__ = ("dtype",)

    def __init__(self, spec: Any) -> None:
        if not isinstance(spec, str) or not _SPEC.fullmatch(spec):
            raise pickle.UnpicklingError(f"arrays of dtype {spec!r} are not supported")
        self.dtype: np.dtype[Any] = np.dtype(object) if spec.lstrip("|<>=").startswith("O") else np.dtype(spec)

    def __setstate__(self, state: Any) -> None:
        order, subarray, names, fields = state[1:5]
        if any(part is not None for part in (subarray, names, fields)):
            raise pickle.UnpicklingError("structured arrays are not supported")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """An array that checks the state that a pickle sets; `load_pickle` converts it to a plain array."""

    def __setstate__(self, state: Any, /) -> None:
        shape, dtype, fortran, data = state[-4:]  # a version may come first
        real = _real_dtype(dtype)
        sizes = tuple(int(size) for size in shape)
        if real.hasobject:
            fits = isinstance(data, list) and len(data) == math.prod(sizes)
        else:
            data = _to_bytes(data)
            fits = len(data) == math.prod(sizes) * real.itemsize
        if min(sizes, default=0) < 0 or not fits:
            raise pickle.UnpicklingError(f"the data of an array does not match its shape {sizes}")
        checked: Any = (1, sizes, real, bool(fortran), data)
        super().__setstate__(checked)
        _check_text(self)


def _real_dtype(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError("an array has no dtype")
    return dtype.dtype


def _to_bytes(data: Any) -> bytes | bytearray:
    """Return the bytes of an array, which Python 2 stored as text."""
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError(f"the data of an array is a {type(data).__name__}")
    return data


def _check_text(array: NDArray[Any]) -> NDArray[Any]:
    if not has_valid_characters(array):
        raise pickle.UnpicklingError("an array of text contains invalid characters")
    return array


def _dtype(spec: Any, _align: Any = False, _copy: Any = False) -> _Dtype:
    return _Dtype(spec)


def _reconstruct(subtype: Any, _shape: Any, _type: Any) -> _Array:
    if subtype is not _NDARRAY:
        raise pickle.UnpicklingError("only plain arrays are supported")
    return np.empty(0, np.int8).view(_Array)


def _scalar(dtype: Any, data: Any) -> Any:
    real = _real_dtype(dtype)
    if real.hasobject:
        raise pickle.UnpicklingError("a NumPy scalar holds an object")
    return _check_text(np.frombuffer(_to_bytes(data), real, 1))[0] if real.itemsize else real.type()


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    real = _real_dtype(dtype)
    if real.hasobject:
        raise pickle.UnpicklingError("an array of objects is stored as bytes")
    return _check_text(np.frombuffer(_to_bytes(buffer), real).reshape(shape, order=order))


def _encode(text: str, encoding: str = "latin1", errors: str = "strict") -> bytes:
    """Return bytes, which pickle protocol 2 stores as latin1 text. Reject other codecs, such as compression."""
    if encoding.lower().replace("-", "").replace("_", "") != "latin1":
        raise pickle.UnpicklingError(f"the encoding must be latin1, got {encoding!r}")
    return text.encode("latin1", errors)


class _Factory:
    """What makes the missing values of a `defaultdict`. It is only stored, so it cannot be called."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to modify a type")


class _Namespace(dict[str, Any]):
    """The attributes of an object whose only state they are; `load_pickle` converts it to a dict, or to its data."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("the attributes of an object are not a dict")
        self.update(state)


def _default_dict(_factory: Any = None, items: Any = ()) -> dict[Any, Any]:
    return dict(items)


def _queue(items: Any = (), _maxlen: Any = None) -> list[Any]:
    return list(items)


def _reconstruct_namespace(kind: Any, _base: Any, _state: Any) -> _Namespace:
    """Return a new object, as protocols 0 and 1 make it."""
    if kind is not _Namespace:
        raise pickle.UnpicklingError("only objects of the standard containers are supported")
    return _Namespace()


def _array(code: Any, items: Any = ()) -> NDArray[Any]:
    """Return the values of an `array.array` as protocols 0 to 2 store it."""
    if not isinstance(code, str) or code not in set("bBhHiIlLqQfd"):
        raise pickle.UnpicklingError(f"an array.array of code {code!r} is not supported")
    return np.array(list(items), np.dtype(code))


def _array_array(_kind: Any, code: Any, machine_format: Any, data: Any) -> NDArray[Any]:
    """Return the values of an `array.array`, which stores a machine format code as in its documentation."""
    if machine_format not in _MACHINE_FORMATS:
        raise pickle.UnpicklingError(f"an array.array of code {code!r} is not supported")
    return np.frombuffer(_to_bytes(data), _MACHINE_FORMATS[machine_format]).copy()


_MACHINE_FORMATS = {
    code: np.dtype(order + kind)
    for code, (order, kind) in enumerate(
        [("", kind) for kind in ("u1", "i1")]
        + [(order, kind) for kind in ("u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8") for order in "<>"]
    )
}


@functools.cache
def _allowed_names() -> dict[tuple[str, str], Any]:
    """Return all names that the pickle of a feature file may refer to."""
    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): _Call(_dtype),
        ("collections", "OrderedDict"): _Call(dict),
        ("collections", "Counter"): _Call(dict),
        ("collections", "defaultdict"): _Call(_default_dict),
        ("collections", "deque"): _Call(_queue),
        ("collections", "UserDict"): _Namespace,
        ("collections", "UserList"): _Namespace,
        ("collections", "ChainMap"): _Namespace,
        ("types", "SimpleNamespace"): _Call(_Namespace),
        ("array", "_array_reconstructor"): _Call(_array_array),
        ("array", "array"): _Call(_array),
        ("UserDict", "IterableUserDict"): _Namespace,
        ("UserList", "UserList"): _Namespace,
        ("copy_reg", "_reconstructor"): _Call(_reconstruct_namespace),
        ("copyreg", "_reconstructor"): _Call(_reconstruct_namespace),
        ("_codecs", "encode"): _Call(_encode),
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = _Call(_reconstruct)
        table[f"{core}.multiarray", "scalar"] = _Call(_scalar)
        table[f"{core}.numeric", "_frombuffer"] = _Call(_frombuffer)
    for builtins in ("builtins", "__builtin__"):
        for kind in (bytearray, bytes, complex, frozenset, set):
            table[builtins, kind.__name__] = _Call(kind)
        for factory in ("bool", "dict", "float", "int", "list", "object", "str", "tuple"):
            table[builtins, factory] = _Factory()
    return table


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _allowed_names()[module_name, global_name]
        except KeyError:
            raise _RefusedError(f"{module_name}.{global_name}") from None


def load_pickle(path: Path) -> Any:
    """Return the content of a pickle. Strings of Python 2 are decoded as latin1.

    Raises:
        DataError: The pickle refers to something other than NumPy arrays and plain containers (the message has the
            name), is truncated, or is not a pickle.
    """
    try:
        with path.open("rb") as file:
            return _to_plain(_SafeUnpickler(file, encoding="latin1").load())
    except _RefusedError as refused:
        raise DataError(
            f"{path} must contain only NumPy arrays and plain containers, got {str(refused)!r}, which is neither and "
            "could run code. Save the features again as arrays."
        ) from None
    except EOFError:
        raise DataError(f"{path} is truncated: the pickle ends before its last object. Copy it again.") from None
    except MemoryError:
        raise DataError(
            f"{path} needs more memory than is available. It is damaged, or too large for this machine."
        ) from None
    except OSError as error:
        raise DataError(f"Cannot read {path} ({error.strerror or error}).") from None
    except Exception as error:  # noqa: BLE001 - damaged opcodes can make constructors raise any exception
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "truncated" in reason or "exhausted" in reason:
            raise DataError(f"{path} is truncated ({reason}). Copy it again.") from None
        raise DataError(f"{path} is not a pickle of features, or is damaged ({reason}).") from None


def _to_plain(loaded: Any) -> Any:
    """Replace each `_Array` in containers with a plain array, and each `_Namespace` with a dict or list."""
    if isinstance(loaded, _Array):
        return loaded.view(np.ndarray)
    if isinstance(loaded, _Namespace):
        return _to_plain(_unwrap(loaded))
    if isinstance(loaded, dict):
        return {key: _to_plain(value) for key, value in loaded.items()}
    if isinstance(loaded, (list, tuple)):
        return type(loaded)(map(_to_plain, loaded))
    return loaded


def _unwrap(namespace: _Namespace) -> Any:
    """Return what a `UserDict`, `UserList`, `ChainMap` or `SimpleNamespace` contains."""
    if set(namespace) == {"data"} and isinstance(namespace["data"], (dict, list)):
        return namespace["data"]
    if set(namespace) == {"maps"} and isinstance(namespace["maps"], list):
        merged: dict[Any, Any] = {}
        for part in reversed(namespace["maps"]):
            merged.update(part)
        return merged
    return dict(namespace)
