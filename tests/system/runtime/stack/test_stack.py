"""The stack every app runs on: what is in it, what is not, and that it is made once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.stack import build as stacks_module
from runtime.stack.build import Stack


def command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "runtime.stack", *words]


@pytest.fixture
def made(stacks: str) -> Stack:
    found = stacks_module.load(Path(stacks), "debian-12")
    assert found is not None
    return found


def layer(stacks: str, digest: str) -> Path:
    return Path(stacks) / "layers" / digest.removeprefix("sha256:")


def test_run_layer_has_the_app_user_and_the_runtimes(stacks: str, made: Stack) -> None:
    root = layer(stacks, made.run[0])
    assert "app:x:1000:1000:app:/app:/bin/bash\n" in (root / "etc/passwd").read_text()
    assert (root / "app").stat().st_uid == 1000
    for program in ("usr/bin/python3", "bin/bash", "usr/sbin/nginx", "etc/ssl/certs/ca-certificates.crt"):
        assert (root / program).exists() or (root / program).is_symlink(), program


def test_build_layer_adds_compilers_to_the_run_layer(stacks: str, made: Stack) -> None:
    assert made.build[: len(made.run)] == made.run
    for program in ("usr/bin/gcc", "usr/bin/git", "usr/bin/make", "usr/include/python3.11/Python.h"):
        assert os.path.lexists(layer(stacks, made.build[-1]) / program), program
        assert not os.path.lexists(layer(stacks, made.run[0]) / program), program


def test_nothing_of_the_building_machine_is_inside(stacks: str, made: Stack) -> None:
    for digest in made.build:
        root = layer(stacks, digest)
        for name in (
            "etc/machine-id",
            "etc/hostname",
            "etc/resolv.conf",
            "var/log/dpkg.log",
            "usr/sbin/policy-rc.d",
        ):
            assert not os.path.lexists(root / name), name
        for folder, _, files in os.walk(root):
            for name in files:
                status = os.lstat(os.path.join(folder, name))
                assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID), name
                assert stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode), name


def test_blobs_are_what_their_names_say(stacks: str, made: Stack) -> None:
    for digest in made.build:
        with (Path(stacks) / "blobs/sha256" / digest.removeprefix("sha256:")).open("rb") as blob:
            assert hashlib.file_digest(blob, "sha256").hexdigest() == digest.removeprefix("sha256:")


def test_list_says_what_is_there(stacks: str, made: Stack) -> None:
    rows = json.loads(subprocess.check_output(command("list", "--json", "--stacks", stacks)))
    (row,) = (row for row in rows if row["name"] == "debian-12")
    assert row["build"] == list(made.build)
    assert any(line.startswith("python3 ") for line in row["packages"])


def test_creating_it_again_does_nothing(stacks: str, made: Stack) -> None:
    before = sorted(os.listdir(Path(stacks) / "layers"))
    assert subprocess.check_output(command("create", "debian-12", "--stacks", stacks)) == b""
    assert sorted(os.listdir(Path(stacks) / "layers")) == before


def test_a_second_builder_waits_and_says_so(tmp_path: Path, stacks: str, made: Stack) -> None:
    """The lock is held; meanwhile the stack appears; the waiting builder takes it."""
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            command("create", "debian-12", "--stacks", str(tmp_path)), stdout=subprocess.PIPE, text=True
        )
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "Another process is building a stack; waiting for it\n"
        (tmp_path / "layers").symlink_to(Path(stacks) / "layers")
        (tmp_path / "debian-12.json").write_bytes((Path(stacks) / "debian-12.json").read_bytes())
    assert waiting.communicate()[0] == "" and waiting.returncode == 0


@pytest.mark.parametrize("name", ["../x", "windows-11", "--help-me"])
def test_unknown_name_is_one_line(tmp_path: Path, name: str) -> None:
    ended = subprocess.run(
        command("create", "--stacks", str(tmp_path), "--", name), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1 and len(ended.stderr.splitlines()) == 1 and "Traceback" not in ended.stderr


def test_killed_builder_leaves_no_mount_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    builder = subprocess.Popen(
        command("create", "debian-12", "--stacks", str(tmp_path)),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert builder.stdout is not None
    builder.stdout.readline()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("tmp/*/run/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(builder.pid, 9)
    builder.communicate()
    assert list(tmp_path.glob("tmp/*/run")) and not (tmp_path / "debian-12.json").exists()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    with (tmp_path / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    work = stacks_module._fresh(tmp_path / "tmp")
    assert list((tmp_path / "tmp").iterdir()) == [work] and list(work.iterdir()) == []


@pytest.mark.long
def test_building_it_again_gives_the_same_layers(tmp_path: Path, made: Stack) -> None:
    """Bit for bit, as long as the mirror offers the same versions."""
    subprocess.run(command("create", "debian-12", "--stacks", str(tmp_path)), check=True)
    again = stacks_module.load(tmp_path, "debian-12")
    assert again is not None
    assert again.packages != made.packages or again.build == made.build
