"""`edge-msa pretrained` on an installed package and on a hub of this machine."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import edge_msa as em
from edge_msa.cli import run
from edge_msa.deployment.hub import HubReference
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.pretrained import PACKAGE
from tests.hub_server import Hub, serve_hub
from tests.pretrained_package import entry, write_index, write_package
from tests.unit.runtime import fake_bundles

REPOSITORY = "someone/far"


@pytest.fixture(scope="session")
def fake_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fake") / "bundle"
    fake_bundles.write_bundle(folder, names=("language",))
    return folder


@pytest.fixture
def package(fake_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with the bundle `toy` and the model `far` of the hub, and an empty working folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    package = write_package(tmp_path / "site", fake_bundle)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return package


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub of this machine, with a token."""
    with serve_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", server.token)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield server


def files_of(bundle: Path) -> dict[str, bytes]:
    return {path.relative_to(bundle).as_posix(): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


def test_the_list_names_the_models_and_where_their_bundles_are(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pretrained", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["toy", "far"]
    assert "installed" in lines[2]
    assert "hub: someone/far" in lines[3]
    assert run(["pretrained", "list", "--json"]) == 0
    assert {name: row["installed"] for name, row in json.loads(capsys.readouterr().out).items()} == {
        "toy": True,
        "far": False,
    }
    assert package.is_dir()


def test_the_card_states_accuracy_terms_and_what_the_model_is_not_for(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pretrained", "info", "toy"]) == 0
    out = capsys.readouterr().out
    for part in ("MAE", "0.500", "0.400 to 0.600", "Terms: for research", "- decisions about a person", str(package)):
        assert part in out
    assert run(["pretrained", "info", "toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["terms"] == "for research"


def test_a_bundle_of_the_package_is_copied(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pretrained", "get", "toy"]) == 0
    assert files_of(Path("toy")) == files_of(package / "toy")
    assert capsys.readouterr().out.splitlines()[-1] == "next: edge-msa-run info toy"
    assert run(["pretrained", "get", "toy"]) == 2
    assert "toy exists. Pass --overwrite" in capsys.readouterr().err
    assert run(["pretrained", "get", "toy", "--overwrite"]) == 0


def test_a_folder_that_is_no_bundle_is_not_replaced(package: Path) -> None:
    assert package.is_dir()
    Path("mine").mkdir()
    Path("mine/notes.txt").touch()
    assert run(["pretrained", "get", "toy", "--output-dir", "mine", "--overwrite"]) == 2
    assert Path("mine/notes.txt").exists()


def test_a_damaged_bundle_of_the_package_is_not_copied(package: Path) -> None:
    with (package / "toy" / "golden.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"golden\.npz has changed"):
        em.get_pretrained("toy")
    assert list(Path().iterdir()) == []


def test_a_bundle_travels_over_the_hub(
    fake_bundle: Path, hub: Hub, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert package.is_dir()
    (fake_bundle / ".DS_Store").touch()
    assert run(["pretrained", "push", str(fake_bundle), "--repo", REPOSITORY, "--private"]) == 0
    (fake_bundle / ".DS_Store").unlink()
    out, err = capsys.readouterr()
    assert "golden.npz" in err
    repository = hub.repositories[REPOSITORY]
    assert repository.private
    assert repository.commits[repository.head] == files_of(fake_bundle)
    last = out.splitlines()[-1]
    digest = file_sha256(fake_bundle / "manifest.json")
    assert last == f"next: edge-msa pretrained get {REPOSITORY}@{repository.head} --sha256 {digest}"
    assert run(last.split()[2:]) == 0
    assert files_of(Path("far")) == files_of(fake_bundle)
    assert list(Path().iterdir()) == [Path("far")]
    assert "Nothing shows who made" not in capsys.readouterr().err
    assert run(["pretrained", "get", REPOSITORY, "--output-dir", "unchecked"]) == 0
    assert "Nothing shows who made" in capsys.readouterr().err


@pytest.mark.slow
def test_a_second_push_is_a_second_commit_and_the_first_can_still_be_got(
    fake_bundle: Path, hub: Hub, package: Path, tmp_path: Path
) -> None:
    assert package.is_dir()
    first = em.push_bundle(fake_bundle, repo=REPOSITORY)
    changed = tmp_path / "changed"
    shutil.copytree(fake_bundle, changed)
    fake_bundles.seal(changed, {"name": "another"})
    second = em.push_bundle(changed, repo=REPOSITORY)
    assert [first.reference.revision, second.reference.revision] == list(hub.repositories[REPOSITORY].commits)
    assert open_bundle(em.get_pretrained(REPOSITORY, output_dir="new").path).manifest.name == "another"
    assert files_of(em.get_pretrained(str(first.reference), output_dir="old").path) == files_of(fake_bundle)


@pytest.mark.slow
def test_a_model_of_the_index_must_have_the_digest_of_the_index(
    fake_bundle: Path, hub: Hub, package: Path, tmp_path: Path
) -> None:
    em.push_bundle(fake_bundle, repo=REPOSITORY)
    em.get_pretrained("far")
    changed = tmp_path / "changed"
    shutil.copytree(fake_bundle, changed)
    fake_bundles.seal(changed, {"name": "another"})
    em.push_bundle(changed, repo=REPOSITORY)
    requests = len(hub.requests)
    with pytest.raises(BundleError, match=r"is not the bundle that was published"):
        em.get_pretrained("far", output_dir="again")
    assert not any("golden" in request for request in hub.requests[requests:])
    write_index(package, {"far": {**entry(changed), "hub": REPOSITORY}})
    em.get_pretrained("far", output_dir="again")


def test_damage_on_the_hub_is_found_and_nothing_remains(fake_bundle: Path, hub: Hub, package: Path) -> None:
    assert package.is_dir()
    em.push_bundle(fake_bundle, repo=REPOSITORY)
    hub.repositories[REPOSITORY].add({"golden.npz": b"damaged"})
    with pytest.raises(BundleError, match=r"golden\.npz has changed"):
        em.get_pretrained(REPOSITORY)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "module.py"])
def test_files_outside_of_the_bundle_are_not_asked_for(
    fake_bundle: Path, hub: Hub, package: Path, tmp_path: Path, name: str
) -> None:
    assert package.is_dir()
    evil = tmp_path / "evil"
    shutil.copytree(fake_bundle, evil)
    manifest = json.loads((evil / "manifest.json").read_text())
    fake_bundles.seal(evil, {"files": {**manifest["files"], name: "0" * 64}})
    em.push_bundle(fake_bundle, repo=REPOSITORY)
    hub.repositories[REPOSITORY].add({"manifest.json": (evil / "manifest.json").read_bytes(), name: b"x"})
    with pytest.raises(BundleError, match="Do not use the bundle"):
        em.get_pretrained(REPOSITORY)
    assert not any("outside" in request or "module" in request for request in hub.requests)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["get", "nobody/nothing"], 4, "Cannot download nobody/nothing: "),
        (["get", "someone/far@" + "f" * 40], 4, "Cannot download someone/far@fff"),
        (["get", "someone/far", "--sha256", "x"], 2, "must be 64 hexadecimal digits"),
        (["get", "toy", "--sha256", "0" * 64], 2, "The index has the digests of its own models"),
        (["get", "a/b/c"], 2, "must be OWNER/NAME or OWNER/NAME@REVISION, got 'a/b/c'"),
        (["get", "a/b@"], 2, "must be OWNER/NAME or OWNER/NAME@REVISION, got 'a/b@'"),
        (["get", "toi"], 2, "Unknown pretrained model 'toi'. Did you mean 'toy'?"),
        (["info", "toi"], 2, "Unknown pretrained model 'toi'."),
        (["push", "BUNDLE", "--repo", "far"], 2, "must be OWNER/NAME"),
        (["push", "BUNDLE", "--repo", "someone/far@main"], 2, "without a revision"),
        (["push", ".", "--repo", "someone/far"], 2, "is not a bundle"),
    ],
)
def test_an_error_is_one_line(
    fake_bundle: Path, hub: Hub, package: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int,
    message: str,
) -> None:  # fmt: skip
    assert package.is_dir()
    em.push_bundle(fake_bundle, repo=REPOSITORY)
    assert hub.repositories
    words = [str(fake_bundle) if item == "BUNDLE" else item for item in arguments]
    assert run(["pretrained", *words]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note:")]
    assert len(errors) == 1
    assert message in errors[0]


def test_a_push_without_a_valid_token_says_what_to_do(
    fake_bundle: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert run(["pretrained", "push", str(fake_bundle), "--repo", REPOSITORY]) == 4
    assert "Cannot upload to someone/far: " in capsys.readouterr().err
    assert hub.repositories == {}


def test_without_huggingface_hub_the_error_names_the_extra(
    fake_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert run(["pretrained", "push", str(fake_bundle), "--repo", REPOSITORY]) == 4
    assert "pip install 'edge-msa[hub]'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["list"], ["info", "toy"], ["get", "toy"]])
def test_no_connection_is_opened_for_installed_bundles(package: Path, hub: Hub, arguments: list[str]) -> None:
    assert package.name == PACKAGE
    assert run(["pretrained", *arguments]) == 0
    assert hub.requests == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a/b", HubReference("a/b")), ("a.b/c-d_e@v1.0", HubReference("a.b/c-d_e", "v1.0"))],
)
def test_a_reference_to_the_hub_can_be_parsed(text: str, expected: Any) -> None:
    assert HubReference.parse(text) == expected
    assert str(expected) == text
