"""The grammar of what may be asked over SSH."""

from __future__ import annotations

import pytest

from paas.nouns.errors import BadInput
from paas.ssh.commands import CliCommand, GitCommand, parse, terminal_name


@pytest.mark.parametrize(
    ("text", "service"),
    [
        (b"git-receive-pack 'hello'", "receive-pack"),
        (b"git-receive-pack '/hello'", "receive-pack"),
        (b"git-receive-pack '/hello.git'", "receive-pack"),
        (b"git receive-pack hello.git", "receive-pack"),
        (b"git-upload-pack '/hello'", "upload-pack"),
        (b"git upload-pack 'hello'", "upload-pack"),
    ],
)
def test_git_commands(text: bytes, service: str) -> None:
    assert parse(text) == GitCommand(service, "hello")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        b"git-receive-pack", b"git-receive-pack ''", b"git-receive-pack 'a' 'b'", b"git-receive-pack 'a'; id",
        b"git-receive-pack -x", b"git-receive-pack '../a'", b"git-receive-pack '~'", b"git-receive-pack 'A'",
        b"git-receive-pack \"a\"", b"git-receive-pack 'a'\n", b" git-receive-pack 'a'", b"git-upload-archive 'a'",
        b"git-receive-pack 'a/b'", b"git-receive-pack '//a'", b"git-receive-pack 'a'\\''b'", b"git status", b"git-shell",
        b"git-receive-pack 'a.git.git'", b"git-receive-pack '" + b"a" * 31 + b"'",
    ],
)  # fmt: skip
def test_what_only_looks_like_git(text: bytes) -> None:
    with pytest.raises(BadInput):
        parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"ps -a hello", ("ps", "-a", "hello")),
        (b"paas ps", ("ps",)),
        (b"config:set 'A=b c' -a hello", ("config:set", "A=b c", "-a", "hello")),
        (b"config:set A='$(id)' 'B=`x`;y|z'", ("config:set", "A=$(id)", "B=`x`;y|z")),
        (b"config:set A=1\nB=2", ("config:set", "A=1", "B=2")),
        ("config:set N=ümläut".encode(), ("config:set", "N=ümläut")),
        (b"--help", ("--help",)),
        (b"run -a hello -- bash -c 'exit 3'", ("run", "-a", "hello", "--", "bash", "-c", "exit 3")),
    ],
)
def test_words_of_the_cli(text: bytes, words: tuple[str, ...]) -> None:
    assert parse(text) == CliCommand(words)


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"paas", b"/bin/sh", b"sh;id", b"$(id)", b"-c id", b"ID", b"ps\0", b"\xff", b"'open", b"a" * (129 << 10),
        b"server", b"server:status", b"login x", b"logout", b"demo", b"doctor", b"paas server", b"setup",
    ],
)  # fmt: skip
def test_what_is_no_command_here(text: bytes) -> None:
    with pytest.raises(BadInput):
        parse(text)


def test_terminal_names_are_plain_words() -> None:
    assert terminal_name(b"xterm-256color") == "xterm-256color"
    for odd in (b"", b"../x", b"a b", b"x\n", b"x" * 65, b"\xff"):
        assert terminal_name(odd) == "dumb"
