"""Layers on the real kernel: confined children, mapped owners, overlayfs, power cuts, other people's tools."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.layers import BOX, PAAS, Home, give, layer_home, listing, modes

from runtime.home import Layout
from runtime.image import make
from runtime.image.errors import BadTree, ImageError, NotFound, TooLarge
from runtime.image.layerwriter import Limits
from runtime.image.tarwriter import LAYER_MTIME
from runtime.kernel import syscalls
from runtime.kernel.confine import User


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with layer_home(tmp_path) as made:
        yield made


# archives


def test_archive_becomes_a_layer_owned_by_the_app_user(home: Home) -> None:
    made = make.run_unpack(home.layout, home.source("a.tar", (b"app/x", b"1"), (b"app/d/y", b"2")), home.box)
    assert made is not None and made.files == 4
    tree = home.store.path(made.digest)
    assert modes(tree) == {
        "app": ("drwxr-xr-x", 1000, 1000, LAYER_MTIME),
        "app/d": ("drwxr-xr-x", 1000, 1000, LAYER_MTIME),
        "app/d/y": ("-rw-r--r--", 1000, 1000, LAYER_MTIME),
        "app/x": ("-rw-r--r--", 1000, 1000, LAYER_MTIME),
    }
    root = tree.stat()
    assert (root.st_uid, stat.S_IMODE(root.st_mode)) == (0, 0o755)
    blob = home.blob(made.digest)
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert (blob.stat().st_uid, blob.stat().st_gid, blob.stat().st_size) == (PAAS, PAAS, made.size_bytes)


def test_same_archive_again_is_the_same_layer(home: Home) -> None:
    name = home.source("a.tar", (b"app/x", b"1"))
    first = make.run_unpack(home.layout, name, home.box)
    again = make.run_unpack(home.layout, name, home.box)
    assert first is not None and again == first
    assert [layer.digest for layer in home.store.all()] == [first.digest]


def test_empty_archive_is_no_layer(home: Home) -> None:
    (home.layout.sources / "e.tar").write_bytes(bytes(1024))
    assert make.run_unpack(home.layout, "e.tar", home.box) is None
    assert home.store.all() == [] and os.listdir(home.layout.images / "blobs" / "sha256") == []


@pytest.mark.parametrize(
    "name", ["../id", "a/b.tar", "missing.tar", ".tar", "link.tar", "fifo.tar", "folder.tar"]
)
def test_only_a_regular_file_among_the_sources_is_read(home: Home, name: str) -> None:
    sources = home.layout.sources
    (sources / "link.tar").symlink_to("/etc/passwd")
    (sources / "folder.tar").mkdir()
    os.mkfifo(sources / "fifo.tar")
    with pytest.raises(NotFound):
        make.run_unpack(home.layout, name, home.box)


def test_a_layer_that_the_disk_has_no_room_for_is_refused_before_it_is_full(home: Home) -> None:
    name = home.source("big.tar", (b"app/x", bytes(8 << 20)))
    status = os.statvfs(home.layout.layers)
    most = Limits(reserve_bytes=status.f_blocks * status.f_frsize)
    with pytest.raises(TooLarge, match="disk has less than"):
        make.run_unpack(home.layout, name, home.box, most)
    assert home.store.all() == [] and os.listdir(home.layout.images / "blobs" / "sha256") == []
    assert os.listdir(home.layout.layers / ".new") == []


def test_hostile_archive_leaves_nothing_behind(home: Home) -> None:
    with tarfile.open(home.layout.sources / "h.tar", "w") as tar:
        for name, kind, target in (
            ("a", tarfile.REGTYPE, ""),
            ("b", tarfile.SYMTYPE, "/etc"),
            ("b/x", tarfile.REGTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    with pytest.raises(ImageError, match="b: a link or a file") as caught:
        make.run_unpack(home.layout, "h.tar", home.box)
    assert caught.value.code == "bad_archive"
    assert home.store.all() == [] and not (Path("/etc") / "x").exists()


def test_limit_on_bytes_holds_in_the_child(home: Home) -> None:
    name = home.source("big.tar", (b"app/big", bytes(3 << 20)))
    with pytest.raises(TooLarge):
        make.run_unpack(home.layout, name, home.box, Limits(size_bytes=1 << 20))


# snapshots


def test_snapshot_takes_files_and_drops_everything_dangerous(home: Home) -> None:
    upper = home.upper()
    app = upper / "app"
    app.mkdir()
    (app / "out").mkdir()
    (app / "out/plain").write_text("x")
    (app / "out/tool").write_text("#!")
    (app / "out/link").symlink_to("/etc/shadow")
    os.link(app / "out/plain", app / "out/same")
    os.mkfifo(app / "out/fifo")
    os.mknod(app / "out/socket", stat.S_IFSOCK | 0o755)
    os.mknod(app / "out/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(app / "out/gone", stat.S_IFCHR | 0o600, 0)
    (app / "elsewhere").write_text("not asked for")
    os.setxattr(app / "out/plain", "user.note", b"x")
    os.setxattr(app / "out", "trusted.overlay.redirect", b"/etc")
    give(upper)
    (app / "out/tool").chmod(0o6755)
    made = make.run_snapshot(home.layout, "i1", ["/app/out"], [], home.app)
    assert made is not None
    tree = home.store.path(made.digest)
    assert modes(tree) == {
        "app": ("drwxr-xr-x", 1000, 1000, LAYER_MTIME),
        "app/out": ("drwxr-xr-x", 1000, 1000, LAYER_MTIME),
        "app/out/gone": ("crw-------", 1000, 1000, LAYER_MTIME),
        "app/out/link": ("lrwxrwxrwx", 1000, 1000, LAYER_MTIME),
        "app/out/plain": ("-rw-r--r--", 1000, 1000, LAYER_MTIME),
        "app/out/same": ("-rw-r--r--", 1000, 1000, LAYER_MTIME),
        "app/out/tool": ("-rwxr-xr-x", 1000, 1000, LAYER_MTIME),
    }
    assert (tree / "app/out/plain").stat().st_ino == (tree / "app/out/same").stat().st_ino
    assert not any(os.listxattr(path, follow_symlinks=False) for path in tree.rglob("*"))
    with tarfile.open(home.blob(made.digest)) as tar:
        assert "app/out/.wh.gone" in tar.getnames() and "app/out/gone" not in tar.getnames()


def test_order_of_creation_and_times_do_not_change_the_digest(home: Home) -> None:
    names = [f"n{number}" for number in range(40)]
    digests = []
    for instance, order in (("i1", names), ("i2", names[::-1])):
        folder = home.upper(instance) / "app/deps"
        folder.mkdir(parents=True)
        for name in order:
            (folder / name).write_text(name)
            os.utime(folder / name, (time.time() - len(digests) * 1000,) * 2)
        give(folder.parent)
        made = make.run_snapshot(home.layout, instance, ["/app/deps"], [], home.app)
        assert made is not None
        digests.append(made.digest)
    assert digests[0] == digests[1]


def test_nothing_written_is_no_layer(home: Home) -> None:
    home.upper()
    assert make.run_snapshot(home.layout, "i1", ["/app/.venv"], [], home.app) is None


def test_what_its_owner_may_not_read_is_kept_like_that(home: Home) -> None:
    folder = home.upper() / "app/d"
    folder.mkdir(parents=True)
    (folder / "locked").write_text("x")
    give(folder.parent)
    (folder / "locked").chmod(0)
    folder.chmod(0o300)
    made = make.run_snapshot(home.layout, "i1", ["/app/d"], [], home.app)
    assert made is not None
    found = modes(home.store.path(made.digest))
    assert [found[name][:2] for name in ("app/d", "app/d/locked")] == [
        ("d-wx------", 1000),
        ("----------", 1000),
    ]


def test_file_of_the_host_is_out_of_reach(home: Home, tmp_path: Path) -> None:
    """An upper folder whose way to the path is a link, and a hard link to a file only root may read."""
    secret = tmp_path / "secret"
    secret.write_text("root only")
    secret.chmod(0o600)
    upper = home.upper()
    (upper / "app").symlink_to("/etc")
    with pytest.raises(BadTree):
        make.run_snapshot(home.layout, "i1", ["/app/passwd"], [], home.app)
    other = home.upper("i2")
    (other / "app").mkdir()
    give(other / "app")
    os.link(secret, other / "app/stolen")
    with pytest.raises(BadTree, match="stolen"):
        make.run_snapshot(home.layout, "i2", ["/app/stolen"], [], home.app)


def test_sparse_terabyte_is_refused_at_once(home: Home) -> None:
    folder = home.upper() / "app"
    folder.mkdir()
    with (folder / "huge").open("wb") as file:
        file.truncate(1 << 40)
    give(folder)
    with pytest.raises(TooLarge):
        make.run_snapshot(home.layout, "i1", ["/app"], [], home.app)


@pytest.mark.parametrize("name", [b".wh.x", b".wh..wh..opq"])
def test_name_that_an_image_cannot_hold_is_refused(home: Home, name: bytes) -> None:
    folder = home.upper() / "app"
    folder.mkdir()
    (folder / os.fsdecode(name)).write_text("x")
    give(folder)
    with pytest.raises(BadTree, match=r"\.wh\."):
        make.run_snapshot(home.layout, "i1", ["/app"], [], home.app)


def test_layer_over_its_base_shows_what_the_container_saw(home: Home) -> None:
    """Change a tree through overlayfs, take the layer, stack it, compare."""
    files = ((b"app/keep", b"1"), (b"app/gone", b"2"), (b"app/dir/old", b"3"), (b"app/dir2/stays", b"4"))
    base = make.run_unpack(home.layout, home.source("base.tar", *files), home.box)
    assert base is not None
    lower, upper = home.store.path(base.digest), home.upper()
    work, merged = home.layout.instances / "work", home.layout.instances / "merged"
    for folder in (work, merged):
        folder.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off,metacopy=off"
    syscalls.mount("overlay", str(merged), "overlay", 0, options)
    try:
        (merged / "app/gone").unlink()
        (merged / "app/keep").write_text("changed")
        shutil.rmtree(merged / "app/dir")
        (merged / "app/dir").mkdir()
        (merged / "app/dir/new").write_text("new")
        (merged / "app/dir2/more").write_text("more")
        (merged / "app/fresh").mkdir()
        give(merged / "app")
        seen = {path: path_kind(merged / path) for path in listing(merged)}
    finally:
        syscalls.umount2(str(merged), syscalls.MNT_DETACH)
    made = make.run_snapshot(home.layout, "i1", ["/app"], [base.digest], home.app)
    assert made is not None
    with tarfile.open(home.blob(made.digest)) as tar:
        marks = [name for name in tar.getnames() if ".wh." in name]
    assert marks == ["app/dir/.wh..wh..opq", "app/.wh.gone"]
    options = f"lowerdir={home.store.path(made.digest)}:{lower},redirect_dir=off,metacopy=off"
    syscalls.mount("overlay", str(merged), "overlay", syscalls.MS_RDONLY, options)
    try:
        assert {path: path_kind(merged / path) for path in listing(merged)} == seen
    finally:
        syscalls.umount2(str(merged), syscalls.MNT_DETACH)


def path_kind(path: Path) -> str:
    return "folder" if path.is_dir() else path.read_text()


# the store, its crashes and its repair


def test_removed_layer_is_gone_and_removing_it_again_is_no_error(home: Home) -> None:
    made = make.run_unpack(home.layout, home.source("a.tar", (b"app/x", b"1")), home.box)
    assert made is not None
    for _ in range(2):
        home.store.remove(made.digest)
    with pytest.raises(NotFound):
        home.store.path(made.digest)
    assert [name for name in os.listdir(home.layout.layers) if name != ".new"] == []


def pretend_power_cut(home: Home, digest: str) -> None:
    """Let a layer look as if an earlier boot had made it and never brought it to the disk."""
    path = home.layout.layers / f"{digest.removeprefix('sha256:')}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "unsynced_boot": "an-earlier-boot"}))


def test_start_sweeps_descriptions_that_describe_nothing(home: Home) -> None:
    made = make.run_unpack(home.layout, home.source("a.tar", (b"app/x", b"1")), home.box)
    assert made is not None
    name = made.digest.removeprefix("sha256:")
    for stray in (f"{name}.json.1a2b", f"{'0' * 64}.json", f"{'0' * 64}.json.ffff", ".new-1a2b"):
        (home.layout.layers / stray).write_text("{}")
    (home.layout.layers / ".new" / "left").mkdir()
    (home.layout.images / "blobs/sha256/.new-left").touch()
    make.run_repair(home.layout, home.box)
    assert sorted(os.listdir(home.layout.layers)) == [".new", name, f"{name}.json"]


def test_layer_damaged_by_a_power_cut_is_made_again_from_its_blob(home: Home) -> None:
    made = make.run_unpack(home.layout, home.source("a.tar", (b"app/x", b"important")), home.box)
    assert made is not None
    (home.store.path(made.digest) / "app/x").write_bytes(b"")
    pretend_power_cut(home, made.digest)
    assert make.run_repair(home.layout, home.box) == [(made.digest, True)]
    assert (home.store.path(made.digest) / "app/x").read_text() == "important"
    assert make.run_repair(home.layout, home.box) == []


def test_whiteouts_and_opaque_folders_survive_the_repair(home: Home) -> None:
    files = ((b"app/d/old", b"1"), (b"app/gone", b"2"))
    base = make.run_unpack(home.layout, home.source("base.tar", *files), home.box)
    assert base is not None
    upper = home.upper()
    (upper / "app/d").mkdir(parents=True)
    os.setxattr(upper / "app/d", "trusted.overlay.opaque", b"y")
    os.mknod(upper / "app/gone", stat.S_IFCHR, 0)
    give(upper)
    made = make.run_snapshot(home.layout, "i1", ["/app"], [base.digest], home.app)
    assert made is not None
    for _ in range(2):
        tree = home.store.path(made.digest)
        assert os.getxattr(tree / "app/d", "trusted.overlay.opaque") == b"y"
        assert stat.S_ISCHR((tree / "app/gone").lstat().st_mode)
        pretend_power_cut(home, made.digest)
        assert make.run_repair(home.layout, home.box) == [(made.digest, True)]


def test_layer_whose_blob_is_damaged_too_is_removed(home: Home) -> None:
    made = make.run_unpack(home.layout, home.source("a.tar", (b"app/x", b"1")), home.box)
    assert made is not None
    blob = home.blob(made.digest)
    blob.write_bytes(blob.read_bytes().replace(b"app/x", b"app/y"))
    pretend_power_cut(home, made.digest)
    assert make.run_repair(home.layout, home.box) == [(made.digest, False)]
    assert home.store.all() == []


def test_killed_at_any_time_the_next_start_sweeps_and_nothing_half_made_is_seen(home: Home) -> None:
    files = [(b"app/f%d" % number, bytes(2000)) for number in range(300)]
    name = home.source("many.tar", *files)
    for step in range(12):
        pid = os.fork()
        if pid == 0:
            try:
                make.run_unpack(home.layout, name, home.box)
            finally:
                os._exit(0)
        time.sleep(0.004 * step)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        wait_for_no_user(BOX.uid)
        make.run_repair(home.layout, home.box)
        assert home.leftovers() == []
        for layer in home.store.all():
            assert len(os.listdir(home.store.path(layer.digest) / "app")) == 300
            assert home.blob(layer.digest).stat().st_size == layer.size_bytes
            home.store.remove(layer.digest)


def wait_for_no_user(uid: int) -> None:
    """Until no process of that user is left: the child dies with its parent, but a moment later."""
    while any(owner(entry) == uid for entry in os.listdir("/proc") if entry.isdigit()):
        time.sleep(0.001)


def owner(pid: str) -> int:
    """The user of a process; -1 for one that has ended, whether or not it has been waited for."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return -1
    return -1 if "\nState:\tZ" in status else int(status.partition("\nUid:\t")[2].split()[0])


def test_child_that_cannot_be_confined_says_why_and_makes_nothing(home: Home) -> None:
    name = home.source("a.tar", (b"app/x", b"1"))
    root = make.Reader(User(0, 0), home.box.userns_fd)
    with pytest.raises(ImageError, match="cannot be root"):
        make.run_unpack(home.layout, name, root)
    assert home.store.all() == []


def test_disk_that_is_full_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A small tmpfs as home: the child meets ENOSPC."""
    small = tmp_path / "small"
    small.mkdir()
    syscalls.mount("tmpfs", str(small), "tmpfs", 0, "size=1m,mode=755")
    try:
        layout = Layout(small, tmp_path / "stacks", "c0ffee")
        for folder in (layout.sources, layout.images, layout.layers):
            folder.mkdir()
        box = make.box_reader(BOX)
        crowded = Home(layout, box, box)
        name = crowded.source("a.tar", (b"app/x", bytes(600_000)))
        with pytest.raises((ImageError, OSError), match="No space left"):
            make.run_unpack(layout, name, box, Limits(reserve_bytes=0))
        assert crowded.leftovers() == [] and crowded.store.all() == []
        os.close(box.userns_fd)
    finally:
        syscalls.umount2(str(small), syscalls.MNT_DETACH)
