"""Claims on host names: what one user's app was given, no other user's app can take by a name that overlaps."""

from __future__ import annotations

import pytest

from paas.api.domains import check_claim
from paas.nouns.errors import BadInput, Conflict
from paas.store import Store, apps, domains, people

CLASHES = [
    ("*.corp.example", "login.corp.example"),
    ("*.corp.example", "a.b.corp.example"),
    ("*.corp.example", "*.b.corp.example"),
    ("www.corp.example", "*.corp.example"),
    ("a.b.corp.example", "*.corp.example"),
    ("*.b.corp.example", "*.corp.example"),
    ("*.corp.example/a", "login.corp.example"),
    ("*.corp.example", "login.corp.example/a"),
    ("www.corp.example/a", "*.corp.example/b"),
]
HELD = [
    ("www.corp.example", "www.corp.example/api"),
    ("www.corp.example/api", "www.corp.example"),
    ("www.corp.example/api", "www.corp.example/shop"),
    ("*.corp.example", "*.corp.example/api"),
]
NEIGHBOURS = [
    ("*.corp.example", "corp.example"),
    ("*.corp.example", "login.othercorp.example"),
    ("corp.example", "*.corp.example"),
    ("www.corp.example", "mail.corp.example"),
    ("www.othercorp.example", "*.corp.example"),
    ("corp.example.org/api", "corp.example/api"),
]


def claim(store: Store, first: str, second: str, *, same_owner: bool, anywhere: bool = False) -> None:
    with store.write() as tx:
        owners = [people.add_user(tx, name, "member").id for name in ("ann", "eve")]
        mine = apps.create(tx, "mine", owners[0])
        other = apps.create(tx, "other", owners[0 if same_owner else 1])
        domains.add(tx, mine.id, first)
        domains.add(tx, other.id, second, anywhere=anywhere)


@pytest.mark.parametrize(("first", "second"), CLASHES)
def test_a_name_that_overlaps_with_another_users_is_refused(store: Store, first: str, second: str) -> None:
    with pytest.raises(Conflict, match="overlaps"):
        claim(store, first, second, same_owner=False)


@pytest.mark.parametrize(("first", "second"), HELD)
def test_only_a_hosts_owner_or_an_administrator_adds_paths_below_it(
    store: Store, first: str, second: str
) -> None:
    with pytest.raises(Conflict, match=r"The host .*corp\.example belongs to another user"):
        claim(store, first, second, same_owner=False)
    claim(store, first, second, same_owner=False, anywhere=True)


@pytest.mark.parametrize(("first", "second"), HELD)
def test_apps_of_one_user_may_share_a_host_by_path(store: Store, first: str, second: str) -> None:
    claim(store, first, second, same_owner=True)


def test_the_first_to_have_a_host_decides_even_when_others_were_let_in(store: Store) -> None:
    with store.write() as tx:
        ann, eve = (people.add_user(tx, name, "member").id for name in ("ann", "eve"))
        mine, other = apps.create(tx, "mine", ann), apps.create(tx, "other", eve)
        domains.add(tx, mine.id, "corp.example")
        domains.add(tx, other.id, "corp.example/eve", anywhere=True)
        with pytest.raises(Conflict, match="belongs to another user"):
            domains.add(tx, other.id, "corp.example/more")
        domains.add(tx, mine.id, "corp.example/mine")


@pytest.mark.parametrize(("first", "second"), CLASHES)
def test_apps_of_one_user_may_share_a_wildcard(store: Store, first: str, second: str) -> None:
    claim(store, first, second, same_owner=True)


@pytest.mark.parametrize(("first", "second"), NEIGHBOURS)
def test_names_beside_each_other_are_free(store: Store, first: str, second: str) -> None:
    claim(store, first, second, same_owner=False)


@pytest.mark.parametrize(
    "name",
    ["apps.corp.example", "x.apps.corp.example", "*.apps.corp.example", "*.x.apps.corp.example", "*.corp.example"],
)  # fmt: skip
def test_the_platforms_own_domain_is_nobodys(name: str) -> None:
    with pytest.raises(BadInput):
        check_claim(name, "apps.corp.example")


@pytest.mark.parametrize(
    "name", ["corp.example", "www.corp.example", "*.www.corp.example", "*.ps.corp.example"]
)
def test_names_beside_the_platforms_own_domain_are_free(name: str) -> None:
    check_claim(name, "apps.corp.example")
