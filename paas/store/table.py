"""Tables and their nouns: a row becomes the noun whose fields its columns are, and values become a row."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic, TypeVar

from paas.store.database import SQLiteValue, Tx, one

Noun = TypeVar("Noun")


class Table(Generic[Noun]):
    """`json` and `flags` are the fields kept as JSON text and as 0 or 1, `renamed` those whose column has another name.

    A list in JSON becomes a tuple, for nouns are immutable.
    """

    def __init__(
        self,
        name: str,
        noun: Callable[..., Noun],
        *,
        json: Collection[str] = (),
        flags: Collection[str] = (),
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        fields = [field.name for field in dataclasses.fields(noun)]  # type: ignore[arg-type]
        self._name, self._noun, self._renamed = name, noun, renamed or {}
        self._json, self._flags = frozenset(json), frozenset(flags)
        self._json_at = [fields.index(field) for field in json]
        self._flags_at = [fields.index(field) for field in flags]
        self._columns = ", ".join(self._renamed.get(field, field) for field in fields)

    def select(self, tx: Tx, condition: str, bindings: tuple[SQLiteValue, ...] = ()) -> list[Noun]:
        """`condition` is everything behind the table's name: WHERE, ORDER BY, LIMIT."""
        sql = f"SELECT {self._columns} FROM {self._name} {condition}"
        return [self._from_row(row) for row in tx.execute(sql, bindings)]

    def first(self, tx: Tx, condition: str, bindings: tuple[SQLiteValue, ...] = ()) -> Noun | None:
        row = tx.execute(f"SELECT {self._columns} FROM {self._name} {condition}", bindings).fetchone()
        return None if row is None else self._from_row(row)

    def find(self, tx: Tx, **equal: SQLiteValue) -> Noun | None:
        """The first row whose columns have these values."""
        return self.first(tx, *_where(equal))

    def delete(self, tx: Tx, **equal: SQLiteValue) -> int:
        """Delete the rows whose columns have these values; how many there were."""
        condition, bindings = _where(equal)
        tx.execute(f"DELETE FROM {self._name} {condition}", bindings)
        return tx.changes()

    def next_number(self, tx: Tx, condition: str, bindings: tuple[SQLiteValue, ...]) -> int:
        """The number that follows the highest one among these rows; 1 for the first."""
        return int(one(tx, f"SELECT coalesce(max(number), 0) + 1 FROM {self._name} {condition}", bindings)[0])

    def insert(self, tx: Tx, values: Mapping[str, Any], *, conflict: str = "") -> None:
        """Add a row of these fields, and of columns that the noun does not have; `conflict` is the clause that says
        what happens when there is such a row."""
        columns = ", ".join(self._renamed.get(field, field) for field in values)
        places = ", ".join("?" * len(values))
        row = tuple(self._value(field, value) for field, value in values.items())
        tx.execute(f"INSERT INTO {self._name} ({columns}) VALUES ({places}) {conflict}", row)

    def _from_row(self, row: tuple[Any, ...]) -> Noun:
        fields = list(row)
        for at in self._flags_at:
            fields[at] = bool(fields[at])
        for at in self._json_at:
            if fields[at] is not None:
                value = json.loads(fields[at])
                fields[at] = tuple(value) if isinstance(value, list) else value
        return self._noun(*fields)

    def _value(self, field: str, value: Any) -> SQLiteValue:
        if field in self._flags:
            return int(value)
        return json.dumps(value) if field in self._json and value is not None else value


def _where(equal: Mapping[str, SQLiteValue]) -> tuple[str, tuple[SQLiteValue, ...]]:
    return "WHERE " + " AND ".join(f"{column} IS ?" for column in equal), tuple(equal.values())
