"""Hostile trees, packs, refs and texts: refused with one sentence, nothing left behind, the app untouched.

The numbers are those of the threat table: G4 trees, G5 packs, G6 refs, G7 side band.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.git import Client, GitDaemon, RawPush, pkt
from harness.git_api import Deploying
from harness.packs import BLOB, OFS_DELTA, REF_DELTA, TAG, ZERO, Pack, commit_of, delta_size, size_bytes

FILE, LINK, FOLDER, MODULE = "100644", "120000", "40000", "160000"


@pytest.fixture
def ann(shared: tuple[GitDaemon, Client]) -> Client:
    """Most tests here make their packs by hand and need no new working tree."""
    return shared[1]


def push_raw(client: Client, pack: bytes, commit: str, ref: bytes = b"refs/heads/main") -> tuple[str, str]:
    return RawPush(client).send([(ZERO, commit, ref)], pack)


def assert_refused(daemon: GitDaemon, answer: tuple[str, str], *words: str) -> None:
    report, read = answer
    assert "ng refs/heads/main" in report, (report, read, daemon.log())
    assert " !     Push rejected:" in read
    for word in words:
        assert word in read, read
    assert "Traceback" not in read + daemon.log()
    assert daemon.platform.pushes == []
    assert daemon.platform.apps == {}, "an app was made by a push that was refused"
    assert daemon.settled(), daemon.left_overs()


EVIL_NAMES = [
    b".git", b".GIT", b"git~1", ".g\u200cit".encode(), b"..", b".", b"", b"a/b", b".git ", b".git\\x",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL_NAMES, ids=ascii)
@pytest.mark.parametrize("mode", [FILE, FOLDER])
def test_g4_tree_with_an_evil_name(daemon: GitDaemon, ann: Client, name: bytes, mode: str) -> None:
    pack = Pack()
    inner = pack.blob() if mode == FILE else pack.tree((FILE, b"config", pack.blob()))
    commit = pack.commit(pack.tree((mode, name, inner), (FILE, b"zz", pack.blob(b"z"))))
    assert_refused(daemon, push_raw(ann, pack.bytes(), commit), "broken")


def test_g4_same_name_twice(daemon: GitDaemon, ann: Client) -> None:
    pack, commit = commit_of((FILE, b"x", b"1"), (FILE, b"x", b"2"))
    assert_refused(daemon, push_raw(ann, pack.bytes(), commit), "duplicateEntries")


def test_g4_link_and_folder_of_one_name(daemon: GitDaemon, ann: Client) -> None:
    pack = Pack()
    link, folder = pack.blob(b"/etc"), pack.tree((FILE, b"passwd", pack.blob()))
    commit = pack.commit(pack.tree((LINK, b"x", link), (FOLDER, b"x", folder)))
    assert_refused(daemon, push_raw(ann, pack.bytes(), commit))


@pytest.mark.parametrize("mode", ["104755", "106644", "20666", "60666", "10644", "777", "0100644x"])
def test_g4_mode_that_is_none_of_gits(daemon: GitDaemon, ann: Client, mode: str) -> None:
    pack, commit = commit_of((mode, b"x", b"1"))
    assert_refused(daemon, push_raw(ann, pack.bytes(), commit))


def test_g4_name_of_300_bytes(daemon: GitDaemon, ann: Client) -> None:
    pack, commit = commit_of((FILE, b"n" * 300, b"1"))
    assert_refused(daemon, push_raw(ann, pack.bytes(), commit), "not a path that can be checked out")


def test_g4_five_thousand_folders_deep(daemon: GitDaemon, ann: Client) -> None:
    pack = Pack()
    inner = pack.tree((FILE, b"f", pack.blob()))
    for _ in range(5000):
        inner = pack.tree((FOLDER, b"d", inner))
    assert_refused(daemon, push_raw(ann, pack.bytes(), pack.commit(inner)))


def test_g4_submodule_is_named(daemon: GitDaemon, ann: Client) -> None:
    pack, commit = commit_of((FILE, b"app.py", b"1"), (MODULE, b"lib", "1" * 40))
    assert_refused(daemon, push_raw(ann, pack.bytes(), commit), "Submodules are not fetched: 'lib'")


def test_g4_gitmodules_with_an_option_as_url(daemon: GitDaemon, ann: Client) -> None:
    text = b'[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch /tmp/owned\n'
    pack, commit = commit_of((FILE, b".gitmodules", text), (MODULE, b"x", "1" * 40))
    assert_refused(daemon, push_raw(ann, pack.bytes(), commit), "gitmodulesUrl")


def test_g4_attributes_are_only_files(daemon: GitDaemon, ann: Client) -> None:
    """Neither filters nor `export-ignore` nor line ends: what was committed is what is built."""
    attributes = b"*.txt filter=evil export-subst eol=crlf\nsecret export-ignore\n" + b"*" * 2000 + b" x\n"
    pack, commit = commit_of((FILE, b".gitattributes", attributes), (FILE, b"a.txt", b"$Format:%H$\n"))
    report, read = push_raw(ann, pack.bytes(), commit)
    assert "ok refs/heads/main" in report, read
    [push] = daemon.platform.pushes
    assert push.source.read("a.txt") == b"$Format:%H$\n"


def bomb(megabytes: int = 256) -> tuple[bytes, str]:
    """A thousandth of what it inflates to, as a file of the commit."""
    megabyte, zeros = bytes(1 << 20), megabytes << 20
    packer, sha = zlib.compressobj(9), hashlib.sha1(b"blob %d\0" % zeros)
    parts = [size_bytes(BLOB, zeros)]
    for _ in range(megabytes):
        parts.append(packer.compress(megabyte))
        sha.update(megabyte)
    pack = Pack()
    pack.raw(b"".join(parts) + packer.flush())
    return _with_file(pack, sha.hexdigest())


def _with_file(pack: Pack, oid: str) -> tuple[bytes, str]:
    commit = pack.commit(pack.tree((FILE, b"f", oid)))
    return pack.bytes(), commit


def huge_delta() -> tuple[bytes, str]:
    """A delta that claims to make 4 GB of a copied byte."""
    pack = Pack()
    base = pack.blob(b"x" * 65536)
    copies = b"\xf0\xff\xff\xff" * 256
    delta = delta_size(65536) + delta_size(4 << 30) + copies
    pack.raw(size_bytes(REF_DELTA, len(delta)) + bytes.fromhex(base) + zlib.compress(delta))
    return _with_file(pack, base)


def delta_of_itself() -> tuple[bytes, str]:
    pack = Pack()
    oid = pack.blob()
    delta = delta_size(6) + delta_size(6) + b"\x90\x06"
    pack.raw(size_bytes(OFS_DELTA, len(delta)) + b"\0" + zlib.compress(delta))
    return _with_file(pack, oid)


def missing_base() -> tuple[bytes, str]:
    pack = Pack()
    delta = delta_size(6) + delta_size(6) + b"\x90\x06"
    pack.raw(size_bytes(REF_DELTA, len(delta)) + b"\x11" * 20 + zlib.compress(delta))
    return _with_file(pack, "1" * 40)


def truncated() -> tuple[bytes, str]:
    pack, commit = commit_of((FILE, b"f", os.urandom(9000)))
    return pack.bytes()[:4000], commit


def bad_trailer() -> tuple[bytes, str]:
    pack, commit = commit_of((FILE, b"f", b"1"))
    return pack.bytes()[:-20] + b"\0" * 20, commit


def garbage() -> tuple[bytes, str]:
    return b"GARBAGE" * 100, "1" * 40


def five_million_objects() -> tuple[bytes, str]:
    return b"PACK" + struct.pack(">II", 2, 5_000_000) + b"\0" * 1000, "1" * 40


def more_claimed_than_sent() -> tuple[bytes, str]:
    pack, commit = commit_of((FILE, b"f", b"1"))
    return pack.bytes(count=10), commit


def wrong_size() -> tuple[bytes, str]:
    pack = Pack()
    pack.raw(size_bytes(BLOB, 3) + zlib.compress(b"much longer than three"))
    return _with_file(pack, "1" * 40)


def two_trees() -> tuple[bytes, str]:
    pack = Pack()
    tree = pack.tree((FILE, b"f", pack.blob()))
    commit = pack.add(
        1, f"tree {tree}\ntree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx".encode()
    )
    return pack.bytes(), commit


def absent_commit() -> tuple[bytes, str]:
    pack, _ = commit_of((FILE, b"f", b"1"))
    return pack.bytes(), "2" * 40


def absent_parent() -> tuple[bytes, str]:
    pack = Pack()
    commit = pack.commit(pack.tree((FILE, b"f", pack.blob())), parents=("3" * 40,))
    return pack.bytes(), commit


def absent_file() -> tuple[bytes, str]:
    return _with_file(Pack(), "4" * 40)


def commit_is_a_blob() -> tuple[bytes, str]:
    pack = Pack()
    oid = pack.blob()
    return pack.bytes(), oid


def commit_is_a_tag() -> tuple[bytes, str]:
    pack, commit = commit_of((FILE, b"f", b"1"))
    tag = pack.add(TAG, f"object {commit}\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nv1\n".encode())
    return pack.bytes(), tag


EVIL_PACKS: list[Callable[[], tuple[bytes, str]]] = [
    huge_delta, delta_of_itself, missing_base, truncated, bad_trailer, garbage, five_million_objects,
    more_claimed_than_sent, wrong_size, two_trees, absent_commit, absent_parent, absent_file, commit_is_a_blob, commit_is_a_tag,
]  # fmt: skip


@pytest.mark.parametrize("make", EVIL_PACKS, ids=lambda make: make.__name__)
def test_g5_evil_pack(daemon: GitDaemon, ann: Client, make: Callable[[], tuple[bytes, str]]) -> None:
    pack, commit = make()
    assert ann.ssh().returncode == 0, "the daemon has imported everything"
    before = daemon.memory_bytes()
    assert_refused(daemon, push_raw(ann, pack, commit))
    assert daemon.memory_bytes() < before + (8 << 20)


def test_g5_bomb(make_daemon: Callable[..., GitDaemon], root: Path) -> None:
    """The tree's files are counted before one of them is written."""
    daemon = make_daemon(source_limit_bytes=255 << 20)
    ann = Client(daemon, root / "ann", "ann")
    assert_refused(daemon, push_raw(ann, *bomb()), "have 256 MiB; the limit is 255 MiB")


def test_g5_tree_that_unfolds_without_end_is_refused_by_the_limit_it_passes(
    daemon: GitDaemon, ann: Client
) -> None:
    """Ten trees, each of which names the one before ten times: ten thousand million files in a kilobyte."""
    pack = Pack()
    tree = pack.tree((FILE, b"f", pack.blob()))
    for _ in range(10):
        tree = pack.tree(*((FOLDER, b"d%d" % number, tree) for number in range(10)))
    commit = pack.commit(tree)
    answer = push_raw(ann, pack.bytes(), commit)
    assert_refused(daemon, answer, "The commit has more than 200000 files and folders.")
    assert "operator" not in answer[1]


def test_g5_object_of_another_app_is_no_base(daemon: GitDaemon, ann: Client) -> None:
    assert ann.push().returncode == 0
    foreign = ann.git("rev-parse", "HEAD:app.py").stdout.strip()
    pack = Pack()
    commit = pack.commit(pack.tree((FILE, b"stolen", foreign)))
    report, _ = RawPush(ann, "other").send([(ZERO, commit, b"refs/heads/main")], pack.bytes())
    assert "ng refs/heads/main" in report
    assert "other" not in daemon.platform.apps


@pytest.mark.parametrize("count", [2, 3000, pytest.param(80_000, marks=pytest.mark.long)])
def test_g5_many_refs_are_refused_like_two(daemon: GitDaemon, ann: Client, count: int) -> None:
    commands = [(ZERO, "1" * 40, b"refs/heads/b%d" % number) for number in range(count)]
    report, read = RawPush(ann).send(commands, b"")
    assert "ok refs" not in report and "ng refs/heads/b1 pre-receive hook declined" in report
    assert f"A push updates one branch, not {count} refs" in read
    assert "Use: git push paas HEAD:main" in read
    assert daemon.platform.apps == {}


EVIL_REFS = [
    b"refs/heads/../../config", b"HEAD", b"refs/heads/main.lock", b"refs/heads/ma\x07in", b"refs/heads/" + b"x" * 4000,
    b"refs/heads//main", b"refs/heads/main/", b"refs/heads/@{1}", b"refs/hidden/x", b"refs/remotes/origin/main", b"main",
    b"refs/heads/", b"refs/heads/Main", b"refs/notes/x", b"refs/heads/main~1", b"refs/heads/-main",
]  # fmt: skip


@pytest.mark.parametrize("ref", EVIL_REFS, ids=lambda ref: ascii(ref[:30]))
def test_g6_ref_that_is_not_the_deploy_branch(daemon: GitDaemon, ann: Client, ref: bytes) -> None:
    pack, commit = commit_of((FILE, b"f", b"1"))
    report, read = push_raw(ann, pack.bytes(), commit, ref)
    assert "ok refs" not in report and "ng " in report
    assert "Push rejected: wrong branch" in read
    assert "\x07" not in read
    assert daemon.platform.apps == {} and daemon.platform.pushes == []


def test_g6_stale_old_id_moves_nothing(daemon: GitDaemon, ann: Client) -> None:
    """The answer to a lost race is no."""
    assert ann.push().returncode == 0
    pack, commit = commit_of((FILE, b"f", b"1"))
    report, read = RawPush(ann).send([("5" * 40, commit, b"refs/heads/main")], pack.bytes())
    assert "ng refs/heads/main" in report
    assert "went live meanwhile" in read
    assert len(daemon.platform.pushes) == 1


def test_g7_terminal_tricks_of_a_build_do_not_reach_the_terminal(daemon: GitDaemon, ann: Client) -> None:
    tricks = "\x1b[2J\x1b]0;owned\x07a\rremote: ok\x1b[1A\x9bK\u202egnp\u2066\x00\x08b\tc\u2028d"

    def deploy(push: Deploying) -> dict[str, Any]:
        push.emit({"line": tricks})
        push.emit({"line": "x" * 100_000})
        return {"error": {"code": "build_failed", "message": tricks, "hint": tricks, "lines": [tricks]}}

    daemon.platform.deploy = deploy
    pack, commit = commit_of((FILE, b"f", b"1"))
    report, read = push_raw(ann, pack.bytes(), commit)
    assert "ng refs/heads/main pre-receive hook declined" in report
    assert "aremote: okKgnpb\tcd\n" in read
    assert not set(read) - {"\n", "\t"} & {chr(code) for code in [*range(32), 127, *range(128, 160)]}
    assert max(map(len, read.splitlines())) < 2100


@pytest.mark.parametrize(
    "data",
    [
        b"zzzz", b"0003", b"0004", b"ffff", b"0009hello", b"0000", b"\0" * 100,
        b"0014" + b"x" * 16, b"0032" + b"1" * 40 + b" 2 r\0\0\0",
    ],
    ids=ascii,
)  # fmt: skip
def test_g5_what_is_not_the_protocol(daemon: GitDaemon, ann: Client, data: bytes) -> None:
    report, read = RawPush(ann).send_bytes(data)
    assert report == ""
    assert "Traceback" not in read + daemon.log()
    assert daemon.platform.apps == {}
    assert daemon.settled()


def test_client_without_side_band_hears_on_stderr(daemon: GitDaemon, ann: Client) -> None:
    push = RawPush(ann)
    pack, commit = commit_of((FILE, b"f", b"1"))
    command = f"{ZERO} {commit} refs/heads/other\0report-status".encode()
    out, err = push.send_plain(pkt(command) + b"0000" + pack.bytes())
    assert b"ng refs/heads/other pre-receive hook declined" in out
    assert b"Push rejected: wrong branch" in err
