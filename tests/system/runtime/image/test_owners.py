"""Layers in which files belong to several users: kept, read whoever may read them, and never more than a container's ids."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.layers import BASE, Home, give, layer_home, modes

from runtime.image import make
from runtime.image.errors import BadArchive, BadTree
from runtime.image.layerstore import Layer
from runtime.image.tarwriter import LAYER_MTIME

T = LAYER_MTIME


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with layer_home(tmp_path) as made:
        yield made


@pytest.fixture
def keeper() -> Iterator[make.Reader]:
    """Who keeps the owners of an archive."""
    reader = make.owners_reader()
    yield reader
    assert reader.user.namespace is not None
    os.close(reader.userns_fd)
    os.close(reader.user.namespace)


def own(path: Path, user: int, group: int, mode: int | None = None) -> None:
    os.lchown(path, BASE + user, BASE + group)
    if mode is not None:
        path.chmod(mode)


def system(home: Home, instance: str = "i1") -> Path:
    """What a package and `useradd --create-home` leave: folders and files of root, of services and of a user."""
    upper = home.upper(instance)
    for name in ("var/lib/db/private", "var/tmp", "home/sailor", "etc"):
        (upper / name).mkdir(parents=True)
    give(upper, BASE)
    for name, user, group, mode in (
        ("var/lib/db/private/key", 0, 0, 0o600),
        ("var/lib/db/data", 105, 33, 0o4640),
        ("home/sailor/mine", 2000, 2001, 0o644),
        ("etc/shadow", 0, 42, 0o640),
    ):
        (upper / name).write_text(name)
        own(upper / name, user, group, mode)
    (upper / "home/sailor/link").symlink_to("mine")
    own(upper / "home/sailor/link", 2000, 2001)
    os.link(upper / "var/lib/db/data", upper / "var/lib/db/same")
    own(upper / "var/lib/db/private", 0, 0, 0o700)
    own(upper / "var/tmp", 0, 0, 0o1777)
    own(upper / "home/sailor", 2000, 2001, 0o2700)
    return upper


PATHS = ["/var/lib/db", "/var/tmp", "/home", "/etc"]
KEPT = {
    "etc": ("drwxr-xr-x", 0, 0, T),
    "etc/shadow": ("-rw-r-----", 0, 42, T),
    "home": ("drwxr-xr-x", 0, 0, T),
    "home/sailor": ("drwx------", 2000, 2001, T),
    "home/sailor/link": ("lrwxrwxrwx", 2000, 2001, T),
    "home/sailor/mine": ("-rw-r--r--", 2000, 2001, T),
    "var": ("drwxr-xr-x", 0, 0, T),
    "var/lib": ("drwxr-xr-x", 0, 0, T),
    "var/lib/db": ("drwxr-xr-x", 0, 0, T),
    "var/lib/db/data": ("-rw-r-----", 105, 33, T),
    "var/lib/db/private": ("drwx------", 0, 0, T),
    "var/lib/db/private/key": ("-rw-------", 0, 0, T),
    "var/lib/db/same": ("-rw-r-----", 105, 33, T),
    "var/tmp": ("drwxrwxrwt", 0, 0, T),
}


def snapshot(home: Home, instance: str = "i1", paths: list[str] | None = None) -> Layer:
    made = make.run_snapshot(home.layout, instance, paths or PATHS, [], home.app)
    assert made is not None
    return made


def test_owners_modes_and_sticky_folders_are_kept_and_set_id_bits_are_not(home: Home) -> None:
    system(home)
    made = snapshot(home)
    assert modes(home.store.path(made.digest)) == KEPT
    with tarfile.open(home.blob(made.digest)) as tar:
        listed = {m.name: (m.mode, m.uid, m.gid) for m in tar}
    assert listed["var/lib/db/private/key"] == (0o600, 0, 0)
    assert listed["var/lib/db/same"] == listed["var/lib/db/data"] == (0o640, 105, 33)
    assert {name: ids for name, (_, *ids) in listed.items()} == {
        n: [u, g] for n, (_, u, g, _) in KEPT.items()
    }


def test_same_tree_gives_the_same_digest_and_survives_repair_and_unpacking(
    home: Home, keeper: make.Reader
) -> None:
    system(home)
    system(home, "i2")
    made = snapshot(home)
    assert snapshot(home, "i2") == made
    description = home.layout.layers / f"{made.digest.removeprefix('sha256:')}.json"
    text = description.read_text()
    description.write_text(text.replace(f'"{made.unsynced_boot}"', '"an-earlier-boot"'))
    assert make.run_repair(home.layout, keeper) == [(made.digest, True)]
    assert modes(home.store.path(made.digest)) == KEPT
    home.store.remove(made.digest)
    (home.layout.sources / "again.tar").write_bytes(home.blob(made.digest).read_bytes())
    again = make.run_unpack(home.layout, "again.tar", keeper)
    assert again is not None and again.digest == made.digest
    assert modes(home.store.path(made.digest)) == KEPT


def test_folders_that_an_archive_does_not_list_are_roots(home: Home, keeper: make.Reader) -> None:
    (home.layout.sources / "a.tar").write_bytes(archive(("usr/bin/x", 33, 33)))
    made = make.run_unpack(home.layout, "a.tar", keeper)
    assert made is not None
    assert modes(home.store.path(made.digest)) == {
        "usr": ("drwxr-xr-x", 0, 0, T),
        "usr/bin": ("drwxr-xr-x", 0, 0, T),
        "usr/bin/x": ("-rw-------", 33, 33, T),
    }


def test_an_archive_that_is_pushed_says_nothing_about_owners(home: Home) -> None:
    (home.layout.sources / "a.tar").write_bytes(archive(("f", 0, 0), ("g", 1 << 30, 65536)))
    made = make.run_unpack(home.layout, "a.tar", home.box)
    assert made is not None
    assert {entry[1:3] for entry in modes(home.store.path(made.digest)).values()} == {(1000, 1000)}


def archive(*files: tuple[str, int, int], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, user, group in files:
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mode = user, group, 0o4600
            tar.addfile(info)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("form", "user", "group"),
    [
        (tarfile.USTAR_FORMAT, 65536, 0),
        (tarfile.USTAR_FORMAT, 0, 65536),
        (tarfile.PAX_FORMAT, 1 << 31, 0),
        (tarfile.PAX_FORMAT, (1 << 32) - 1, (1 << 32) - 1),
        (tarfile.GNU_FORMAT, 1 << 31, 0),
        (tarfile.GNU_FORMAT, -1, 0),
    ],
)
def test_I_owner_of_an_archive_outside_the_ids_is_refused(
    home: Home, keeper: make.Reader, form: int, user: int, group: int
) -> None:
    (home.layout.sources / "a.tar").write_bytes(
        archive(("f", 65535, 65535), ("evil", user, group), form=form)
    )
    with pytest.raises(BadArchive, match="evil"):
        make.run_unpack(home.layout, "a.tar", keeper)
    assert home.store.all() == []


@pytest.mark.parametrize("kind", ["file", "folder", "link", "group"])
def test_B4_owner_outside_the_containers_ids_is_refused_and_its_65534_is_not(home: Home, kind: str) -> None:
    folder = home.upper() / "srv"
    folder.mkdir()
    own(folder, 0, 0)
    nobody, evil = folder / "nobody", folder / "theirs"
    nobody.touch()
    own(nobody, 65534, 65534)
    assert modes(home.store.path(snapshot(home, paths=["/srv"]).digest))["srv/nobody"][1:3] == (65534, 65534)
    if kind == "folder":
        evil.mkdir()
    elif kind == "link":
        evil.symlink_to("nobody")
    else:
        evil.write_text("x")
    for user in (-BASE, -1, 65536, 65534 - BASE):
        own(evil, 0 if kind == "group" else user, user)
        with pytest.raises(BadTree, match="srv/theirs"):
            make.run_snapshot(home.layout, "i1", ["/srv"], [], home.app)


def test_B4_roots_devices_capabilities_and_links_to_the_outside_stay_out(home: Home, tmp_path: Path) -> None:
    folder = home.upper() / "srv"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    (folder / "tool").write_text("x")
    (folder / "way").symlink_to(tmp_path)
    for name, kind, number in (
        ("disk", stat.S_IFBLK, 0x800),
        ("null", stat.S_IFCHR, 0x103),
        ("gone", stat.S_IFCHR, 0),
    ):
        os.mknod(folder / name, kind | 0o666, number)
    give(folder, BASE)
    (folder / "tool").chmod(0o6755)
    os.setxattr(
        folder / "tool", "security.capability", bytes.fromhex("0100000201000000000000000000000000000000")
    )
    (folder.parent / "out").symlink_to(tmp_path)
    own(folder.parent / "out", 0, 0)
    tree = home.store.path(snapshot(home, paths=["/srv"]).digest)
    assert {name: found[:3] for name, found in modes(tree).items()} == {
        "srv": ("drwxr-xr-x", 0, 0),
        "srv/gone": ("crw-------", 1000, 1000),
        "srv/tool": ("-rwxr-xr-x", 0, 0),
        "srv/way": ("lrwxrwxrwx", 0, 0),
    }
    assert os.listxattr(tree / "srv/tool") == []
    with pytest.raises(BadTree, match="out/secret"):
        make.run_snapshot(home.layout, "i1", ["/out/secret"], [], home.app)


def test_folder_of_root_that_hides_a_lower_one_stays_roots(home: Home) -> None:
    base = make.run_unpack(home.layout, home.source("base.tar", (b"app/d/old", b"1")), home.box)
    assert base is not None
    folder = home.upper() / "app/d"
    folder.mkdir(parents=True)
    give(folder.parent, BASE)
    folder.chmod(0o700)
    os.setxattr(folder, "trusted.overlay.opaque", b"y")
    made = make.run_snapshot(home.layout, "i1", ["/app/d"], [base.digest], home.app)
    assert made is not None
    tree = home.store.path(made.digest)
    assert modes(tree)["app/d"][:3] == ("drwx------", 0, 0)
    assert os.getxattr(tree / "app/d", "trusted.overlay.opaque") == b"y"
