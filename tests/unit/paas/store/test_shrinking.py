"""What the store keeps of the past, and that its file gives back what was deleted."""

from __future__ import annotations

import threading
from pathlib import Path

import apsw
import pytest
from harness.changes import set_config

from paas.nouns.errors import BadInput, TooMany
from paas.nouns.model import App
from paas.release.change import rollback_target
from paas.release.release import CHANGES, next_release
from paas.store import Store, apps, configs, deployments, events, releases
from paas.store.database import connect
from paas.store.releases import CONFIGS_SHOWN

LARGE = "x" * 250_000


def bytes_on_disk(store: Store) -> int:
    return sum(path.stat().st_size for path in store.path.parent.glob("paas.db*"))


def change(store: Store, app_id: str, **vars: str) -> int:
    """A config change as a command makes it; the number of its release."""
    with store.write() as tx:
        app = apps.get(tx, app_id)
        made = next_release(tx, app, releases.serving(tx, app), set_config(set_vars=vars))
        apps.set_release(tx, app_id, made.number)
        return made.number


def test_config_changes_leave_a_few_sets_and_are_refused_when_they_come_too_fast(
    store: Store, app: App
) -> None:
    for number in range(CHANGES):
        change(store, app.id, A=LARGE[number:])
    assert bytes_on_disk(store) < 12_000_000
    with pytest.raises(TooMany, match=rf"hello has had {CHANGES} releases within a minute") as refused:
        change(store, app.id, A="one more")
    assert refused.value.http_status == 429 and "paas config:set A=1 B=2" in refused.value.hint
    with store.read() as tx:
        assert configs.get(tx, app.id, CHANGES) == {"A": LARGE[CHANGES - 1 :]}
        assert not configs.kept(tx, app.id, 1) and configs.kept(tx, app.id, 0)
    with store.write() as tx:  # the refusal ends with the minute
        tx.execute("UPDATE release SET created_at = created_at - 60")
    assert change(store, app.id, A="one more") == CHANGES + 1


def test_a_number_of_a_config_is_never_used_again(store: Store, app: App) -> None:
    with store.write() as tx:
        for number in range(1, 4):
            assert configs.put(tx, app.id, {"A": str(number)}) == number
        configs.prune(tx, app.id, {1})
        assert [number for number in range(1, 4) if configs.kept(tx, app.id, number)] == [1, 3]
        assert configs.put(tx, app.id, {}) == 4


def test_a_release_whose_config_is_gone_is_no_target(store: Store, app: App) -> None:
    first = change(store, app.id, A="1")
    for number in range(CONFIGS_SHOWN):
        change(store, app.id, A=str(number))
    with store.write() as tx:
        tx.execute("PRAGMA defer_foreign_keys = on")
        tx.execute("INSERT INTO image VALUES (?, 'd', '[]', '{}', '{}', '{}', 's', 1, 0)", (app.id,))
        tx.execute("UPDATE release SET image_digest = 'd' WHERE number = ?", (first,))
        with pytest.raises(BadInput, match="config vars of v1 are no longer kept"):
            rollback_target(tx, apps.get(tx, app.id), first)


def test_old_releases_go_but_those_that_something_names(store: Store, app: App) -> None:
    with store.write() as tx:
        for _ in range(20):
            releases.create(
                tx, app.id, image_digest=None, config_number=0, limits={}, description="d", commit=None,
                actor="me", state="succeeded",
            )  # fmt: skip
        deployments.create(tx, app.id, release_number=3, from_release=None, push=True)
        releases.prune(tx, app.id, 5, {2})
        assert [r.number for r in releases.of_app(tx, app.id)] == [20, 19, 18, 17, 16, 3, 2]
        assert releases.RELEASES.next_number(tx, "WHERE app_id = ?", (app.id,)) == 21


def test_old_events_go_app_by_app_and_a_noisy_one_hides_no_other(store: Store, app: App) -> None:
    with store.write() as tx:
        other = apps.create(tx, "other", None)
        quiet = events.add(tx, other.id, "me", "quiet")
        for of in [app.id] * 30 + ["agone000001"] * 4 + [None] * 4:
            events.add(tx, of, "me", "noise")
        newest = events.last(tx)
        events.prune(tx, 5)
        left = events.after(tx, 0)
    assert [event.app_id for event in left] == [other.id] + [app.id] * 5 + ["agone000001"] + [None] * 4
    assert left[0].seq == quiet and left[-1].seq == newest


@pytest.mark.parametrize("made", ["now", "before files could shrink"])
def test_the_file_shrinks_when_rows_go_while_others_read_and_write(tmp_path: Path, made: str) -> None:
    path = tmp_path / "paas.db"
    if made != "now":
        old = apsw.Connection(str(path))
        old.pragma("journal_mode", "wal")
        old.execute("CREATE TABLE first (x)")
        old.close()
    store = Store.open(path)
    with store.write() as tx:
        app = apps.create(tx, "hello", None)
        for _ in range(100):
            configs.put(tx, app.id, {"A": LARGE})
    with store.write() as tx:
        configs.prune(tx, app.id, ())
    assert bytes_on_disk(store) > 25_000_000
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with store.write() as tx:
                apps.bump_restart(tx, app.id)
            with store.read() as tx:
                assert configs.get(tx, app.id, 100) == {"A": LARGE}

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert store.shrink() > 20_000_000
    finally:
        stop.set()
        worker.join()
    store.shrink()
    assert bytes_on_disk(store) < 4_000_000
    other = connect(path)
    assert other.pragma("integrity_check") == "ok" and other.pragma("auto_vacuum") == 2
    other.close()
    store.close()
