"""Addresses of repositories elsewhere: which are taken, and that a login is never shown."""

from __future__ import annotations

import pytest

from paas.nouns.errors import BadInput
from paas.nouns.remoteurl import RemoteRepository


@pytest.mark.parametrize(
    ("text", "url", "ref"),
    [
        ("https://github.com/ann/app", "https://github.com/ann/app", ""),
        ("https://github.com/ann/app.git#main", "https://github.com/ann/app.git", "main"),
        ("http://host:3000/ann/app.git/#feature/x", "http://host:3000/ann/app.git", "feature/x"),
        ("git://[::1]:9/app#v1.0", "git://[::1]:9/app", "v1.0"),
    ],
)
def test_an_address_is_divided(text: str, url: str, ref: str) -> None:
    found = RemoteRepository.parse(text)
    assert (found.url, found.ref, found.username) == (url, ref, "")
    assert str(found) == text.replace("/#", "#")


def test_a_login_is_kept_apart() -> None:
    found = RemoteRepository.parse("https://bot:s3c%2Fret@host/app.git#main")
    assert (found.username, found.password) == ("bot", "s3c/ret")
    assert str(found) == "https://host/app.git#main"


@pytest.mark.parametrize(
    "text",
    [
        "", "/srv/git/app.git", "file:///srv/git/app.git", "ssh://git@host/app", "git@host:ann/app.git", "ext::sh -c id",
        "https://", "https:///app", "https://host", "https://host/", "https://host/a?x=1", "https://host/a b", "ftp://host/a",
        "https://host/a\n", "https://host:99999/a", "https://[host/a", "https://hößt/a", "https://host/" + "a" * 2000,
        "https://host/a#-x", "https://host/a#x y", "https://host/a#a\nb", "https://host/a#" + "b" * 251,
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        RemoteRepository.parse(text)


def test_a_refusal_does_not_show_a_login() -> None:
    with pytest.raises(BadInput) as refused:
        RemoteRepository.parse("ssh://bot:s3cret@host/app")
    assert "s3cret" not in refused.value.message
