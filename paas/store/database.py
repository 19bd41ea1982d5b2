"""Connections, transactions and migrations of the one database (WAL, synchronous=FULL, foreign keys).

Any number of threads and processes may share a database; every transaction takes a connection of its own from
the store's pool. Never import the standard library's sqlite3 in a process that uses this module.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from paas.nouns.errors import PaasError, Unavailable

Tx = apsw.Connection
"""A connection inside a transaction; query modules take it as their first argument."""

SQLiteValue = int | float | bytes | str | None

_WAL_RETRY_S = 0.005
BUSY_S = 5.0
_IDLE_CONNECTIONS = 8
_SCHEMA = Path(__file__).parent / "schema"
_OLDEST_SQLITE = (3, 51, 3)
_INCREMENTAL = 2
_SPARE_PAGES = 256
_PIECE_PAGES = 1024
_LOG_BYTES = 4 * 1024 * 1024
"""What the write-ahead log keeps of its length when all of it is in the database."""


class StoreError(PaasError):
    """The database cannot be used as it is."""

    code = "store"
    http_status = 500


class Store:
    """One database file. `Store.open` creates and migrates it; `Store` alone expects the current schema."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._idle: deque[apsw.Connection] = deque()
        self._writer = threading.Lock()

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Create or migrate the database, then open it. Raises StoreError when it is damaged or newer."""
        store = cls(path)
        _create_file(store.path)
        try:
            migrate(store.path, _SCHEMA)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise StoreError(
                f"The database {path} is damaged: {error}.", "Restore `store/` from a backup of the home."
            ) from error
        return store

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A consistent snapshot. Writing through it fails."""
        tx = self._take()
        try:
            with _no_busy():
                tx.execute("BEGIN")
            yield tx
        finally:
            self._give(tx)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """The one write transaction: committed at the end of the block, rolled back by an exception.

        Raises Unavailable when other writers keep the database for longer than five seconds.
        """
        if not self._writer.acquire(timeout=BUSY_S):
            raise _busy()
        try:
            tx = self._take()
            try:
                tx.pragma("query_only", False)
                with _no_busy(), _no_room():
                    tx.execute("BEGIN IMMEDIATE")
                    yield tx
                    tx.execute("COMMIT")
            finally:
                self._give(tx)
        finally:
            self._writer.release()

    def shrink(self) -> int:
        """Return free pages to the file system; returns the bytes freed.

        Writers wait for one piece at most. A file created before files could shrink is rewritten once.
        """
        before = self.path.stat().st_size
        with self.read() as tx:
            spare, whole = int(tx.pragma("freelist_count")), int(tx.pragma("page_count"))
            able = int(tx.pragma("auto_vacuum")) == _INCREMENTAL
        if spare > max(_SPARE_PAGES, whole // 8):
            if able:
                self._give_back(spare - _SPARE_PAGES)
            else:
                self._write_anew()
        with self._connection() as tx:
            tx.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return before - self.path.stat().st_size

    def _give_back(self, pages: int) -> None:
        while pages > 0:
            with self.write() as tx:
                tx.execute(f"PRAGMA incremental_vacuum({_PIECE_PAGES})").fetchall()
            pages -= _PIECE_PAGES

    def _write_anew(self) -> None:
        with self._connection() as tx, _no_busy(), _no_room():
            tx.pragma("query_only", False)
            tx.execute("VACUUM")

    @contextmanager
    def _connection(self) -> Iterator[apsw.Connection]:
        """One of its own, outside of transactions."""
        connection = connect(self.path)
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Close idle connections. Transactions under way close theirs when they end."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> apsw.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return connect(self.path)

    def _give(self, tx: apsw.Connection) -> None:
        if tx.in_transaction:
            tx.execute("ROLLBACK")
        if len(self._idle) < _IDLE_CONNECTIONS:
            tx.pragma("query_only", True)
            self._idle.append(tx)
        else:
            tx.close()


def connect(path: Path) -> apsw.Connection:
    """A connection with the platform's settings. Raises StoreError when there is no database."""
    if tuple(int(part) for part in apsw.sqlite_lib_version().split(".")) < _OLDEST_SQLITE:
        raise StoreError(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a write-ahead log.",
            "Install apsw 3.51.3 or newer.",
        )
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    except apsw.CantOpenError as error:
        raise StoreError(f"The database {path} cannot be opened: {error}") from error
    connection.set_busy_timeout(int(BUSY_S * 1000))
    with _no_busy():
        connection.pragma(
            "auto_vacuum", _INCREMENTAL
        )  # takes effect in a file without tables, else with VACUUM
        _use_wal(connection)
        connection.pragma("synchronous", "full")
        connection.pragma("foreign_keys", True)
        connection.pragma("journal_size_limit", _LOG_BYTES)
        connection.pragma("cache_size", -1024)
        connection.pragma("query_only", True)
    return connection


def _use_wal(connection: apsw.Connection) -> None:
    """Wait for others that make the database at the same time: SQLite does not, whatever its busy timeout is."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            if connection.pragma("journal_mode") != "wal":
                connection.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_S)


def migrate(path: Path, folder: Path) -> int:
    """Bring the database to the newest schema in `folder`, each step in one transaction; its version number.

    Several processes may call it at once: the write lock lets one migrate, the others find it done.
    """
    steps = {
        int(match[1]): file
        for file in folder.iterdir()
        if (match := re.fullmatch(r"(\d{4})\.sql", file.name))
    }
    newest = max(steps)
    connection = connect(path)
    try:
        connection.pragma("query_only", False)
        connection.pragma("foreign_keys", False)
        while True:
            with _no_busy():
                connection.execute("BEGIN IMMEDIATE")
            version = int(connection.pragma("user_version"))
            if version > newest:
                raise StoreError(
                    f"The database has schema {version}, and this program knows only up to {newest}.",
                    "It was used by a newer version: install that one again, or restore an older backup.",
                )
            if version == newest:
                return newest
            connection.execute(steps[version + 1].read_text())
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
            if broken:
                raise StoreError(f"Migration {version + 1} leaves a dangling reference in table {broken[0]}.")
            connection.pragma("user_version", version + 1)
            connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.close()


def poke(path: Path | str) -> None:
    """Wake converge with an empty datagram. Losing it is harmless, so nothing is raised."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto(b"", str(path))
        except OSError:
            return


def one(tx: Tx, sql: str, bindings: tuple[SQLiteValue, ...] = ()) -> tuple[Any, ...]:
    """The first row of a query that always has one."""
    row: tuple[Any, ...] | None = tx.execute(sql, bindings).fetchone()
    assert row is not None, sql
    return row


def now() -> float:
    """Unix seconds, as rows keep them."""
    return time.time()


def _create_file(path: Path) -> None:
    """An empty file of mode 0660; SQLite gives the mode of the database to its log files."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(f"The database {path} cannot be created: {error.strerror}.") from error
    try:
        os.fchmod(fd, 0o660)
    finally:
        os.close(fd)


@contextmanager
def _no_busy() -> Iterator[None]:
    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise _busy() from error


@contextmanager
def _no_room() -> Iterator[None]:
    try:
        yield
    except (apsw.FullError, apsw.IOError) as error:
        raise StoreError("The database cannot be written: the disk is full or broken.", str(error)) from error


def _busy() -> Unavailable:
    return Unavailable("The database is busy.", "Somebody holds its write lock; try again in a moment.")
