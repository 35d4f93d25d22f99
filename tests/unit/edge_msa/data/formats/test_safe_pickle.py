from __future__ import annotations

import os
import pickle
import struct
from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_msa.data.formats.safe_pickle import load_pickle
from edge_msa.errors import DataError


class _Attack:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], tuple(self.call[1:])


def _write(path: Path, content: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_all_pickle_protocols_are_loaded(tmp_path: Path, protocol: int) -> None:
    content = OrderedDict(
        x=np.arange(6, dtype=np.float32).reshape(2, 3),
        names=np.array(["a", b"b", None], dtype=object),
        scalar=np.float64(2.5),
        fortran=np.asfortranarray(np.eye(3)),
        rest=[(1, 2.0), {3}, b"\xff", frozenset({4}), bytearray(b"x"), complex(1, 2)],
    )
    loaded = load_pickle(_write(tmp_path / "x.pkl", content, protocol))
    np.testing.assert_array_equal(loaded["x"], content["x"])
    np.testing.assert_array_equal(loaded["fortran"], np.eye(3))
    assert loaded["names"].tolist() == ["a", b"b", None]
    assert loaded["scalar"] == 2.5
    assert loaded["rest"] == content["rest"]


def _python2(values: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    """{'x': values, 'id': 'caf\\xe9'} as pickled by NumPy on Python 2: byte strings, numpy.core, integer flags."""
    raw = values.tobytes()
    shape = b"".join(b"I%d\n" % size for size in values.shape)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
        b"(I1\n(" + shape + b"tcnumpy\ndtype\n(U\x02f4I0\nI1\ntR(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\n"
        b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    )
    return b"\x80\x02}(U\x01x" + array + b"U\x02idU\x04caf\xe9u."


def test_python_2_pickles_are_loaded_without_warnings(tmp_path: Path) -> None:
    values = np.array([[1.5, -2.0], [np.pi, 200.0]], dtype="<f4")
    (tmp_path / "old.pkl").write_bytes(_python2(values))
    loaded = load_pickle(tmp_path / "old.pkl")
    np.testing.assert_array_equal(loaded["x"], values)
    assert loaded["id"] == "café"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ((os.system, "test predictions pwned"), "system"),
        ((eval, "1"), "builtins.eval"),
        ((getattr, "x", "upper"), "builtins.getattr"),
        ((__import__, "os"), "builtins.__import__"),
        ((np.load, "x"), "numpy.load"),
        ((np.memmap, "x"), "numpy.memmap"),
    ],
)
def test_a_pickle_that_calls_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=name.replace(".", r"\.")) as caught:
        load_pickle(_write(tmp_path / "x.pkl", {"train": _Attack(*call)}))
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pkl"]


def test_dotted_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93.")
    with pytest.raises(DataError, match=r"numpy\.ndarray\.__new__"):
        load_pickle(tmp_path / "x.pkl")


def test_only_the_latin1_codec_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"c_codecs\nencode\n(Vx\nVzip_codec\ntR.")
    with pytest.raises(DataError, match="zip_codec"):
        load_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("keep", [0, 1, 10, 60, 200, -1])
def test_a_truncated_pickle_is_refused(tmp_path: Path, keep: int) -> None:
    whole = pickle.dumps({"x": np.ones((20, 20)), "y": ["a"] * 5}, protocol=4)
    (tmp_path / "x.pkl").write_bytes(whole[:keep])
    with pytest.raises(DataError, match=r"x\.pkl is truncated") as caught:
        load_pickle(tmp_path / "x.pkl")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip", b"\x89PNG\r\n\x1a\n", b"video,text\n1,hello\n", b"\x80\x09."])
def test_another_kind_of_file_is_not_a_pickle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DataError, match="not a pickle"):
        load_pickle(tmp_path / "x.pkl")


def _tampered(old: bytes, new: bytes, content: Any = None) -> bytes:
    whole = pickle.dumps(np.arange(5.0) if content is None else content, protocol=2)
    assert whole.count(old) == 1
    return whole.replace(old, new)


_STATE = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK"


def test_dtype_flags_of_a_pickle_are_ignored(tmp_path: Path) -> None:
    # 0x3f says "these floats are pointers to objects"; NumPy's own __setstate__ would believe it and follow them.
    (tmp_path / "x.pkl").write_bytes(_tampered(_STATE + b"\x00", _STATE + b"\x3f"))
    loaded = load_pickle(tmp_path / "x.pkl")
    np.testing.assert_array_equal(loaded, np.arange(5.0))
    assert (type(loaded), loaded.dtype.flags) == (np.ndarray, np.dtype("f8").flags)


def test_a_shape_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(_tampered(b"K\x05\x85", b"K\x06\x85"))
    with pytest.raises(DataError, match=r"does not match its shape \(6,\)"):
        load_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("protocol", [2, 5])
def test_invalid_characters_are_refused(tmp_path: Path, protocol: int) -> None:
    text = np.full(2, 0x110000, dtype="u4").view("U1")
    with pytest.raises(DataError, match="invalid characters"):
        load_pickle(_write(tmp_path / "x.pkl", text, protocol))


def test_structured_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are not supported"):
        load_pickle(_write(tmp_path / "x.pkl", np.zeros(2, dtype=[("a", "f4"), ("b", "O")])))


def test_a_pickle_cannot_modify_functions(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__U\x01xs\x86b.")
    with pytest.raises(DataError, match="modify a function"):
        load_pickle(tmp_path / "x.pkl")


def test_big_endian_arrays_and_empty_scalars_are_loaded(tmp_path: Path) -> None:
    content = {"x": np.arange(3, dtype=">i4"), "e": np.str_(""), "u": np.array(["é", "b"]), "n": np.zeros((0, 2))}
    loaded = load_pickle(_write(tmp_path / "x.pkl", content))
    assert (loaded["x"].tolist(), loaded["e"], loaded["u"].tolist(), loaded["n"].shape) == (
        [0, 1, 2],
        "",
        ["é", "b"],
        (0, 2),
    )


def test_damage_inside_an_array_is_a_data_error(tmp_path: Path) -> None:
    whole = pickle.dumps({"x": np.arange(5.0)}, protocol=2)
    (tmp_path / "x.pkl").write_bytes(whole.replace(b"f8", b"zz"))
    with pytest.raises(DataError, match="damaged"):
        load_pickle(tmp_path / "x.pkl")


@pytest.mark.case("F28")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (defaultdict(list, a=[1]), {"a": [1]}),
        (defaultdict(OrderedDict, a=OrderedDict(b=2)), {"a": {"b": 2}}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (deque([1, 2], maxlen=3), [1, 2]),
        (UserDict({"a": 1}), {"a": 1}),
        (UserList([1, 2]), [1, 2]),
        (ChainMap({"a": 1}, {"a": 2, "b": 3}), {"a": 1, "b": 3}),
        (SimpleNamespace(a=[1]), {"a": [1]}),
    ],
)
def test_containers_of_the_standard_library_are_loaded(
    tmp_path: Path, content: Any, expected: Any, protocol: int
) -> None:
    loaded = load_pickle(_write(tmp_path / "x.pkl", content, protocol))
    assert (loaded, type(loaded)) == (expected, type(expected))


@pytest.mark.case("F28")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_inside_containers_are_plain_arrays(tmp_path: Path, protocol: int) -> None:
    content = defaultdict(dict, train={"x": np.ones(2), "lengths": array("i", [3, 4]), "y": array("d", [0.5])})
    loaded = load_pickle(_write(tmp_path / "x.pkl", content, protocol))["train"]
    assert (loaded["lengths"].tolist(), loaded["y"].tolist(), type(loaded["x"])) == ([3, 4], [0.5], np.ndarray)


@pytest.mark.case("F28")
@pytest.mark.parametrize("factory", [eval, os.system, print])
def test_a_factory_that_could_run_code_is_refused(tmp_path: Path, factory: Any) -> None:
    with pytest.raises(DataError, match=f"{factory.__name__}'.* could run code"):
        load_pickle(_write(tmp_path / "x.pkl", defaultdict(factory)))


@pytest.mark.case("F28")
def test_a_factory_cannot_be_called(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not callable"):
        load_pickle(_write(tmp_path / "x.pkl", _Attack(list, "abc")))
