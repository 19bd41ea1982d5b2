"""Which buildpacks of others are taken, what is run of them, and how what they print is read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from harness.sources import DictTree

from buildpacks import classic, foreign
from buildpacks.detect import choose
from buildpacks.plan import BuildRefused, Plan

PACK = {"pack/bin/compile": "x", "two.tgz": "x", "requirements.txt": ""}
URL = "https://me:secret@git.example/x/y.git#v2"


def chosen(*wanted: str, listed: str = "") -> Plan:
    files = {**PACK, ".buildpacks": listed} if listed else PACK
    return choose(DictTree(files), {}, wanted)


@pytest.mark.parametrize("name", ["pack", "./pack/", "two.tgz", URL, "https://x.example/y.tgz"])
def test_folders_archives_and_addresses_are_buildpacks(name: str) -> None:
    plan = chosen(name)
    assert (plan.language, plan.detected, plan.released) == ("Buildpack", "app.json", foreign.RELEASE)
    step = plan.steps[-1]
    assert step.source and step.config and step.after_source and step.outputs == ("/app",) and not step.shared
    subprocess.run(["bash", "-n", "-c", step.script], check=True)


def test_the_file_buildpacks_counts_unless_app_json_names_some() -> None:
    assert chosen(listed="# ours\n\npack\ntwo.tgz\n").steps[-1].key[1:] == ("pack", "two.tgz")
    assert chosen(listed="pack\n").detected == ".buildpacks"
    assert chosen("python", listed="pack\n").language == "Python"
    assert chosen(listed="https://github.com/heroku/heroku-buildpack-python\n").language == "Python"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["python", "pack"], "2 buildpacks"),
        (["missing"], "missing"),
        (["../pack"], "pack"),
        (["/pack"], "pack"),
        (["-x"], "-x"),
        (["ext::sh -c id"], "ext"),
        (["ssh://git@x.example/y.git"], "ssh"),
        (["file:///etc"], "file"),
        (["pack"] * 11, "11 buildpacks"),
    ],
)
def test_what_is_none_is_refused_by_name(wanted: list[str], message: str) -> None:
    with pytest.raises(BuildRefused) as refused:
        chosen(*wanted)
    assert message in refused.value.message


def test_a_login_stands_in_no_title_and_no_line_that_is_printed() -> None:
    *_, step = chosen(URL).steps
    assert step.title == "Running the buildpack git.example/x/y.git#v2"
    assert not any("secret" in part.splitlines()[0] for part in step.script.split("echo")[1:])


@pytest.mark.parametrize("name", ["https://x.example/$(id)`id`'\";id", "https://x.example/y.git#a';id;'"])
def test_an_address_is_a_word_to_the_shell(name: str, tmp_path: Path) -> None:
    *_, step = chosen(name).steps
    (tmp_path / "git").write_text('#!/bin/sh\nfor word; do echo "<$word>"; done >>"$OUT"\nexit 1\n')
    (tmp_path / "git").chmod(0o755)
    lines = [line for line in step.script.splitlines() if line.startswith("git init")]
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "OUT": str(tmp_path / "out")}
    for line in lines:
        subprocess.run(
            ["bash", "-c", line.replace("git init", "! git init")], env=env, capture_output=True, check=False
        )
    assert f"<{name.partition('#')[0]}>" in (tmp_path / "out").read_text().splitlines()


@pytest.mark.parametrize("reference", ["", "#main", "#v1", "#COMMIT"])
def test_a_repository_is_fetched_at_what_follows_the_hash(reference: str, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    (origin / "bin").mkdir(parents=True)
    (origin / "bin/compile").write_text("x")
    for command in (["init", "-qb", "main"], ["add", "."], ["commit", "-qm", "x"], ["tag", "v1"]):
        subprocess.run(["git", *identity, *command], cwd=origin, check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=origin, text=True).strip()
    *_, step = chosen(f"https://git.example/y.git{reference.replace('COMMIT', commit)}").steps
    (line,) = [line for line in step.script.splitlines() if line.startswith("git init")]
    env = {
        **os.environ,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{origin}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://git.example/y.git",
    }
    script = line.replace("/var/tmp/buildpacks", str(tmp_path))
    subprocess.run(["bash", "-e", "-c", script], env=env, check=True)
    assert (tmp_path / "1/bin/compile").is_file()


@pytest.mark.parametrize(
    ("release", "procfile"),
    [
        ("", ""),
        ("--- {}\n", ""),
        ("default_process_types:\n  web: a b\n", "web: a b\n"),
        (
            "---\n:default_process_types:\n  'web': \"a: b\"\n  # no\n\n  worker: 'c'\nx:\n  y: z\n",
            "web: a: b\n# no\n\nworker: c\n",
        ),
        ("config_vars:\n  web: x\n", ""),
        ("default_process_types:\n  Web App: x\n  empty:\n", "Web App: x\nempty:\n"),
        ("default_process_types: {}\n  web: x\n", ""),
    ],
)
def test_default_process_types_are_read(release: str, procfile: str) -> None:
    assert classic.procfile_of(release) == procfile


def test_config_vars_and_addons_of_a_release_are_read() -> None:
    release = (
        "---\nconfig_vars:\n  A: b c\n  'B_2': \"x: y\"\n  not a line\naddons:\n- heroku-postgresql:hobby-dev\n  - 'redis'\n"
        "default_process_types:\n  web: x\nconfig_vars:\n  LATE: z\n"
    )
    assert classic.config_vars_of(release) == {"A": "b c", "B_2": "x: y"}
    assert classic.addons_of(release) == ["heroku-postgresql:hobby-dev", "redis"]
    assert classic.procfile_of(release) == "web: x\n"
    assert classic.config_vars_of("") == {} and classic.addons_of("addons: []\n") == []
