"""What a hostile buildpack leaves: deep layers, programs that say too much, labels of several lines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildpacks.lifecycle.descriptor import Buildpack
from buildpacks.lifecycle.launch import LaunchFailed, _executed
from buildpacks.lifecycle.layers import _listing, remove
from buildpacks.lifecycle.processes import Launch


def test_a_deep_layer_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.mkdir()
    here = os.open(path, os.O_RDONLY)
    for _ in range(1_500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert _listing(path).count("\n") == 1_499
    remove(path)


def test_a_program_of_exec_d_that_says_too_much_ends(tmp_path: Path) -> None:
    program = tmp_path / "loud"
    program.write_text("#!/bin/sh\nexec head -c 4000000 /dev/zero >&3\n")
    program.chmod(0o755)
    with pytest.raises(LaunchFailed, match="ended with status"):
        _executed(str(program), dict(os.environ))


def test_a_label_stays_in_its_line(tmp_path: Path) -> None:
    (tmp_path / "launch.toml").write_text('[[labels]]\nkey = "a\\nconfig_vars:"\nvalue = "b\\nc"\n')
    launch = Launch()
    launch.read(Buildpack(tmp_path, "a/b", "1", (0, 10)), tmp_path)
    assert launch.written() == "labels:\n  a config_vars:: b c\n"
