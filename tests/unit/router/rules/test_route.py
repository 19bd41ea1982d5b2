"""Which backend of a pool gets a request."""

from __future__ import annotations

from router.rules.route import Backend, Pool, choose


def backends(*inflight: int) -> list[Backend]:
    made = [Backend(f"i{n}", "10.0.0.1", 1) for n in range(len(inflight))]
    for backend, count in zip(made, inflight, strict=True):
        backend.inflight = count
    return made


def test_the_less_busy_of_two_wins() -> None:
    one, other = backends(3, 2)
    pair = Pool("p", [one, other])
    assert {choose(pair) for _ in range(50)} == {other}
    other.inflight = 9
    assert {choose(pair) for _ in range(50)} == {one}


def test_the_busiest_of_many_is_never_chosen_and_all_others_are() -> None:
    many = Pool("p", backends(1, 1, 1, 9))
    assert {b.id for b in (choose(many) for _ in range(300)) if b} == {"i0", "i1", "i2"}
    crowd = Pool("p", backends(*[1] * 11, 9))
    assert {b.id for b in (choose(crowd) for _ in range(2000)) if b} == {f"i{n}" for n in range(11)}


def test_weight_makes_a_backend_carry_more() -> None:
    light, heavy = backends(1, 2)
    heavy.weight = 4
    assert choose(Pool("p", [light, heavy])) is heavy


def test_tried_backends_are_left_out() -> None:
    one, other = backends(0, 5)
    pair = Pool("p", [one, other])
    assert choose(pair, (one,)) is other
    assert choose(pair, (one, other)) is None
    assert choose(Pool("p", [])) is None
