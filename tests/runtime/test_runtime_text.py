"""Words at the device: a toy tokenizer, a table of twelve rows, and an encoder whose frames depend on every word."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edge_msa_runtime import BundleError, EngineUnavailableError, UsageError, load
from edge_msa_runtime.bench import bench_session
from edge_msa_runtime.bundle import digest, open_bundle
from edge_msa_runtime.cli import main
from edge_msa_runtime.golden import read_golden, verify_bundle
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.words import Word

VOCABULARY = ["[UNK]", "[CLS]", "[SEP]", "i", "love", "it", "hate", "film", "##s", "!", "not", "the"]
MAX_TOKENS, DIM = 10, 4
RNG = np.random.default_rng(2)
ROWS = RNG.integers(-127, 128, size=(len(VOCABULARY), DIM)).astype(np.int8)
SCALES = RNG.uniform(0.01, 0.03, size=len(VOCABULARY)).astype("f4")
FLOATS = (ROWS * SCALES[:, None]).astype("f4")

Make = Callable[[str], Path]


def _tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordPiece({word: index for index, word in enumerate(VOCABULARY)}, unk_token=VOCABULARY[0]))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    made.enable_padding(length=MAX_TOKENS)  # a file may ask for padding, which nobody here wants
    return made


def _write_front(path: Path, length: int) -> None:
    """Rows of the table plus a tenth of the sum of all valid ones."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Unsqueeze", ["valid", "last"], ["mask"]),
        helper.make_node("Mul", ["rows", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"]),
        helper.make_node("Mul", ["sum", "tenth"], ["part"]),
        helper.make_node("Add", ["rows", "part"], ["frames"]),
    ]
    values = {"table": FLOATS, "last": np.array([2]), "middle": np.array([1]), "tenth": np.array(0.1, "f4")}
    told = [("ids", TensorProto.INT64, [1, length]), ("valid", TensorProto.FLOAT, [1, length])]
    graph = helper.make_graph(
        nodes,
        "front",
        [helper.make_tensor_value_info(*item) for item in told],
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, length, DIM])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _encoded(ids: list[int]) -> Any:
    return FLOATS[ids] + 0.1 * FLOATS[ids].sum(axis=0)


def _ids(text: str, *, special: bool = False) -> list[int]:
    made = _tokenizer()
    made.no_padding()
    ids: list[int] = made.encode(text, add_special_tokens=special).ids
    return ids


@pytest.fixture
def make(make_bundle: Callable[..., Path], seal: Callable[..., None]) -> Make:
    """The usual bundle of language and audio, which reads words by a `table` or a `graph`."""

    def write(front: str, names: tuple[str, ...] = ("language", "audio")) -> Path:
        folder = make_bundle(names=names)
        (folder / "language").mkdir()
        _tokenizer().save(str(folder / "language/tokenizer.json"))
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        added = ["language/tokenizer.json"]
        if front == "table":
            np.savez(folder / "language/table.npz", rows=ROWS, scales=SCALES)
            added.append("language/table.npz")
        for length in (6, MAX_TOKENS) if front == "graph" else ():
            added.append(f"graphs/front.{length}.onnx")
            _write_front(folder / added[-1], length)
            manifest["graphs"] += [
                {**manifest["graphs"][0], "engine": engine, "role": "front", "scope": str(length), "file": added[-1]}
                for engine in manifest["engines"]
            ]
        seal(
            folder,
            {
                "graphs": manifest["graphs"],
                "files": {**manifest["files"], **{name: digest(folder / name) for name in added}},
                "language": {
                    "tokenizer": added[0],
                    "front": front,
                    "table": "language/table.npz" if front == "table" else "",
                    "max_tokens": MAX_TOKENS,
                    "parity": 0.0,
                },
            },
        )
        return folder

    return write


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_words_read_as_the_rows_of_their_tokens(make: Make, expected: Callable[..., Any], engine: str) -> None:
    pytest.importorskip(engine)
    with load(make("table"), engine) as session:
        for text in ("I love it!", "hate", "not the films", "unheard-of"):
            wanted = expected({"language": FLOATS[_ids(text)]})[0]
            assert session.predict(language=text).score == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_words_read_as_the_encoder_s_frames_with_special_tokens(
    make: Make, expected: Callable[..., Any], engine: str
) -> None:
    pytest.importorskip(engine)
    with load(make("graph"), engine) as session:
        for text in ("i love it", "not the films at all !", "it"):  # the second takes the longer graph
            wanted = expected({"language": _encoded(_ids(text, special=True))})[0]
            assert session.predict(language=text).score == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("front", ["table", "graph"])
def test_a_longer_text_loses_its_end(make: Make, front: str) -> None:
    with load(make(front)) as session:
        text = "i love it " * 6
        kept = " ".join(text.split()[: MAX_TOKENS - (2 if front == "graph" else 0)])
        assert session.predict(language=text).outputs == session.predict(language=kept).outputs
        assert session.predict(language=text).outputs != session.predict(language="i love it").outputs


@pytest.mark.parametrize("front", ["table", "graph"])
def test_frames_and_other_modalities_are_read_beside_words(
    make: Make, frames: Callable[..., Any], expected: Callable[..., Any], front: str
) -> None:
    with load(make(front)) as session:
        given = {"language": frames("language", 5), "audio": frames("audio", 6)}
        assert session.predict(**given).score == pytest.approx(expected(given)[0], abs=1e-5)
        ids = _ids("i love it", special=front == "graph")
        rows = FLOATS[ids] if front == "table" else _encoded(ids)
        reading = session.predict(language="i love it", audio=given["audio"])
        assert reading.score == pytest.approx(expected({**given, "language": rows})[0], abs=1e-5)
        assert reading.subset == "la"


@pytest.mark.parametrize("front", ["table", "graph"])
@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\x00\x01"])
def test_text_without_a_token_is_an_absent_modality(
    make: Make, frames: Callable[..., Any], front: str, text: str
) -> None:
    with load(make(front)) as session:
        audio = frames("audio", 6)
        assert session.predict(language=text, audio=audio).subset == "a"
        with pytest.raises(UsageError, match="there is no word in"):
            session.predict(language=text)


@pytest.mark.parametrize("front", ["table", "graph"])
@pytest.mark.parametrize(
    "text",
    ["a" * 10_000, "\U0001f600\U0001f3fd!", "любовь 愛 love حب", "i\x00love\x07it", "\u202elove\u0301", "!" * 500],
)
def test_odd_text_is_read(make: Make, front: str, text: str) -> None:
    with load(make(front)) as session:
        whole = session.predict(language=text)
        stream = session.stream()
        stream.push(language=text)
        assert stream.reading().score == pytest.approx(whole.score, abs=1e-5)


@pytest.mark.parametrize("front", ["table", "graph"])
def test_half_of_a_surrogate_pair_is_refused_and_nothing_is_taken(
    make: Make, frames: Callable[..., Any], front: str
) -> None:
    with load(make(front)) as session:
        with pytest.raises(UsageError, match=r"character 5 is '\\ud83d', half of a pair"):
            session.predict(language="love \ud83d")
        stream = session.stream()
        with pytest.raises(UsageError, match="half of a pair"):
            stream.push(language="love \ud83d", audio=frames("audio", 3))
        assert (stream.words, stream.subset) == ((), "")


@pytest.mark.parametrize("front", ["table", "graph"])
def test_any_chunking_between_words_reads_as_the_whole_text(make: Make, front: str) -> None:
    text = "i love the films ! not it"
    with load(make(front)) as session:
        whole = session.predict(language=text).score
        for cuts in ([text], text.split(), ["i love", "", "the films !", "not it"]):
            stream = session.stream()
            for part in cuts:
                stream.push(language=part)
                if front == "graph" and part:
                    stream.reading()  # a reading between pushes leaves no trace in those after it
            assert stream.reading().score == pytest.approx(whole, abs=1e-5)
            assert [word.text for word in stream.words] == text.split()


@pytest.mark.parametrize("front", ["table", "graph"])
def test_a_stream_tells_the_words_it_has_read_with_their_times(make: Make, front: str) -> None:
    with load(make(front)) as session:
        stream = session.stream()
        stream.push(language=["i", "love"], times=[(0.1, 0.3), (0.3, 0.6)])
        stream.push(language="it")
        stream.push(language="! " * 12, times=[(second, second + 1.0) for second in range(1, 13)])
        stream.reading()
        room = MAX_TOKENS - (2 if front == "graph" else 0)
        assert stream.words[:4] == (Word("i", 0.1, 0.3), Word("love", 0.3, 0.6), Word("it"), Word("!", 1.0, 2.0))
        assert len(stream.words) == room
        stream.push(language="love")
        assert stream.reading().score == pytest.approx(
            session.predict(language=" ".join(word.text for word in stream.words)).score, abs=1e-5
        )
        assert len(stream.words) == room
        stream.reset()
        assert stream.words == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"language": "i love", "times": [(0, 1)]}, "there are 1 times for 2 words"),
        ({"language": ["i"], "times": [(1.0, 0.5)]}, r"the time of 'i' is \(1, 0.5\)"),
        ({"language": ["i"], "times": [(float("nan"), 1)]}, "give finite seconds"),
        ({"language": ["i"], "times": [(0.1, 0.2)]}, "after a word at 0.5"),
        ({"language": ["i"], "times": 3}, "times are no pairs of seconds"),
        ({"language": ["i"], "times": [("a", "b")]}, "times are no pairs of seconds"),
        ({"times": [(0, 1)]}, "times were given without words"),
        ({"language": np.zeros((2, DIM), "f4")}, "language came as words before"),
        ({"language": "i", "valid": {"language": np.ones(1, bool)}}, "mask for 'language'"),
    ],
)
def test_words_that_do_not_fit_are_refused(make: Make, given: dict[str, Any], said: str) -> None:
    stream = load(make("table")).stream()
    stream.push(language=["love"], times=[(0.5, 0.6)])
    before = stream.reading().outputs
    with pytest.raises(UsageError, match=said):
        stream.push(**given)
    assert (stream.reading().outputs, len(stream.words)) == (before, 1)


def test_words_after_frames_are_refused(make: Make, frames: Callable[..., Any]) -> None:
    session = load(make("table"))
    stream = session.stream()
    stream.push(language=frames("language", 2))
    with pytest.raises(UsageError, match="language came as frames before"):
        stream.push(language="love")
    with pytest.raises(UsageError, match="words with a mask"):
        session.predict(language="love", valid={"language": np.ones(1, bool)})


def test_a_bundle_that_reads_frames_alone_says_so(shared_bundle: Path) -> None:
    session = load(shared_bundle)
    said = r"given as words, this bundle reads frames \(T, 4\); export one that reads words"
    with pytest.raises(UsageError, match=said):
        session.predict(language="i love it")
    with pytest.raises(UsageError, match=said):
        session.stream().push(language=["i"])


def test_without_the_tokenizers_library_words_end_with_4_and_frames_are_read(
    make: Make, frames: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make("table")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    session = load(path)
    assert session.predict(language=frames("language", 3)).subset == "l"
    with pytest.raises(EngineUnavailableError, match=r"pip install 'edge-msa-runtime\[text\]'"):
        session.predict(language="love")
    assert main(["predict", str(path), "--language", "i love it"]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tokenizer.json", b"{}", "tokenizer.json is no tokenizer"),
        ("tokenizer.json", b"\xff\xfe", "tokenizer.json is no tokenizer"),
        ("table.npz", b"PK", "table.npz is no table of rows"),
        ("table.npz", (ROWS[:, :2], SCALES), r"rows int8 \(12, 2\) and scales \(12,\), wanted are int8 \(V, 4\)"),
        ("table.npz", (FLOATS, SCALES), "rows float32"),
        ("table.npz", (ROWS[:3], SCALES[:3]), "the tokenizer knows id 5, the table has 3 rows"),
    ],
)
def test_damaged_files_of_words_are_named(
    make: Make, seal: Callable[..., None], file: str, content: Any, said: str
) -> None:
    folder = make("table")
    place = folder / "language" / file
    if isinstance(content, bytes):
        place.write_bytes(content)
    else:
        np.savez(place, rows=content[0], scales=content[1])
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    seal(folder, {"files": {**files, f"language/{file}": digest(place)}})
    with pytest.raises(BundleError, match=said):
        load(folder).predict(language="i love it")


@pytest.mark.parametrize(
    "changes",
    [{"front": "other"}, {"table": ""}, {"front": "graph"}, {"max_tokens": 0}, {"tokenizer": "language/absent.json"}],
)
def test_a_manifest_that_contradicts_itself_about_words_is_refused(
    make: Make, seal: Callable[..., None], changes: dict[str, Any]
) -> None:
    folder = make("table")
    language = json.loads((folder / "manifest.json").read_text("utf-8"))["language"]
    seal(folder, {"language": {**language, **changes}})
    with pytest.raises(BundleError, match="export the bundle again"):
        open_bundle(folder)


def _with_golden_text(folder: Path, seal: Callable[..., None], expected: Callable[..., Any]) -> Path:
    text = "i love the films"
    rows = FLOATS[_ids(text)]
    np.savez(folder / "golden.npz", **{"l/language": rows, "l/text": text, "l/reading": expected({"language": rows})})
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    seal(folder, {"files": {**files, "golden.npz": digest(folder / "golden.npz")}})
    return folder


def test_verify_and_bench_read_the_golden_words(
    make: Make,
    seal: Callable[..., None],
    expected: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = _with_golden_text(make("table"), seal, expected)
    assert read_golden(open_bundle(folder))[0].given["language"] == "i love the films"
    assert verify_bundle(folder).passed
    with load(folder) as session:
        result = bench_session(session, repeats=3, warmup=0, subsets=[Subset.L, Subset.LA])
        assert result.latencies[0].words
        assert result.latencies[0].frames == {"language": 5}  # film ##s
        assert not result.latencies[1].words  # no golden text of it: random frames
        needed = {"language/tokenizer.json", "language/table.npz"}
        assert needed < set(session.bundle.needed_files(session.engine, session.precision))
        assert result.file_bytes == session.bundle.size(session.bundle.needed_files(session.engine, session.precision))
    assert main(["bench", str(folder), "--repeats", "2", "--warmup", "0", "--language", "it", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["frames"]["language"] for row in told[0]["latencies"] if row["words"]] == [1, 1]


def test_words_on_the_command_line_are_read_and_described(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make("table")
    assert main(["predict", str(folder), "--language", "i love it", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["score"] == load(folder).predict(language="i love it").score
    assert main(["predict", str(folder), "--language", ""]) == 2
    assert "there is no word in" in capsys.readouterr().err
    assert main(["info", str(folder), "--json"]) == 0
    out = capsys.readouterr().out
    assert "words by a table, 10 tokens at most" in out
    assert json.loads(out.splitlines()[-1])["language"]["bytes"] == sum(
        path.stat().st_size for path in (folder / "language").iterdir()
    )
