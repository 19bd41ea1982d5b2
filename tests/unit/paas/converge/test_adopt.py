"""After a restart: which containers go, and which rows learn their address."""

from __future__ import annotations

from harness.nouns import make_instance

from paas.converge.adopt import Adoption, adopt


def test_a_row_and_its_container_that_agree_need_nothing() -> None:
    assert adopt([make_instance(1, address="10.0.0.1")], {"i1": "10.0.0.1"}) == Adoption((), {})


def test_a_container_that_no_row_names_is_an_orphan() -> None:
    assert adopt([make_instance(1)], {"i9": None, "i1": "10.0.0.1", "i2": "10.0.0.2"}).orphans == ("i2", "i9")


def test_a_row_learns_the_address_that_its_container_has() -> None:
    rows = [make_instance(1, address=None), make_instance(2, address="10.0.0.9"), make_instance(3)]
    found = adopt(rows, {"i1": "10.0.0.1", "i2": "10.0.0.2", "i3": None})
    assert found == Adoption((), {1: "10.0.0.1", 2: "10.0.0.2"})


def test_a_row_without_container_is_left_to_the_plan() -> None:
    assert adopt([make_instance(1)], {}) == Adoption((), {})
