"""Debian packages that an app names: one layer below the others, for its build and its run."""

from __future__ import annotations

import os
import re

import pytest
from harness.builder import BuildPlatform

from paas.nouns.errors import BuildFailed

pytestmark = pytest.mark.long

TREE = {"Procfile": "web: tree --version\n", "Aptfile": "# drawn at the start\ntree\n"}
MYSQL = {
    "requirements.txt": "mysqlclient==2.2.7\n",
    "Procfile": "web: python -c 'import MySQLdb'\n",
}


def test_an_aptfile_becomes_a_layer_that_apps_share(platform: BuildPlatform) -> None:
    first = platform.build(platform.app("tree"), TREE)
    assert "-----> Installing Debian packages" in platform.lines
    assert any(re.fullmatch(r" +tree [0-9.-]+", line) for line in platform.lines)
    assert "       With what they depend on: 1 packages" in platform.lines
    second = platform.build(platform.app("tree-too"), {**TREE, "other.txt": "x"})
    assert not any("Installing" in line for line in platform.lines)
    stack = len(first.layers) - 2
    assert first.layers[: stack + 1] == second.layers[: stack + 1] and first.layers != second.layers
    root = platform.layout.layers / first.layers[stack].removeprefix("sha256:")
    assert (root / "usr/bin/tree").is_file()
    assert not [
        path
        for path in ("etc/resolv.conf", "etc/hosts", "var/cache", "usr/sbin/policy-rc.d")
        if os.path.lexists(root / path)
    ]


def test_a_package_that_is_not_there_is_named_with_its_neighbours(platform: BuildPlatform) -> None:
    with pytest.raises(BuildFailed) as failed:
        platform.build(platform.app("typo"), {"Procfile": "web: x\n", "Aptfile": "imagemagik\n"})
    assert "there is no Debian package imagemagik" in failed.value.message
    assert "imagemagick" in failed.value.hint


def test_the_package_that_a_failed_build_names_makes_it_succeed(platform: BuildPlatform) -> None:
    app = platform.app("mysql")
    with pytest.raises(BuildFailed) as failed:
        platform.build(app, MYSQL)
    named = re.search(r'Add a line "(\S+)" to a file named Aptfile', failed.value.hint)
    assert named and named[1] == "default-libmysqlclient-dev"
    image = platform.build(app, {**MYSQL, "Aptfile": named[1] + "\n"})
    libraries = [
        path
        for digest in image.layers
        for path in (platform.layout.layers / digest.removeprefix("sha256:")).glob(
            "usr/lib/*/libmariadb.so.3"
        )
    ]
    assert libraries
