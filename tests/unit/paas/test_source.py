from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from harness.sources import export

from paas.errors import BadInput, NotFound, Unavailable
from paas.source import SourceTree

FILES = {
    "Procfile": "web: x\n",
    "a/b/c.txt": "deep",
    "empty": "",
    "b\udcffyte": "odd",
    "run.sh": "#!/bin/sh\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    return SourceTree.open(tmp_path, export(FILES, tmp_path, {"link": "/etc/passwd", "app.json": "../../x"}))


def test_files_are_read_at_their_place_in_the_tar(tree: SourceTree) -> None:
    for path, text in FILES.items():
        assert tree.read(path) == text.encode()
    assert set(tree.names()) == set(FILES)


def test_a_symbolic_link_is_no_file_and_is_never_followed(tree: SourceTree) -> None:
    assert not tree.exists("link")
    assert tree.kind("link") == tree.kind("app.json") == "link"
    assert tree.kind("nothing") == "none"
    with pytest.raises(FileNotFoundError):
        tree.read("link")


def test_large_files_are_not_read(tree: SourceTree) -> None:
    with pytest.raises(ValueError, match="more than 3"):
        tree.read("a/b/c.txt", limit=3)


def test_packed_inputs_are_the_same_bytes_each_time(tree: SourceTree) -> None:
    one = tree.pack(["a/b/c.txt", "run.sh", "b\udcffyte"])
    assert one == tree.pack(["run.sh", "b\udcffyte", "a/b/c.txt", "run.sh"])
    with tarfile.open(fileobj=io.BytesIO(one)) as tar:
        assert {member.name: member.mode for member in tar} == {
            "a/b/c.txt": 0o644,
            "run.sh": 0o755,
            "b\udcffyte": 0o644,
        }


@pytest.mark.parametrize("tree", ["", "../../etc/passwd", "x" * 40, "a" * 39, "A" * 40])
def test_only_tree_ids_name_a_source(tmp_path: Path, tree: str) -> None:
    with pytest.raises(BadInput):
        SourceTree.open(tmp_path, tree)


def test_missing_and_damaged_sources_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        SourceTree.open(tmp_path, "0" * 40)
    for text in ("", "[]", '{"files": {"a": {}}}', '{"files": {"a": 1}}'):
        (tmp_path / f"{'1' * 40}.json").write_text(text)
        with pytest.raises(Unavailable):
            SourceTree.open(tmp_path, "1" * 40)
    (tmp_path / f"{'2' * 40}.json").write_text(json.dumps({"files": {}}))
    with pytest.raises(NotFound):
        SourceTree.open(tmp_path, "2" * 40)


def test_a_tar_that_ends_early_is_damaged(tmp_path: Path) -> None:
    name = export({"a": "x" * 2000}, tmp_path)
    tar = tmp_path / f"{name}.tar"
    tar.write_bytes(tar.read_bytes()[:2048])
    with pytest.raises(Unavailable):
        SourceTree.open(tmp_path, name).read("a")
