"""`git fetch` and `git clone` of an app: git's own upload-pack, confined to that one repository.

It gets none of the client's environment, so the client cannot ask for protocol version 2, which serves any object;
version 0 serves only what a branch reaches (git-upload-pack(1)).
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from paas.receive import git
from paas.receive.repository import Repository
from runtime.kernel.confine import confine

WORDS = (
    "-c",
    "uploadpack.hideRefs=refs/paas",
    "-c",
    "uploadpack.allowFilter=false",
    "-c",
    "uploadpack.allowAnySHA1InWant=false",
    "-c",
    "uploadpack.allowReachableSHA1InWant=false",
    "-c",
    "uploadpack.allowTipSHA1InWant=false",
    "upload-pack",
    "--strict",
    "--timeout=60",
)


def become_upload_pack(repository: Repository, parent: int) -> NoReturn:
    """Execute git upload-pack in this process, whose standard streams are the client's."""
    argv = git.command(repository.path, *WORDS, str(repository.path))
    confine(git.bounds(read=(repository.path,)), parent=parent)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(argv[0], argv, git.ENVIRONMENT)
