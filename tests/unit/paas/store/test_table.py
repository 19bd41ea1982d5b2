"""Rows and nouns: what a table's fields become in the database, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

from paas.store import Store
from paas.store.table import Table


@dataclass(frozen=True)
class Shelf:
    number: int
    label: str | None
    closed: bool
    books: tuple[str, ...] | None
    notes: dict[str, Any] | None


SHELVES = Table("shelf", Shelf, json=("books", "notes"), flags=("closed",), renamed={"label": "name"})
PLAIN: dict[str, Any] = {"number": 1, "label": "a", "closed": False, "books": ("x", "ü"), "notes": {"k": [1]}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(tmp_path / "paas.db")
    with made.write() as tx:
        tx.execute(
            "CREATE TABLE shelf (number INTEGER PRIMARY KEY, name, closed, books, notes, room DEFAULT 'hall')"
        )
    yield made
    made.close()


def test_a_noun_comes_back_as_it_was_put(store: Store) -> None:
    with store.write() as tx:
        SHELVES.insert(tx, PLAIN)
        (found,) = SHELVES.select(tx, "WHERE name = ?", ("a",))
    assert found == Shelf(**PLAIN)
    assert found.closed is False and isinstance(found.books, tuple), (
        "not 0, and no list that somebody could change"
    )


def test_flags_and_json_are_kept_as_the_database_has_them(store: Store) -> None:
    with store.write() as tx:
        SHELVES.insert(tx, {**PLAIN, "closed": True})
        row = tx.execute("SELECT name, closed, books, notes FROM shelf").fetchone()
    assert row == ("a", 1, '["x", "\\u00fc"]', '{"k": [1]}')


def test_nothing_is_null_and_not_the_text_null(store: Store) -> None:
    with store.write() as tx:
        SHELVES.insert(tx, {**PLAIN, "label": None, "books": None, "notes": None})
        assert tx.execute("SELECT name, books, notes FROM shelf").fetchone() == (None, None, None)
        found = SHELVES.first(tx, "")
    assert found == Shelf(1, None, False, None, None)


def test_a_column_that_the_noun_does_not_have_can_be_filled(store: Store) -> None:
    with store.write() as tx:
        SHELVES.insert(tx, {**PLAIN, "room": "attic"})
        assert tx.execute("SELECT room FROM shelf").fetchone() == ("attic",)
        assert SHELVES.first(tx, "WHERE room = 'attic'") == Shelf(**PLAIN)


def test_a_conflict_is_an_error_unless_its_clause_says_otherwise(store: Store) -> None:
    with store.write() as tx:
        SHELVES.insert(tx, PLAIN)
        with pytest.raises(apsw.ConstraintError):
            SHELVES.insert(tx, PLAIN)
        clause = "ON CONFLICT (number) DO UPDATE SET name = excluded.name"
        SHELVES.insert(tx, {**PLAIN, "label": "b", "books": ()}, conflict=clause)
        found = SHELVES.first(tx, "")
    assert found is not None and (found.label, found.books) == ("b", ("x", "ü"))


def test_numbers_go_on_after_the_highest_of_the_chosen_rows(store: Store) -> None:
    with store.write() as tx:
        assert SHELVES.next_number(tx, "WHERE name = ?", ("a",)) == 1
        for number, label in ((3, "a"), (9, "b")):
            SHELVES.insert(tx, {**PLAIN, "number": number, "label": label})
        assert SHELVES.next_number(tx, "WHERE name = ?", ("a",)) == 4


def test_rows_come_in_the_order_that_was_asked_for(store: Store) -> None:
    with store.write() as tx:
        for number in (2, 1, 3):
            SHELVES.insert(tx, {**PLAIN, "number": number})
        assert [shelf.number for shelf in SHELVES.select(tx, "ORDER BY number DESC LIMIT 2")] == [3, 2]
        assert SHELVES.first(tx, "WHERE number = 7") is None
