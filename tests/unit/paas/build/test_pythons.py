from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from paas.build.publish import _folders, shareable
from paas.build.pythons import available, fetchable, pythons_in, url_of
from paas.build.registry import Registry, build_env, registry_file
from runtime.home import Layout
from runtime.stack.build import Stack

FORKY = Stack("debian-14", (), (), "", 0, (
    "python3 3.14.7-3", "python3-minimal 3.14.7-3", "libpython3.13-minimal 3.13.15-1", "python3.13-minimal 3.13.15-1",
    "python3.14-minimal 3.14.8-1", "python3.15-minimal 3.15.0-1",
))  # fmt: skip
KEY = f"cpython-3.12.1-linux-{os.uname().machine}-gnu"


def test_a_stack_says_by_its_packages_which_pythons_it_has_the_default_first() -> None:
    assert pythons_in(FORKY.packages) == ("3.14.8", "3.13.15", "3.15.0")
    bookworm = replace(FORKY, packages=("python3 3.11.2-1+b1", "python3.11-minimal 3.11.2-6+deb12u9"))
    assert pythons_in(bookworm.packages) == ("3.11.2",)


def test_stacks_that_are_not_made_yet_count_and_a_stack_that_there_is_not_does_not(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "home", tmp_path / "stacks", "x")
    found = available(layout, "debian-12", "heroku-24")
    assert (found.stack, found.fixed) == ("debian-12", False)
    assert found.of_stacks["debian-13"] == ("3.13.5",)
    assert (available(layout, "debian-12", "debian-13").stack, available(layout, "debian-12", "debian-13").fixed) == (
        "debian-13", True
    )  # fmt: skip
    assert "debian-13" not in available(layout, "debian-12", without=["debian-13"]).of_stacks


def test_the_operators_list_counts_for_this_machine_and_only_with_digests(tmp_path: Path) -> None:
    entry = {"url": f"file://{tmp_path}/python.tar.gz", "sha256": "ab"}
    listed = {
        KEY: entry,
        KEY.replace("3.12.1", "3.13.1"): {"url": entry["url"], "sha256": None},
        KEY.replace("3.12.1", "3.14.1"): {**entry, "prerelease": "rc1"},
        "cpython-3.11.1-darwin-aarch64-none": entry,
        "pypy-3.10.1-linux-x86_64-gnu": entry,
    }
    path = tmp_path / "list.json"
    path.write_text(json.dumps(listed))
    found = fetchable("/usr/bin/uv", f"file://{path}")
    assert list(found) == ["3.12.1"]
    assert (found["3.12.1"]["key"], url_of(found["3.12.1"])) == (KEY, entry["url"])
    registry = Registry(pythons=found, python_mirror="https://me:pw@mirror.example/x")
    assert str(tmp_path) in _folders(registry)
    shared = shareable(registry, False)
    assert (shared.python_mirror, len(shared.withheld), shared.pythons) == ("", 1, found)
    secret = {"3.12.1": {"key": KEY, "entry": json.dumps({"url": "https://me:pw@example.com/x"})}}
    assert shareable(Registry(pythons=secret), False).pythons == {}
    assert (
        build_env(Registry(python_mirror="file:///srv/python"))["UV_PYTHON_INSTALL_MIRROR"]
        == "file:///srv/python"
    )
    assert registry_file(Layout(tmp_path, tmp_path, "x")).name == "registry.json"
    assert Registry.from_json(json.loads(json.dumps(registry.to_json()))).pythons == found


def test_a_list_that_cannot_be_read_and_a_uv_that_is_missing_bring_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "list.json"
    broken.write_text("[1]")
    assert fetchable("/usr/bin/uv", f"file://{broken}") == {}
    assert fetchable("/usr/bin/uv", f"file://{tmp_path}/none.json") == {}
    assert fetchable("", "") == {}
    assert fetchable("/nonexistent/uv", "") == {}


def test_uv_knows_the_final_releases_of_its_own_list() -> None:
    from paas.build.publish import _uv_binary

    found = fetchable(_uv_binary(), "")
    assert any(release.startswith("3.12.") for release in found)
    assert all(python["key"].startswith(f"cpython-{release}-linux-") for release, python in found.items())
