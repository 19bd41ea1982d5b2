from __future__ import annotations

import hashlib
import os
from pathlib import Path

from paas.routing.files import put, sweep


def test_a_file_is_named_by_its_content_and_readable_for_the_group_alone(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    name = put(tmp_path, "pages", ".html", b"hello")
    assert name == hashlib.sha256(b"hello").hexdigest() + ".html"
    assert (tmp_path / "pages" / name).read_bytes() == b"hello"
    assert (tmp_path / "pages" / name).stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path / "pages") == [name]


def test_only_what_is_old_and_named_by_nobody_is_removed(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    named, old, young = (put(tmp_path, "pages", ".html", text) for text in (b"named", b"old", b"young"))
    (tmp_path / "pages" / ".new-left").touch()
    for name in (named, old, ".new-left"):
        os.utime(tmp_path / "pages" / name, (1, 1))
    assert sweep(tmp_path, "pages", {named}) == 2
    assert sorted(os.listdir(tmp_path / "pages")) == sorted([named, young])


def test_putting_a_file_again_makes_it_young(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    name = put(tmp_path, "pages", ".html", b"hello")
    os.utime(tmp_path / "pages" / name, (1, 1))
    assert put(tmp_path, "pages", ".html", b"hello") == name
    assert sweep(tmp_path, "pages", ()) == 0
