"""Settings of builds as people type them."""

from __future__ import annotations

import pytest

from paas.nouns.buildsettings import builder, changed, tree_path
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


def test_a_dockerfile_or_a_stage_chooses_the_builder_unless_another_is_chosen() -> None:
    assert builder({}) == ""
    settings = changed({}, {"dockerfile": "./deploy/Dockerfile", "target": "Web"})
    assert settings == {"dockerfile": "deploy/Dockerfile", "target": "web"}
    assert builder(settings) == builder({"target": "web"}) == "dockerfile"
    assert builder({**settings, "builder": "node"}) == "node"
    assert changed(settings, {"dockerfile": "", "target": ""}) == {}
    with pytest.raises(BadInput, match="is not the name of a stage"):
        changed({}, {"target": "a b"})
