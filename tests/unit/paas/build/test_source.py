from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from harness.sources import export

from paas.build.source import SourceTree
from paas.nouns.errors import BadInput, NotFound, Unavailable

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
    tree, damaged = "1" * 40, (b"", b"x\0", b"100644 1 1 a", b"100644 one 1 a\0", b"100644 1 a\0")
    for data in damaged:
        (tmp_path / f"{tree}.index").write_bytes(data)
        (tmp_path / f"{tree}.tar").touch()
        with pytest.raises(Unavailable):
            SourceTree.open(tmp_path, tree).exists("a")
        with pytest.raises(Unavailable):
            list(SourceTree.open(tmp_path, tree).names())
    (tmp_path / f"{tree}.tar").unlink()
    (tmp_path / f"{tree}.index").write_bytes(b"100644 1 1 a\0")
    with pytest.raises(NotFound):
        SourceTree.open(tmp_path, tree)


def test_every_name_is_found_and_no_other(tmp_path: Path) -> None:
    names = ["a", "a.b", "a/b", "a/b c", "a\nb", "b" * 200, "é", "z\udcff"] + [f"d/{n}" for n in range(300)]
    tree = SourceTree.open(
        tmp_path, export({name: name.encode(errors="surrogateescape") for name in names}, tmp_path)
    )
    assert sorted(tree.names()) == sorted(names)
    for name in names:
        assert tree.read(name) == name.encode(errors="surrogateescape")
        for other in (name + "\x01", name[:-1] + "\x02", "", "\x7f" + name, "\ud800"):
            assert not tree.exists(other)


def test_a_tar_that_ends_early_is_damaged(tmp_path: Path) -> None:
    name = export({"a": "x" * 2000}, tmp_path)
    tar = tmp_path / f"{name}.tar"
    tar.write_bytes(tar.read_bytes()[:2048])
    with pytest.raises(Unavailable):
        SourceTree.open(tmp_path, name).read("a")


def test_the_procfile_may_lie_elsewhere(tmp_path: Path) -> None:
    name = export({"Procfile": "web: a", "deploy/Procfile": "web: b"}, tmp_path)
    assert SourceTree.open(tmp_path, name, "deploy/Procfile").read("Procfile") == b"web: b"
    assert not SourceTree.open(tmp_path, name, "deploy/other").exists("Procfile")


def test_a_source_is_read_again_from_its_layer(tmp_path: Path) -> None:
    """Of real layers a system test: here the tar of the source stands in for one, with names that need pax headers."""
    files = {**FILES, "d/" * 120 + "deep": "x" * 1000, "z": "last"}
    name = export(files, tmp_path, {"link": "/etc/passwd"})
    first = SourceTree.open(tmp_path, name)
    again = SourceTree.of_layer(tmp_path, name, tmp_path / f"{name}.tar", "z")
    assert list(again.names()) == list(first.names())
    assert {path: again.read(path) for path in files if path != "Procfile"} == {
        path: first.read(path) for path in files if path != "Procfile"
    }
    assert (again.read("Procfile"), again.kind("link")) == (b"last", "link")
    assert again.pack(("run.sh",)) == first.pack(("run.sh",))


def test_what_is_no_layer_of_a_source_is_not_read(tmp_path: Path) -> None:
    tar = tmp_path / "x"
    for content in (b"", b"x" * 512, bytes(1024)):
        tar.write_bytes(content)
        with pytest.raises(Unavailable, match="damaged"):
            SourceTree.of_layer(tmp_path, "0" * 40, tar)
    with pytest.raises(FileNotFoundError):
        SourceTree.of_layer(tmp_path, "0" * 40, tmp_path / "none")
