"""Archives of every format as commits, and what hostile ones meet."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paas.nouns.errors import BadInput
from paas.receive import archive
from paas.receive.archive import Imported, import_archive
from paas.receive.limits import Limits
from paas.receive.repository import make_bare, remove_folder

FILES = {"app.py": b"print('hello')\n", "bin/run.sh": b"#!/bin/sh\n", 'odd/a "b"\\c\n.txt': b"odd"}


def tar_of(
    files: dict[str, bytes],
    *more: tarfile.TarInfo,
    mode: str = "w",
    prefix: str = "",
    form: int = tarfile.PAX_FORMAT,
) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as tar:  # type: ignore[call-overload]
        for path, data in files.items():
            entry = tarfile.TarInfo(prefix + path)
            entry.size, entry.mode = len(data), 0o755 if path.endswith(".sh") else 0o644
            tar.addfile(entry, io.BytesIO(data))
        for entry in more:
            tar.addfile(entry)
    out.seek(0)
    return out


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def zip_of(files: dict[str, bytes], links: dict[str, str] | None = None) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o100755 if path.endswith(".sh") else 0o100644) << 16
            archive.writestr(entry, data)
        for path, target in (links or {}).items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, target)
    out.seek(0)
    return out


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., Imported]:
    def taken(archive: io.BytesIO, **limits: int) -> Imported:
        remove_folder(tmp_path / "r")
        make_bare(tmp_path / "r")
        answer = import_archive(tmp_path / "r", archive, replace(Limits(), **limits))  # type: ignore[arg-type]
        return Imported.from_json(answer)

    return taken


def listing(folder: Path, commit: str) -> dict[str, tuple[str, bytes]]:
    def git(*words: str) -> bytes:
        return subprocess.run(
            ["git", f"--git-dir={folder / 'r'}", *words], capture_output=True, check=True
        ).stdout

    rows = [row.split(b"\t", 1) for row in git("ls-tree", "-r", "-z", commit).split(b"\0") if row]
    return {
        path.decode(): (meta.split()[0].decode(), git("cat-file", "blob", meta.split()[2].decode()))
        for meta, path in rows
    }


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz", "zip", "gnu", "ustar"])
def test_every_format_gives_the_same_files(kind: str, take: Any, tmp_path: Path) -> None:
    forms = {"gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
    if kind == "zip":
        archive = zip_of(FILES, {"current": "bin/run.sh"})
    else:
        archive = tar_of(
            FILES,
            link("current", "bin/run.sh"),
            mode=kind if kind not in forms else "w",
            form=forms.get(kind, tarfile.PAX_FORMAT),
        )
    found = take(archive)
    assert found.top == ""
    assert listing(tmp_path, found.commit) == {
        "app.py": ("100644", FILES["app.py"]),
        "bin/run.sh": ("100755", FILES["bin/run.sh"]),
        'odd/a "b"\\c\n.txt': ("100644", b"odd"),
        "current": ("120000", b"bin/run.sh"),
    }


def test_the_commit_depends_on_the_files_only(take: Any, tmp_path: Path) -> None:
    one = take(tar_of(FILES, mode="w:gz"))
    again = tmp_path / "again"
    again.mkdir()
    make_bare(again / "r")
    other = import_archive(again / "r", zip_of(FILES), Limits())
    assert other["commit"] == one.commit


def test_one_folder_at_the_top_is_named(take: Any) -> None:
    folder = tarfile.TarInfo("hello-1.0/")
    folder.type = tarfile.DIRTYPE
    assert take(tar_of({"app.py": b"1"}, folder, prefix="hello-1.0/")).top == "hello-1.0"
    assert take(tar_of({"app.py": b"1", "lib/a": b""}, prefix="./")).top == ""
    assert take(tar_of({"app.py": b"1"}, prefix="./hello/")).top == "hello"


def test_a_folder_whose_name_git_might_read_as_something_else_stays(take: Any) -> None:
    assert take(tar_of({"a": b"1"}, prefix="-x y/")).top == ""
    assert take(tar_of({"a": b"1"}, prefix="one\ntwo/")).top == ""


def test_a_hard_link_is_a_copy(take: Any, tmp_path: Path) -> None:
    found = take(tar_of({"a.sh": b"same"}, link("b c.sh", "./a.sh", tarfile.LNKTYPE)))
    assert listing(tmp_path, found.commit)["b c.sh"] == ("100755", b"same")


def test_a_repository_in_the_archive_stays_out(take: Any, tmp_path: Path) -> None:
    found = take(tar_of({".git/config": b"[core]", "sub/.GIT/x": b"1", "app.py": b"1"}))
    assert list(listing(tmp_path, found.commit)) == ["app.py"]


def test_a_later_entry_wins(take: Any, tmp_path: Path) -> None:
    out = tar_of({"a": b"old"}).read().rstrip(b"\0")
    out += b"\0" * (-len(out) % 512) + tar_of({"a": b"new"}).read()
    assert listing(tmp_path, take(io.BytesIO(out)).commit) == {"a": ("100644", b"new")}


@pytest.mark.parametrize(
    ("archive", "sentence"),
    [
        (io.BytesIO(b"no archive at all" * 99), "no archive that can be read"),
        (io.BytesIO(b""), "no archive that can be read"),
        (tar_of({}), "contains no files"),
        (zip_of({}), "contains no files"),
        (tar_of({"../out": b""}), "no path within"),
        (tar_of({"a/../../out": b""}), "no path within"),
        (zip_of({"/etc/passwd": b""}), "no path within"),
        (tar_of({}, link("a", "b", tarfile.LNKTYPE)), "did not come before"),
        (tar_of({}, link("dev", "", tarfile.CHRTYPE)), "neither a file"),
        (tar_of({}, link("pipe", "", tarfile.FIFOTYPE)), "neither a file"),
        (io.BytesIO(tar_of(FILES, mode="w:gz").read()[:-30]), "cannot be read"),
        (io.BytesIO(zip_of(FILES).read()[:-30]), "cannot be read"),
        (io.BytesIO(tar_of({"a": b"x" * 9000}).read()[:3000]), "cannot be read|ends within"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_app_is_refused_in_a_sentence(
    take: Any, archive: io.BytesIO, sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        take(archive)


def test_an_encrypted_zip_is_refused(take: Any) -> None:
    data = bytearray(zip_of({"a": b"secret"}).read())
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + at] |= 1
    with pytest.raises(BadInput, match="cannot be read"):
        take(io.BytesIO(bytes(data)))


def test_bombs_end_at_their_bound(take: Any) -> None:
    with pytest.raises(BadInput, match="unpacks to more than 977 KiB"):
        take(tar_of({"zeros": bytes(3 << 20)}, mode="w:gz"), source_bytes=1_000_000)
    with pytest.raises(BadInput, match="unpacks to more than 977 KiB"):
        take(zip_of({"zeros": bytes(3 << 20)}), source_bytes=1_000_000)
    with pytest.raises(BadInput, match="more than 10 entries"):
        take(tar_of({f"f{number}": b"" for number in range(11)}), files=10)


def test_a_folder_that_costs_git_the_square_of_its_files_is_refused(
    take: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_IN_FOLDER", 10)
    take(tar_of({f"{folder}/f{number}": b"" for folder in "ab" for number in range(10)}))
    with pytest.raises(BadInput, match="The folder a of the archive has more than 10 files"):
        take(tar_of({f"a/f{number}": b"" for number in range(11)}))
    with pytest.raises(BadInput, match="The top folder of the archive has more than 10 files"):
        take(tar_of({f"f{number}": b"" for number in range(11)}))
