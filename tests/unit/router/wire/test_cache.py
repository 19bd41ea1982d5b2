"""A bounded cache: what is used stays, what is not goes with the second generation after it."""

from __future__ import annotations

from router.wire.cache import Cache


class Counted:
    """A cache of words in capitals that knows what it has computed."""

    def __init__(self, capacity: int) -> None:
        self.computed: list[str] = []
        self.cache = Cache(self._compute, capacity)

    def _compute(self, key: str) -> str:
        self.computed.append(key)
        return key.upper()


def test_a_value_is_computed_once() -> None:
    one = Counted(9)
    assert [one.cache["a"], one.cache["a"], one.cache["b"]] == ["A", "A", "B"]
    assert one.computed == ["a", "b"]


def test_it_never_holds_more_than_two_generations() -> None:
    one = Counted(4)
    for number in range(1000):
        assert one.cache[str(number)] == str(number)
        assert len(one.cache) <= 4
    one.computed.clear()
    for number in range(996, 1000):
        one.cache[str(number)]
    assert one.computed == [], "the newest are still known"
    one.cache["0"]
    assert one.computed == ["0"]


def test_what_is_used_again_outlives_the_others() -> None:
    one = Counted(2)
    for number in range(20):
        assert one.cache["used"] == "USED"
        one.cache[str(number)]
    assert one.computed.count("used") == 1


def test_what_is_kept_is_not_computed() -> None:
    one = Counted(2)
    assert one.cache.keep("a", "other") == "other" and one.cache["a"] == "other"
    one.cache.age()
    assert len(one.cache) == 0 and one.cache["a"] == "other" and one.computed == []


def test_two_generations_later_it_is_forgotten() -> None:
    one = Counted(2)
    one.cache["a"]
    one.cache.age()
    one.cache.age()
    one.cache["a"]
    assert one.computed == ["a", "a"]


def test_its_size_may_change_while_it_is_used() -> None:
    one = Counted(1)
    one.cache.resize(3)
    for key in "abc":
        one.cache[key]
    assert list(one.cache) == ["a", "b", "c"]
    one.cache.resize(1)
    one.cache["d"]
    assert list(one.cache) == ["d"] and one.cache["a"] == "A"
    assert one.computed == ["a", "b", "c", "d"]
