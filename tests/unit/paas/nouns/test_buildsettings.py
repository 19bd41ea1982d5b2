"""Settings of builds as people type them."""

from __future__ import annotations

import pytest

from paas.nouns.buildsettings import changed, tree_path
from paas.nouns.errors import BadInput


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("services/api", "services/api"),
        ("./services//api/", "services/api"),
        ("", ""),
        (".", ""),
        ("a b", "a b"),
    ],
)
def test_a_path_has_one_form(text: str, path: str) -> None:
    assert tree_path(text) == path


@pytest.mark.parametrize("text", ["/srv", "..", "a/../b", "a/.git", ".GIT/hooks", "a\nb", "a\0b", "x" * 1001])
def test_a_path_stays_in_the_repository(text: str) -> None:
    with pytest.raises(BadInput, match="is not a path in the repository"):
        tree_path(text)


def test_a_change_keeps_what_it_does_not_name_and_takes_defaults_back() -> None:
    settings = changed({}, {"root": "api/", "procfile": "deploy/Procfile"})
    assert settings == {"root": "api", "procfile": "deploy/Procfile"}
    assert changed(settings, {"root": "web"}) == {"root": "web", "procfile": "deploy/Procfile"}
    assert changed(settings, {"root": ".", "procfile": "Procfile"}) == {}
    assert changed(settings, {"root": ""}) == {"procfile": "deploy/Procfile"}
