"""The database: transactions, contention, damage, migrations."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import apsw
import pytest

from paas.nouns.errors import Unavailable
from paas.nouns.model import App
from paas.store import Store, apps, database, people
from paas.store.database import StoreError, migrate


def test_database_is_group_writable_and_durable(store: Store) -> None:
    with store.write() as tx:
        people.add_user(tx, "ann", "admin")
        assert tx.pragma("journal_mode") == "wal"
        assert tx.pragma("synchronous") == 2
        assert tx.pragma("foreign_keys") == 1
    for name in ("paas.db", "paas.db-wal", "paas.db-shm"):
        assert stat.S_IMODE((store.path.parent / name).stat().st_mode) == 0o660


def test_an_exception_rolls_the_whole_block_back(store: Store) -> None:
    with pytest.raises(RuntimeError), store.write() as tx:
        people.add_user(tx, "ann", "admin")
        raise RuntimeError
    with store.read() as tx:
        assert people.users(tx) == []


def test_reading_cannot_write(store: Store) -> None:
    with pytest.raises(apsw.ReadOnlyError), store.read() as tx:
        people.add_user(tx, "ann", "admin")


def test_a_reader_keeps_its_snapshot_while_others_write(store: Store) -> None:
    with store.read() as before:
        assert people.users(before) == []
        with store.write() as tx:
            people.add_user(tx, "ann", "admin")
        assert people.users(before) == []
    with store.read() as after:
        assert len(people.users(after)) == 1


def test_many_threads_write_without_losing_or_failing(store: Store, app: App) -> None:
    def work() -> None:
        for _ in range(20):
            with store.write() as tx:
                apps.bump_restart(tx, app.id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as tx:
        assert apps.get(tx, app.id).restart_token == 160


def test_a_writer_of_another_process_is_waited_for(store: Store) -> None:
    other = apsw.Connection(str(store.path))
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, lambda: other.execute("COMMIT")).start()
    with store.write() as tx:
        people.add_user(tx, "ann", "admin")
    other.close()


def test_a_database_kept_locked_is_reported_as_busy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    other = apsw.Connection(str(store.path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="busy"), Store(store.path).write():
        pass
    other.execute("ROLLBACK")
    other.close()


def test_opening_again_keeps_the_data(store: Store, app: App) -> None:
    store.close()
    with Store.open(store.path).read() as tx:
        assert apps.all(tx) == [app]


def test_a_newer_schema_is_refused(store: Store) -> None:
    with store.write() as tx:
        tx.pragma("user_version", 9999)
    with pytest.raises(StoreError, match="schema 9999"):
        Store.open(store.path)


def test_migrations_run_in_order_once_and_undo_a_failed_step(tmp_path: Path) -> None:
    steps = tmp_path / "schema"
    steps.mkdir()
    (steps / "0001.sql").write_text("CREATE TABLE a (n INTEGER) STRICT; INSERT INTO a VALUES (1);")
    path = tmp_path / "paas.db"
    path.touch()
    assert migrate(path, steps) == 1
    (steps / "0002.sql").write_text("INSERT INTO a VALUES (2); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(apsw.SQLError):
        migrate(path, steps)
    (steps / "0002.sql").write_text("INSERT INTO a VALUES (3);")
    assert migrate(path, steps) == 2
    assert migrate(path, steps) == 2
    connection = database.connect(path)
    assert [row[0] for row in connection.execute("SELECT n FROM a ORDER BY n")] == [1, 3]
    connection.close()


@pytest.mark.parametrize("attempt", range(10))
def test_two_processes_may_migrate_at_once(tmp_path: Path, attempt: int) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            Store.open(tmp_path / "paas.db").close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be created"):
        Store.open(tmp_path / "nowhere" / "paas.db")


def test_poking_nobody_is_harmless(tmp_path: Path) -> None:
    database.poke(tmp_path / "poke.sock")


@pytest.mark.parametrize("damage", ["header", "page", "text"])
def test_a_damaged_database_is_one_sentence(store: Store, damage: str) -> None:
    with store.write() as tx:
        people.add_user(tx, "ann", "admin")
    store.close()
    content = bytearray(store.path.read_bytes())
    if damage == "header":
        content[:16] = b"x" * 16
    elif damage == "page":
        content[100:4096] = b"\xff" * 3996
    store.path.write_bytes(b"hello" * 1000 if damage == "text" else bytes(content))
    with pytest.raises(StoreError, match="damaged"):
        Store.open(store.path)


def test_a_log_cut_short_loses_nothing_that_was_whole(store: Store) -> None:
    for name in ("ann", "bob"):
        with store.write() as tx:
            people.add_user(tx, name, "member")
    copy = store.path.parent / "copy.db"
    copy.write_bytes(store.path.read_bytes())
    log = (store.path.parent / "paas.db-wal").read_bytes()
    (copy.parent / "copy.db-wal").write_bytes(log[:-100])
    with Store.open(copy).read() as tx:
        assert [user.name for user in people.users(tx)] == ["ann"]


def test_a_full_disk_is_told_and_undone(store: Store) -> None:
    with pytest.raises(StoreError, match="disk is full"), store.write() as tx:
        tx.pragma("max_page_count", tx.pragma("page_count"))
        for number in range(10_000):
            people.add_user(tx, f"user{number}", "member")
    with store.read() as tx:
        assert people.users(tx) == []
