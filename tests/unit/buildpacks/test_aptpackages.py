"""Which Debian packages an app's files name, and which words are refused."""

from __future__ import annotations

import pytest
from harness.sources import DictTree

from buildpacks import aptpackages, detect
from buildpacks.failurehint import named_cause
from buildpacks.plan import BuildRefused

PROJECT = """
[com.heroku.buildpacks.deb-packages]
install = ["ffmpeg", { name = "libpq5", skip_dependencies = true }]
"""


def test_names_come_from_both_files_sorted_and_once() -> None:
    tree = DictTree(
        {
            "Aptfile": "# fonts\nlibpq5  g++ # two on a line\n\r\nimagemagick=8:6.9.11.60+dfsg-1.6\n",
            "project.toml": PROJECT,
        }
    )
    assert aptpackages.asked_for(tree) == ("ffmpeg", "g++", "imagemagick=8:6.9.11.60+dfsg-1.6", "libpq5")


@pytest.mark.parametrize(
    "text", ["", "[project]\nname = 'x'\n", "com = 3\n", "[com.heroku.buildpacks]\ndeb-packages = 3\n"]
)
def test_a_project_file_without_the_list_names_nothing(text: str) -> None:
    assert aptpackages.asked_for(DictTree({"project.toml": text})) == ()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"Aptfile": "ok\n:repo:deb http://x.example/ ./\n"}, "Aptfile line 2 names another repository"),
        ({"Aptfile": "https://x.example/a_1_amd64.deb\n"}, "Aptfile line 1 names a file"),
        ({"Aptfile": "./a.deb\n"}, "Aptfile line 1 names a file"),
        ({"Aptfile": "libpq5-\n"}, "libpq5- is not the name of a Debian package"),
        ({"Aptfile": "$(id)\n"}, "$(id) is not the name"),
        ({"Aptfile": "-oDebug=1\n"}, "-oDebug=1 is not the name"),
        ({"Aptfile": "Ab\n"}, "Ab is not the name"),
        ({"project.toml": "= 3"}, "project.toml is not TOML"),
        ({"project.toml": PROJECT + "sources = [{ uri = 'x' }]\n"}, "project.toml names another repository"),
        ({"project.toml": "[com.heroku.buildpacks.deb-packages]\ninstall = [3, 'a b']\n"}, "project.toml: 3 is not the name"),
        ({"Aptfile": "\n".join(f"package{n}" for n in range(301))}, "301 Debian packages"),
    ],
)  # fmt: skip
def test_what_is_no_package_of_debian_is_refused_by_name(files: dict[str, str], says: str) -> None:
    with pytest.raises(BuildRefused) as refused:
        aptpackages.asked_for(DictTree(files))
    assert says in refused.value.message


def test_the_layer_is_the_same_for_every_order_of_the_names_and_lies_below_all_steps() -> None:
    assert aptpackages.packages_step(["b1", "a1", "b1"]) == aptpackages.packages_step(["a1", "b1"])
    plan = detect.choose(DictTree({"Aptfile": "tree", "index.html": "x"}))
    assert plan.steps[0] == aptpackages.packages_step(["tree"])
    assert plan.steps[0].shared and plan.steps[0].root and not plan.steps[0].inputs


@pytest.mark.parametrize(
    "name", ["heroku-community/apt", "https://github.com/heroku/heroku-buildpack-apt.git#v1", "fagiani/apt"]
)
def test_a_buildpack_that_only_reads_the_aptfile_is_no_second_one(name: str) -> None:
    assert detect.choose(DictTree({"index.html": "x"}), wanted=[name, "static"]).language == "Static"


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("There is no Debian package imagemagik; near names: imagemagick, x", "there is no Debian package imagemagik"),
        ("There is no Debian package qqq; near names: none", "there is no Debian package qqq"),
        ("E: Version '9' for 'tree' was not found", "tree does not come in version 9"),
        ("E: Package 'libfoo' has no installation candidate", "Debian has only the name of libfoo, no package to install"),
        (" a : Depends: b (>= 2) but it is not going to be installed", "a does not go with the other packages (b (>= 2) but it is not going to be installed)"),
        ("  Could not resolve 'deb.example'", "Debian's mirror deb.example cannot be reached"),
    ],
)  # fmt: skip
def test_what_apt_says_is_put_into_words(line: str, cause: str) -> None:
    found = named_cause(aptpackages.packages_step(["x1"]).failure_hints, ["Reading", line])
    assert found is not None and found[0] == cause
