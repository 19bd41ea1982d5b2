"""Values of settings as an operator writes them."""

from __future__ import annotations

import pytest

from paas.nouns.values import go_proxy


@pytest.mark.parametrize(
    "text", ["", "direct", "off", "https://a.example/go,direct", "http://a|https://b,off", "file:///srv/go"]
)
def test_a_list_of_go_proxies_is_taken_as_it_is(text: str) -> None:
    assert go_proxy(text) == text


@pytest.mark.parametrize("text", ["proxy.example", "https://a b", "ftp://a", "direct,", "https://a\nX=1"])
def test_what_is_no_list_of_go_proxies_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a list like"):
        go_proxy(text)
