"""A bounded cache in two generations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Cache(dict[Any, Any]):
    """A dict that computes missing values. When it is full its entries become the old generation, from which those that
    are used again come back; the others go with the next generation."""

    __slots__ = ("_capacity", "_compute", "_old")

    def __init__(self, compute: Callable[[Any], Any], capacity: int) -> None:
        super().__init__()
        self._compute = compute
        self._capacity = capacity
        self._old: dict[Any, Any] = {}

    def __missing__(self, key: Any) -> Any:
        value = self._old.get(key)
        if value is None:
            value = self._compute(key)
        return self.keep(key, value)

    def keep(self, key: Any, value: Any) -> Any:
        """Store a value; returns it."""
        if len(self) >= self._capacity:
            self.age()
        self[key] = value
        return value

    def resize(self, capacity: int) -> None:
        """Set how many entries a generation has."""
        self._capacity = capacity

    def age(self) -> None:
        """Make all entries the old generation."""
        self._old = dict(self)
        self.clear()
