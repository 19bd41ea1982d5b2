"""Layers that are made, taken up, removed and asked for at the same time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness.layers import BASE, Home, give, layer_home

from runtime.container.records import Instance
from runtime.image import make
from runtime.image.newblob import used_since
from runtime.kernel import userns
from runtime.kernel.process import Identity
from runtime.reactor import Reactor
from runtime.spawner.jobs import Jobs
from runtime.spawner.verbs import Verbs
from runtime.spec import Order


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with layer_home(tmp_path) as made:
        yield made


def test_a_layer_that_a_build_has_taken_up_meanwhile_stays(home: Home) -> None:
    made = make.run_unpack(home.layout, home.source("a.tar", (b"app/x", b"1")), home.box)
    assert made is not None
    at = home.blob(made.digest).stat().st_mtime
    assert not home.store.remove(made.digest, partial(used_since, home.layout.images, made.digest, at))
    assert home.store.get(made.digest) == made
    assert home.store.remove(made.digest, partial(used_since, home.layout.images, made.digest, at + 1))
    assert home.store.all() == []


def test_a_layer_that_is_made_while_it_is_removed_is_there_afterwards(home: Home) -> None:
    """Whoever publishes it again either finds it gone or is waited for."""
    name = home.source("a.tar", (b"app/x", b"1"))
    made = make.run_unpack(home.layout, name, home.box)
    assert made is not None
    for _ in range(20):
        os.utime(home.blob(made.digest), (0, 0))
        moment = time.time() - 0.02
        pid = os.fork()
        if pid == 0:
            try:
                home.store.remove(made.digest, partial(used_since, home.layout.images, made.digest, moment))
            finally:
                os._exit(0)
        assert make.run_unpack(home.layout, name, home.box) is not None
        os.waitpid(pid, 0)
        assert (home.store.path(made.digest) / "app/x").read_text() == "1"


def test_many_folders_that_hide_others_with_long_names_are_one_answer(home: Home) -> None:
    """As many and as long as the rules allow: 4 MB of names."""
    upper, lower = home.upper(), home.store.folder / ("1" * 64)
    deep = "/".join("d" * 200 for _ in range(18))
    for top in (upper, lower):
        (top / "app" / deep).mkdir(parents=True)
        for number in range(make._MAX_OPAQUE):
            (top / "app" / deep / f"{number:0200d}").mkdir()
    for number in range(make._MAX_OPAQUE):
        os.setxattr(upper / "app" / deep / f"{number:0200d}", "trusted.overlay.opaque", b"y")
    give(upper)
    made = make.run_snapshot(home.layout, "i1", ["/app"], [f"sha256:{lower.name}"], home.app)
    assert made is not None
    folder = home.store.path(made.digest) / "app" / deep / f"{5:0200d}"
    assert os.getxattr(folder, "trusted.overlay.opaque") == b"y"


def test_a_snapshot_that_waits_for_the_repair_is_made_in_its_own_apps_namespace(home: Home) -> None:
    """Namespaces are let go when many apps ask for theirs, and the number of a closed one is used again."""
    reactor, answers = Reactor(), []
    platform = SimpleNamespace(layout=home.layout, userns=userns.UserNamespaces(keep=1))
    process = Identity(1, 1, "none")
    ended = Instance(Order("i1", "a1"), BASE, process, process, 0.0)
    instances = SimpleNamespace(get=lambda _: ended)
    verbs = Verbs(platform, instances, Jobs(reactor), None, reactor)
    upper = home.upper()
    (upper / "app").mkdir()
    (upper / "app/x").write_text("1")
    give(upper)
    verbs.repair_layers()
    verbs.handle({"verb": "snapshot", "id": "i1", "paths": ["/app"]}, answers.append)
    platform.userns.get(BASE + 65536)
    while not answers:
        reactor.turn()
    os.close(platform.userns.get(BASE + 65536))
    assert answers[0].get("files") == 2, answers
