"""The objects of one push, read by git in confined children: what is let through, and what each refusal says."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness.packs import Pack, commit_of

from paas.build.source import SourceTree
from paas.nouns.errors import BadInput
from paas.receive.dulwich_protocol import Refused
from paas.receive.limits import Limits
from paas.receive.quarantine import Quarantine
from paas.receive.repository import Repositories, Repository
from paas.receive.sources import Sources
from paas.receive.wire import Wire

LIMITS = Limits()


class Incoming:
    """Quarantines of one platform, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.repositories, self.sources = Repositories(folder / "repos"), Sources(folder / "sources")
        for path in (self.repositories.root, self.sources.path):
            path.mkdir()
        self._held = contextlib.ExitStack()

    def open(self, base: Repository | None = None, limits: Limits = LIMITS) -> Quarantine:
        path = self._held.enter_context(self.repositories.quarantine(base))
        return Quarantine(path, base, limits, lambda: None)

    def receive(self, quarantine: Quarantine, data: bytes) -> None:
        """What a client sends through a pipe."""
        source, client = os.pipe()
        try:
            os.write(client, data)
            os.close(client)
            quarantine.receive(Wire(source, os.dup(2), os.dup(2), 5.0))
        finally:
            os.close(source)

    def close(self) -> None:
        self._held.close()


@pytest.fixture
def incoming(tmp_path: Path) -> Iterator[Incoming]:
    made = Incoming(tmp_path)
    yield made
    made.close()


def refused(incoming: Incoming, data: bytes, limits: Limits = LIMITS) -> tuple[str, str, str]:
    with pytest.raises(Refused) as caught:
        incoming.receive(incoming.open(limits=limits), data)
    return caught.value.error.cause, caught.value.error.message, caught.value.unpack


def test_a_pack_is_checked_and_exported(incoming: Incoming) -> None:
    pack, commit = commit_of(("100644", b"a.txt", b"hello\n"))
    quarantine = incoming.open()
    incoming.receive(quarantine, pack.bytes())
    assert quarantine.objects == 3
    quarantine.check_complete(commit)
    with contextlib.ExitStack() as held:
        exported = quarantine.export(commit, incoming.sources, held)
        assert (incoming.sources.path / f"{exported.tree}.tar").exists()
        assert (exported.outside.count, exported.pointers.count) == (0, 0)
    assert os.listdir(incoming.sources.path) == [], "nobody holds it any longer"


@pytest.mark.parametrize("data", [b"", b"PACK", b"GET / HTTP/1.1\r\n\r\n", b"PACK\0\0\0\x04\0\0\0\x01"])
def test_what_is_no_pack_never_reaches_git(incoming: Incoming, data: bytes) -> None:
    assert refused(incoming, data) == ("no pack", "The client sent no pack.", "not a pack")


def test_too_many_objects_are_refused_by_their_announced_count(incoming: Incoming) -> None:
    data = Pack().bytes(count=11)
    assert refused(incoming, data, replace(LIMITS, objects=10)) == (
        "too large",
        "The push has 11 objects; 10 are allowed.",
        "too large",
    )


def test_a_pack_that_is_cut_off_is_broken(incoming: Incoming) -> None:
    pack, _ = commit_of(("100644", b"a.txt", b"hello\n"))
    cause, message, unpack = refused(incoming, pack.bytes()[:-25])
    assert (cause, unpack) == ("broken pack", "index-pack failed")
    assert message.startswith("The push cannot be unpacked: ")


def test_an_entry_that_would_leave_its_folder_is_a_broken_object(incoming: Incoming) -> None:
    pack, _ = commit_of(("100644", b"..", b"evil"))
    cause, message, _ = refused(incoming, pack.bytes())
    assert cause == "broken object" and message.startswith("A broken object is in the push: ")


def test_a_commit_without_all_of_its_objects_is_refused(incoming: Incoming) -> None:
    pack = Pack()
    pack.commit("1" * 40)
    cause, message, _ = refused(incoming, pack.bytes())
    assert cause == "broken pack" and "1" * 40 in message


def test_a_commit_that_was_not_sent_is_refused(incoming: Incoming) -> None:
    pack, _ = commit_of(("100644", b"a.txt", b"hello\n"))
    quarantine = incoming.open()
    incoming.receive(quarantine, pack.bytes())
    with pytest.raises(Refused) as caught:
        quarantine.check_complete("1" * 40)
    assert caught.value.error.cause == "incomplete"


def test_what_a_branch_of_the_app_reaches_need_not_be_sent_again(incoming: Incoming) -> None:
    base = incoming.repositories.of("a0123456789")
    base.make()
    first, old = commit_of(("100644", b"a.txt", b"hello\n"))
    before = incoming.open()
    incoming.receive(before, first.bytes())
    base.take_in(before.path)
    tree = first.tree(("100644", b"a.txt", first.blob(b"hello\n")))
    second = Pack()
    new = second.commit(tree, b"next", (old,))
    quarantine = incoming.open(base)
    incoming.receive(quarantine, second.bytes())
    base.set_head("main", old)
    quarantine.check_complete(new)
    assert quarantine.is_ancestor(old, new) and not quarantine.is_ancestor(new, old)
    assert not quarantine.is_ancestor("2" * 40, new), "a commit that is not here is nobody's ancestor"


def test_what_is_not_a_commit_is_not_exported(incoming: Incoming) -> None:
    pack = Pack()
    blob = pack.blob()
    quarantine = incoming.open()
    incoming.receive(quarantine, pack.bytes())
    with contextlib.ExitStack() as held, pytest.raises(BadInput, match="is not a commit"):
        quarantine.export(blob, incoming.sources, held)


def monorepo(incoming: Incoming, *, ignore: bytes) -> tuple[Quarantine, str, str]:
    """A commit with the app in services/api; the quarantine, the commit's id, the id of the app's folder."""
    pack = Pack()
    blob, patterns = pack.blob(), pack.blob(ignore)
    art = pack.tree(("100644", b"a.psd", blob), ("160000", b"module", "1" * 40))
    app = pack.tree(("100644", b".slugignore", patterns), ("100644", b"app.py", blob), ("40000", b"art", art))
    services = pack.tree(("40000", b"api", app), ("120000", b"link", blob), ("40000", b"web", art))
    commit = pack.commit(pack.tree(("100644", b"README", blob), ("40000", b"services", services)))
    quarantine = incoming.open()
    incoming.receive(quarantine, pack.bytes())
    return quarantine, commit, app


def test_the_root_of_an_app_is_its_source_without_what_slugignore_names(incoming: Incoming) -> None:
    quarantine, commit, app = monorepo(incoming, ignore=b"art/\n")
    with contextlib.ExitStack() as held:
        exported = quarantine.export(commit, incoming.sources, held, "services/api")
        source = SourceTree.open(incoming.sources.path, exported.tree)
        assert (exported.tree, exported.ignored) == (app, 2)
        assert list(source.names()) == [".slugignore", "app.py"]
        with tarfile.open(incoming.sources.path / source.tar_name) as tar:
            assert tar.getnames() == ["app", "app/.slugignore", "app/app.py"]


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        ("services/ap", "no folder services/ap, which is the app's root; folders in services: api, web."),
        ("README/x", "no folder README/x, which is the app's root; folders in it: services."),
        ("services/link", "folders in services: api, web."),
        ("services/api/app.py", "folders in services/api: art."),
        ("services/web/module", "folders in services/web: none."),
    ],
)
def test_a_root_that_is_no_folder_is_refused_with_what_is_there(
    incoming: Incoming, root: str, sentence: str
) -> None:
    quarantine, commit, _ = monorepo(incoming, ignore=b"")
    with contextlib.ExitStack() as held, pytest.raises(BadInput) as refusal:
        quarantine.export(commit, incoming.sources, held, root)
    assert sentence in refusal.value.message


@pytest.mark.parametrize(
    ("ignore", "sentence"), [(b"*\n", "leaves out every file"), (b"x\n" * 40_000, "larger than 64 KiB")]
)
def test_a_slugignore_that_makes_no_sense_is_refused(
    incoming: Incoming, ignore: bytes, sentence: str
) -> None:
    quarantine, commit, _ = monorepo(incoming, ignore=ignore)
    with contextlib.ExitStack() as held, pytest.raises(BadInput, match=sentence):
        quarantine.export(commit, incoming.sources, held, "services/api")
