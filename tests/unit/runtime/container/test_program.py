"""Which program a command runs and what is said when none does, each in a child that becomes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.engine import ended, forked

from runtime.container import init, program
from runtime.spec import Process

ECHO = "#!/bin/sh\necho ran $0 $@\n"


@pytest.fixture
def start() -> Iterator[int]:
    fd = init.open_program("start")
    yield fd
    os.close(fd)


@pytest.fixture
def run(tmp_path: Path, start: int) -> Callable[..., tuple[int, str]]:
    """Run a command in the test's folder, with its folder `bin` first on PATH; status and output."""
    (tmp_path / "bin").mkdir()

    def become(*args: str, path: str = f"{tmp_path}/bin:/usr/bin:/bin") -> tuple[int, str]:
        reading, writing = os.pipe()

        def child() -> None:
            os.chdir(tmp_path)
            for number in (1, 2):
                os.dup2(writing, number)
            env = {"PATH": path, "GREETING": "hi"}
            os._exit(program.run(Process(args, env), start, [b"PATH=" + path.encode(), b"GREETING=hi"]))

        pid = forked(child)
        os.close(writing)
        with open(reading) as output:
            said = output.read()
        return ended(pid), said

    return become


def put(path: Path, content: str, mode: int = 0o755) -> None:
    path.write_text(content)
    path.chmod(mode)


def test_a_program_gets_its_words_and_exactly_its_environment(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    assert run("printf", "%s|", "a b", "", "ä") == (0, "a b||ä|")
    status, said = run("/usr/bin/env")
    assert (status, set(said.split())) == (0, {"GREETING=hi", f"PATH={tmp_path}/bin:/usr/bin:/bin"})


def test_the_first_that_can_run_on_path_is_taken(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    put(tmp_path / "bin/tool", ECHO, 0o644)
    put(tmp_path / "later/tool", ECHO)
    assert run("tool", "x", path=f"bin::later:{tmp_path}") == (0, "ran later/tool x\n")
    (tmp_path / "bin/tool").chmod(0o755)
    assert run("tool", "x", path="bin:later") == (0, "ran bin/tool x\n")


def test_an_empty_entry_of_path_is_the_working_folder(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    put(tmp_path / "here", ECHO)
    assert run("here", path="bin:") == (0, "ran ./here\n")
    assert run("here", path="bin") == (127, "bash: here: command not found\n")


@pytest.mark.parametrize(
    ("first_line", "said"),
    [
        ("echo no first line", "no first line\n"),
        ("#!/bin/sh -e", "of the script\n"),
        ("#! \t/bin/sh", "of the script\n"),
        ("#!/usr/bin/env sh", "of the script\n"),
    ],
)
def test_a_script_runs_with_what_its_first_line_names_or_with_a_shell(
    run: Callable[..., tuple[int, str]], tmp_path: Path, first_line: str, said: str
) -> None:
    put(tmp_path / "script", first_line + "\n" + ("echo of the script\n" if "#!" in first_line else ""))
    assert run("./script") == (0, said)


@pytest.mark.parametrize(
    ("command", "status", "problem"),
    [
        ("missing", 127, "command not found"),
        ("plain", 126, "Permission denied"),
        ("./missing", 127, "No such file or directory"),
        ("./bin", 126, "Is a directory"),
        ("bin/plain", 126, "Permission denied"),
        ("bin/lost", 127, "cannot execute: required file not found"),
        ("bin/nameless", 127, "cannot execute: required file not found"),
        ("bin/own", 127, "cannot execute: required file not found"),
        ("bin", 127, "command not found"),
    ],
)
def test_what_cannot_run_is_said_as_a_shell_says_it(
    run: Callable[..., tuple[int, str]], tmp_path: Path, command: str, status: int, problem: str
) -> None:
    put(tmp_path / "bin/plain", "data", 0o644)
    put(tmp_path / "bin/lost", "#!/usr/bin/no-such-interpreter\n")
    put(tmp_path / "bin/nameless", "#!\n")
    put(tmp_path / "bin/own", "#!/proc/self/exe\n")  # a link of procfs: it would be the runtime's own program
    assert run(command) == (status, f"bash: {command}: {problem}\n")


def test_an_image_without_a_shell_says_so(
    run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_SHELL", "/none/sh")
    status, said = run("/none/sh", "-c", "ls")
    assert status == 127
    assert said.splitlines() == [
        "bash: /none/sh: No such file or directory",
        "This image has no shell: name a program by its path, and each of its words: /PROGRAM WORD WORD",
    ]


def test_a_name_that_is_no_text_comes_back_as_its_bytes() -> None:
    assert program.encoded(os.fsdecode(b"a\xff\xc3\xa4")) == b"a\xff\xc3\xa4"
