"""Packages that are unpacked before dpkg is there: what lies where, as dpkg would have put it."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from runtime.stack import ahead

FILES = {
    "etc/tool.conf": "a = 1\n",
    "lib/tool/part": "x",
    "usr/share/man/man1/tool.1": "manual",
    "usr/share/doc/tool/changelog": "long",
    "usr/share/doc/tool/copyright": "free",
}


def package(folder: Path, **control: str) -> Path:
    """An archive with FILES; `control` are its control files beside the fields."""
    tree = folder / "package"
    for name, text in {**FILES, **{f"DEBIAN/{name}": text for name, text in control.items()}}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name in ("DEBIAN/preinst", "DEBIAN/postinst") else 0o644)
    fields = "Package: tool\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\nMaintainer: A <a@example.com>\nDescription: x\n"
    (tree / "DEBIAN/control").write_text(fields)
    deb = folder / "tool_1_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, deb], check=True, capture_output=True)
    return deb


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A layer in the making, whose `lib` is a link into `usr`, as in the root below it."""
    tree = tmp_path / "tree"
    (tree / "var/lib/dpkg/info").mkdir(parents=True)
    (tree / "lib").symlink_to("usr/lib")
    (tree / "usr/lib").mkdir(parents=True)
    return tree


def test_files_lists_and_paragraph_are_as_dpkg_makes_them(tmp_path: Path, tree: Path) -> None:
    deb = package(tmp_path, conffiles="/etc/tool.conf\n", postinst="#!/bin/sh\n")
    paragraph = ahead._unpack(deb, tree)
    digest = hashlib.md5(b"a = 1\n", usedforsecurity=False).hexdigest()
    assert paragraph.endswith(f"\nStatus: install ok unpacked\nConffiles:\n /etc/tool.conf {digest}\n\n")
    assert (tree / "lib").is_symlink() and (tree / "usr/lib/tool/part").read_text() == "x"
    kept = {
        str(path.relative_to(tree / "usr/share")) for path in tree.glob("usr/share/**/*") if path.is_file()
    }
    assert kept == {"doc/tool/copyright"}
    info = tree / "var/lib/dpkg/info"
    assert {path.name for path in info.iterdir()} == {
        f"tool:amd64.{kind}" for kind in ("list", "conffiles", "postinst")
    }
    listed = (info / "tool:amd64.list").read_text().splitlines()
    assert listed[0] == "/." and "/lib/tool/part" in listed and "/etc/tool.conf" in listed


def test_package_that_prepares_its_unpacking_is_left_to_dpkg(tmp_path: Path, tree: Path) -> None:
    assert ahead._unpack(package(tmp_path, preinst="#!/bin/sh\n"), tree) == ""
    assert not (tree / "etc").exists() and not list((tree / "var/lib/dpkg/info").iterdir())
