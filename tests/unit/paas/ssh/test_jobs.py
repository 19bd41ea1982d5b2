"""What of a command reaches the operator's log, and how its words reach the CLI."""

from __future__ import annotations

import json
import os
from typing import Any, cast

import pytest

from paas.ssh import typed
from paas.ssh.jobs import Job, describe


@pytest.mark.parametrize(
    ("command", "described"),
    [
        (None, "shell"),
        (b"git-receive-pack '/hello.git'", "receive-pack:hello"),
        (b"git-upload-pack hello", "upload-pack:hello"),
        (b"config:set SECRET=x -a hello", "config:set"),
        (b"rm -rf / \xff", "refused"),
        (b"git-shell x", "refused"),
    ],
)
def test_the_words_after_a_command_are_never_logged(command: bytes | None, described: str) -> None:
    assert describe(Job("ann", cast(Any, None), command)) == described


def test_words_are_held_by_a_descriptor_that_survives_exec() -> None:
    words = ["config:set", "A=1\n2", "ü"]
    descriptor = typed.hold(words)
    assert os.get_inheritable(descriptor)
    with open(descriptor, "rb") as file:
        assert json.loads(file.read()) == words
