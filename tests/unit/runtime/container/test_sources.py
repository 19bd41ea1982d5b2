"""What a container is made from is found below the platform's folders without following links, or refused by name."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness.engine import ATTACH_GROUP, BASE, LOG_USER, descriptors, ended, forked

from runtime.container import sources
from runtime.container.engine import Engine
from runtime.container.sources import SourceError
from runtime.kernel import syscalls
from runtime.spec import Box, Mount, Order, Process

DIGEST = "sha256:" + "a" * 64
ORDER = Order("i1", "app1")
OWNER = BASE + 1000


def box(*mounts: Mount) -> Box:
    return Box((DIGEST,), Process(("x",)), BASE, mounts=mounts)


def mode(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def test_layers_come_from_the_home_or_else_from_the_stacks_in_their_order(engine: Engine) -> None:
    for top, digit in ((engine.layout.layers, "a"), (engine.layout.stacks / "layers", "b")):
        (top / (digit * 64)).mkdir(parents=True)
        (top / (digit * 64) / f"of-{digit}").touch()
    before = descriptors()
    with ExitStack() as shim_fds:
        opened = sources.open_layers(engine.layout, ("sha256:" + "b" * 64, DIGEST), shim_fds)
        assert [os.listdir(f"/proc/self/fd/{fd}") for fd in opened] == [["of-b"], ["of-a"]]
    assert descriptors() == before


def test_a_layer_that_is_not_here_is_named(engine: Engine) -> None:
    with ExitStack() as shim_fds, pytest.raises(SourceError, match=f"^layer {DIGEST} is not here$"):
        sources.open_layers(engine.layout, (DIGEST,), shim_fds)


@pytest.mark.parametrize("kind", ["volume", "cache"])
def test_a_folder_of_an_app_is_made_for_its_user_and_kept(engine: Engine, kind: str) -> None:
    top = engine.layout.volumes if kind == "volume" else engine.layout.caches
    with ExitStack() as shim_fds:
        (bind,) = sources.open_mounts(engine, box(Mount(kind, "app1/data", "/srv/data")), shim_fds)  # type: ignore[arg-type]
        assert bind.target == "srv/data"
        assert bind.attributes == syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
        assert mode(top / "app1/data") == (0o700, OWNER, OWNER) and mode(top / "app1") == (0o700, 0, 0)
        (top / "app1/data/file").touch()
        os.chown(top / "app1/data", OWNER + 7, OWNER + 7)
        (again,) = sources.open_mounts(engine, box(Mount(kind, "app1/data", "/x", read_only=True)), shim_fds)  # type: ignore[arg-type]
        assert os.listdir(f"/proc/self/fd/{again.source}") == ["file"]
        assert again.attributes & syscalls.MOUNT_ATTR_RDONLY
        assert mode(top / "app1/data")[1] == OWNER + 7, "whoever has it keeps it"


@pytest.mark.parametrize("source", ["link", "link/data", "file/data"])
def test_no_link_leads_out_of_the_volumes_and_nothing_stays_open(
    engine: Engine, tmp_path: Path, source: str
) -> None:
    (tmp_path / "outside").mkdir()
    (engine.layout.volumes / "link").symlink_to(tmp_path / "outside")
    (engine.layout.volumes / "file").touch()
    before = descriptors()
    with ExitStack() as shim_fds, pytest.raises(OSError):
        sources.open_mounts(engine, box(Mount("volume", source, "/x")), shim_fds)
    assert descriptors() == before
    assert os.listdir(tmp_path / "outside") == []


def test_a_path_of_the_host_is_read_only_and_lies_where_the_operator_allows(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "allowed/in").mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path / "allowed/in")
    with ExitStack() as shim_fds:
        mounts = [Mount("host", str(tmp_path / name), "/x") for name in ("allowed", "allowed/in", "way")]
        for bind in sources.open_mounts(engine, box(*mounts), shim_fds):
            assert bind.attributes & syscalls.MOUNT_ATTR_RDONLY


@pytest.mark.parametrize("name", ["other", "allowed-not", "allowed/out"])
def test_a_path_of_the_host_that_is_not_allowed_is_refused_with_its_real_name(
    engine: Engine, tmp_path: Path, name: str
) -> None:
    for folder in ("allowed", "other", "allowed-not"):
        (tmp_path / folder).mkdir()
    (tmp_path / "allowed/out").symlink_to(tmp_path / "other")
    real = tmp_path / ("other" if name == "allowed/out" else name)
    before = descriptors()
    with ExitStack() as shim_fds, pytest.raises(SourceError) as refused:
        sources.open_mounts(engine, box(Mount("host", str(tmp_path / name), "/x")), shim_fds)
    assert str(refused.value).startswith(f"mount {tmp_path / name}: ") and str(refused.value).endswith(
        str(real)
    )
    assert descriptors() == before


def test_a_path_of_the_host_that_is_missing_is_named(engine: Engine, tmp_path: Path) -> None:
    with ExitStack() as shim_fds, pytest.raises(SourceError, match=r"gone: No such file or directory$"):
        sources.open_mounts(engine, box(Mount("host", str(tmp_path / "allowed/gone"), "/x")), shim_fds)


def test_the_ring_belongs_to_the_log_user_and_is_continued(engine: Engine) -> None:
    folder = engine.layout.logs / "app1"
    for _ in range(2):
        with ExitStack() as shim_fds:
            for fd in sources.open_logs(engine, ORDER, shim_fds):
                os.write(fd, b"line\n")
    assert mode(folder) == (0o2770, LOG_USER, ATTACH_GROUP)
    for number in (0, 1):
        path = folder / f"i1.{number}.log"
        assert mode(path) == (0o660, LOG_USER, ATTACH_GROUP) and path.read_bytes() == b"line\nline\n"


@pytest.mark.parametrize("trap", ["symlink", "hard link", "fifo", "folder"])
def test_only_an_ordinary_file_is_a_log(engine: Engine, tmp_path: Path, trap: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of root")
    secret.chmod(0o600)
    sources.make_log_folder(engine, "app1")
    log = engine.layout.logs / "app1/i1.1.log"
    {
        "symlink": lambda: log.symlink_to(secret),
        "hard link": lambda: log.hardlink_to(secret),
        "fifo": lambda: os.mkfifo(log),
        "folder": log.mkdir,
    }[trap]()
    before = descriptors()
    with ExitStack() as shim_fds, pytest.raises((OSError, SourceError)):
        sources.open_logs(engine, ORDER, shim_fds)
    assert descriptors() == before
    assert mode(secret) == (0o600, 0, 0) and secret.read_text() == "of root"


def test_what_is_discarded_waits_in_the_trash_under_a_free_name(engine: Engine) -> None:
    top = engine.layout.instances
    for _ in range(3):
        (top / "i1/upper").mkdir(parents=True)
        sources.discard(engine, "i1")
    sources.discard(engine, "i1")  # which is gone: no error
    assert sorted(os.listdir(top / sources.TRASH)) == ["i1.0", "i1.1", "i1.2"]
    assert os.listdir(top) == [sources.TRASH] and mode(top / sources.TRASH)[0] == 0o700


def test_emptying_the_trash_takes_no_more_rights_than_that(engine: Engine) -> None:
    for top in (engine.layout.instances, engine.layout.caches):
        hostile = top / "i1/upper/deep"
        hostile.mkdir(parents=True)
        (hostile / "file").touch()
        os.chown(hostile, OWNER, OWNER)
        hostile.chmod(0)
        sources.trash(top, top / "i1")

    def child() -> None:
        sources.empty_trash((engine.layout.instances, engine.layout.volumes, engine.layout.caches))
        status = Path("/proc/self/status").read_text()
        assert "\nCapEff:\t000000000000000e\n" in status and "\nNoNewPrivs:\t1\n" in status

    assert ended(forked(child)) == 0
    for top in (engine.layout.instances, engine.layout.caches):
        assert os.listdir(top / sources.TRASH) == []
