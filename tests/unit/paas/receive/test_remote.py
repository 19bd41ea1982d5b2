"""Fetching from git's own servers, and from hosts that answer what they should not."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from harness.git_http import LOGIN, Forge, git_daemon
from harness.platform import commit, git

from paas.nouns.errors import BadInput, NotFound, PaasError, Unavailable
from paas.nouns.remoteurl import RemoteRepository
from paas.receive import remote
from paas.receive.dulwich_protocol import Refused
from paas.receive.limits import Limits
from paas.receive.quarantine import Quarantine
from paas.receive.remote import fetch
from paas.receive.repository import Repositories
from paas.receive.sources import Sources
from paas.receive.wire import Wire
from runtime.image.reach import Patience, Reach

Take = Callable[..., tuple[str, str, int]]
LOOPBACK = Reach((ip_network("127.0.0.0/8"),))


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    made = Forge(tmp_path_factory.mktemp("forge"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def repository(forge: Forge, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits on main, an annotated tag at the second, a branch at the first."""
    folder = tmp_path_factory.mktemp("repo")
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "One", **{"a.txt": "one"})
    git(folder, "branch", "old/one")
    commit(folder, "Two", **{"a.txt": "two"})
    git(folder, "tag", "-a", "v2", "-m", "Two")
    commit(folder, "Three", **{"a.txt": "three"})
    forge.publish(folder, "app")
    forge.publish(folder, "private")
    return folder


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Fetch and check as `paas.receive.fetch` does: the commit, its tree, and how many objects came."""
    (tmp_path / "sources").mkdir()

    def taken(url: str, *, reach: Reach = LOOPBACK, **limits: int) -> tuple[str, str, int]:
        known = replace(Limits(), **limits)  # type: ignore[arg-type]
        with contextlib.ExitStack() as held:
            path = held.enter_context(Repositories(tmp_path).quarantine(None))
            quarantine = Quarantine(path, None, known, lambda: None)
            patience = Patience(time.monotonic() + 20)
            found = fetch(RemoteRepository.parse(url), path, known, reach, patience)
            (path / "shallow").write_text("".join(f"{oid}\n" for oid in found.shallow))
            with found.pack as pack:
                quarantine.receive(Wire(pack.fileno(), os.dup(2), os.dup(2), 5))
            quarantine.check_complete(found.commit)
            tree = quarantine.export(found.commit, Sources(tmp_path / "sources"), held).tree
            return found.commit, tree, quarantine.objects

    return taken


@pytest.mark.parametrize(
    ("ref", "named"), [("", "main"), ("#main", "main"), ("#v2", "v2^{}"), ("#old/one", "old/one")]
)
def test_a_commit_comes_without_its_history(
    ref: str, named: str, take: Take, forge: Forge, repository: Path
) -> None:
    found = take(f"{forge.url}/app.git{ref}")
    assert found[:2] == (git(repository, "rev-parse", named), git(repository, "rev-parse", f"{named}:"))
    assert found[2] <= 4  # commit, tree, file, and the tag


def test_a_commit_is_found_by_its_id_if_a_branch_is_there(take: Take, forge: Forge, repository: Path) -> None:
    for name in ("old/one", "v2^{}", "main"):
        tip = git(repository, "rev-parse", name)
        assert take(f"{forge.url}/app.git#{tip}")[0] == tip
    with pytest.raises(NotFound, match="no branch or tag is at"):
        take(f"{forge.url}/app.git#{'1' * 40}")


def test_git_s_own_protocol_brings_the_same(take: Take, forge: Forge, repository: Path) -> None:
    with git_daemon(forge.folder) as base:
        assert take(f"{base}/app.git#main")[0] == git(repository, "rev-parse", "main")
        with pytest.raises(NotFound, match="no branch and no tag"):
            take(f"{base}/app.git#nope")
        with pytest.raises(Unavailable, match="broke off"):
            take(f"{base}/none.git")


def test_a_login_goes_to_its_host_only(take: Take, forge: Forge, repository: Path) -> None:
    url = f"{forge.url}/private/private.git".replace("://", f"://{LOGIN}@")
    assert take(url)[0] == git(repository, "rev-parse", "main")
    for wrong in (f"{forge.url}/private/private.git", url.replace("s3cret", "wrong")):
        with pytest.raises(NotFound, match="login") as refused:
            take(wrong)
        assert "wrong" not in refused.value.message + refused.value.hint


def test_a_repository_that_moved_is_followed(take: Take, forge: Forge, repository: Path) -> None:
    assert take(f"{forge.url}/moved/app.git")[0] == git(repository, "rev-parse", "main")
    with pytest.raises(PaasError):
        take(f"{forge.url}/moved/moved/moved/moved/moved/app.git")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/none.git", "not there"),
        ("/app.git#nope", "no branch and no tag"),
        ("/app.git/HEAD", "not there|no repository"),
    ],
)
def test_what_is_not_there_is_said(
    path: str, sentence: str, take: Take, forge: Forge, repository: Path
) -> None:
    with pytest.raises(NotFound, match=sentence):
        take(forge.url + path)


def test_an_empty_repository_is_said(take: Take, forge: Forge) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(forge.folder / "empty.git")], check=True)
    with pytest.raises(NotFound, match="no commits yet"):
        take(f"{forge.url}/empty.git")


def test_a_large_one_ends_at_the_bound(take: Take, forge: Forge, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "noise").write_bytes(os.urandom(300_000))
    commit(folder, "Noise")
    forge.publish(folder, "large")
    with pytest.raises(BadInput, match="larger than 97"):
        take(f"{forge.url}/large.git", pack_bytes=100_000)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "169.254.169.254", "2130706433"]
)
@pytest.mark.parametrize("scheme", ["http", "https", "git"])
def test_addresses_of_the_machine_and_private_ones_are_not_reached(
    host: str, scheme: str, take: Take
) -> None:
    with pytest.raises(BadInput, match="private network") as refused:
        take(f"{scheme}://{host}:1/app.git", reach=Reach())
    assert "private_registries" in refused.value.hint


@pytest.mark.parametrize("scheme", ["http", "git"])
def test_the_internet_is_spoken_to_with_tls_only(scheme: str, take: Take) -> None:
    with pytest.raises(BadInput, match="over TLS only"):
        take(f"{scheme}://1.1.1.1/app.git", reach=Reach())


def line(text: bytes) -> bytes:
    return b"%04x%b" % (len(text) + 4, text)


REF = line(b"a" * 40 + b" HEAD\0shallow\n") + b"0000"


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"zzzz", b"0004", b"ffff", line(b"ERR go away\x1b[2J"), REF, REF + line(b"NAK\n"), REF + line(b"NAK\n") + b"PACK" + bytes(40),
        REF + line(b"shallow x\n") + line(b"what\n"), line(b"x" * 40 + b" HEAD\n") + b"0000", REF + b"0001",
    ],
    ids=range(11),
)  # fmt: skip
def test_a_host_that_answers_nonsense_is_told_of_in_a_sentence(answer: bytes, take: Take) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(answer)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises((PaasError, Refused)) as refused:
            take(f"git://127.0.0.1:{listener.getsockname()[1]}/app")
        thread.join()
    assert "\x1b" not in str(refused.value)


def test_what_a_server_can_do_is_read_once_and_its_ends_of_history_are_few() -> None:
    known: set[str] = set()
    lines = [line(b"%040x refs/heads/b%d\0can-%d\n" % (number + 1, number, number)) for number in range(5)]
    assert len(list(remote._refs(io.BytesIO(b"".join(lines) + b"0000"), known))) == 5
    assert known == {"can-0"}
    ends = [line(b"shallow %040x\n" % number) for number in range(65)]
    assert len(remote._read_until_pack(io.BytesIO(b"".join(ends[:64]) + line(b"NAK\n")))) == 64
    with pytest.raises(ValueError, match="more than 64"):
        remote._read_until_pack(io.BytesIO(b"".join(ends) + line(b"NAK\n")))
