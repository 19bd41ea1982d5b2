"""Domains on the command line, against the api."""

from __future__ import annotations

import json

from harness.cli import Shell


def test_a_domain_is_added_listed_and_removed(paas: Shell, app: str) -> None:
    added = paas("domains:add", "WWW.Example.com")
    assert added.status == 0 and added.out == ""
    assert (
        added.err
        == f"Adding www.example.com to {app}... done; the router's workers will have it in a moment\n"
    )
    assert paas("domains").out == f"=== {app} Domains\n{app}.localhost\nwww.example.com\n"
    assert [one["name"] for one in json.loads(paas("domains", "--json").out)] == ["www.example.com"]
    removed = paas("domains:remove", "www.example.com")
    assert removed.status == 0 and removed.err.startswith(f"Removing www.example.com from {app}... done")
    assert paas("domains:list").out == f"=== {app} Domains\n{app}.localhost\n"


def test_a_name_of_other_letters_is_shown_in_both_forms(paas: Shell, app: str) -> None:
    assert "xn--" in paas("domains:add", "bücher.example").err
    assert "xn--bcher-kva.example (bücher.example)\n" in paas("domains").out
    assert paas("domains:remove", "bücher.example").status == 0


def test_a_part_of_a_host_is_one_word_of_the_address(paas: Shell, app: str) -> None:
    assert paas("domains:add", "shop.example.com/api v2").status == 1
    assert paas("domains:add", "shop.example.com/api").status == 0
    assert paas("domains:remove", "shop.example.com").status == 1, "the whole host is another domain"
    assert paas("domains:remove", "shop.example.com/api").status == 0


def test_what_the_platform_refuses_is_told_and_the_line_is_ended(paas: Shell, app: str) -> None:
    assert paas("domains:add", "taken.example.com").status == 0
    for name, said in (
        ("taken.example.com", "taken.example.com"),
        (f"other.{app}.localhost", "localhost"),
        ("not a host", "not a host"),
    ):
        told = paas("domains:add", name)
        assert (told.status, told.out) == (1, "")
        first, second = told.err.splitlines()[:2]
        assert first.startswith("Adding ") and first.endswith(f" to {app}... failed")
        assert second.startswith(" !     ") and said in second
    paas("domains:remove", "taken.example.com")
