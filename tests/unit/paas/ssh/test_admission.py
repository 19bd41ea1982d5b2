"""Who gets in when many knock."""

from __future__ import annotations

from paas.ssh.admission import Stage, source_of


def test_a_source_is_an_address_or_a_sixty_fourth_of_ipv6() -> None:
    assert source_of("192.0.2.7") == "192.0.2.7"
    assert source_of("2001:db8:1:2:3::4") == source_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"


def test_one_source_has_a_bound_of_its_own() -> None:
    stage: Stage[int] = Stage(total=10, per_source=2, max_wait_s=5)
    stage.add(1, "a", 0)
    stage.add(2, "a", 0)
    assert not stage.room_for("a")
    assert stage.room_for("b")
    stage.remove(1)
    assert stage.room_for("a")


def test_the_oldest_of_the_heaviest_source_makes_room() -> None:
    stage: Stage[int] = Stage(total=4, per_source=3, max_wait_s=5)
    for key, source in ((1, "quiet"), (2, "loud"), (3, "loud"), (4, "loud")):
        assert not stage.is_full()
        stage.add(key, source, key)
    assert stage.is_full()
    assert stage.to_evict(10) == 2
    assert stage.to_evict(5, min_age_s=3) == 2
    assert stage.to_evict(4, min_age_s=3) is None, "the loud ones came just now, the quiet one is alone"
    for key in (2, 3, 4):
        stage.remove(key)
    assert stage.to_evict(9, min_age_s=3) is None
    assert stage.to_evict(10, min_age_s=3) == 1
    waiting: Stage[int] = Stage(total=4, per_source=3, max_wait_s=5)
    waiting.add(9, "quiet", 0)
    assert stage.to_evict(4, min_age_s=3, others=waiting) == 1, "it is not alone"


def test_those_of_the_quietest_source_come_in_first() -> None:
    stage: Stage[int] = Stage(total=9, per_source=2, max_wait_s=5)
    assert stage.next_of([]) is None
    assert stage.next_of([(1, "a"), (2, "b")]) == 1
    stage.add(1, "a", 0)
    assert stage.next_of([(3, "a"), (4, "b"), (5, "b")]) == 4
    stage.add(3, "a", 0)
    assert stage.next_of([(6, "a")]) is None
    crowd: Stage[int] = Stage(total=9, per_source=9, max_wait_s=5)
    for key in (7, 8):
        crowd.add(key, "b", 0)
    crowd.add(9, "c", 0)
    assert stage.next_of([(7, "b"), (8, "b"), (9, "c")], crowd) == 9


def test_patience_ends() -> None:
    stage: Stage[int] = Stage(total=4, per_source=4, max_wait_s=5)
    assert stage.next_due() is None
    stage.add(1, "a", 10)
    stage.add(2, "a", 12)
    assert stage.next_due() == 15
    assert stage.overdue(15) == []
    assert stage.overdue(15.5) == [1]
    assert stage.remove(1) == "a"
    assert stage.remove(1) is None
    assert stage.next_due() == 17
