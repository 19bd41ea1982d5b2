"""Odd repositories and bad words: each works, or gets one clear sentence, and never a traceback or a half-made app."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from harness.platform import Platform, commit, git

PAGE = {"index.html": "<p>odd but fine</p>"}


def _refused(output: str, *words: str) -> None:
    assert "Traceback" not in output
    for word in words:
        assert word in output, f"{word!r} is missing in:\n{output}"


@pytest.mark.parametrize(
    "name", ["Upper", "-dash", "dash-", "1digit", "a" * 31, "under_score", "dot.ted", "", "ä", "a b", "../x"]
)
def test_a_bad_app_name_is_refused_with_the_rule(platform: Platform, name: str) -> None:
    done = platform.paas("create", name, check=False)
    assert done.returncode in (1, 2)
    _refused(done.stderr, " !     ")
    assert name not in {item["name"] for item in platform.json("apps")}


@pytest.mark.parametrize(
    "words",
    [
        ["scale", "web=-1"],
        ["scale", "web=many"],
        ["scale", "nosuchtype=1"],
        ["scale", "web=100000"],
        ["limits:set", "web", "memory=lots"],
        ["limits:set", "web", "memory=1K"],
        ["limits:set", "web", "cpu=0"],
        ["limits:set", "web", "colour=red"],
        ["domains:add", "-bad-.example"],
        ["domains:add", "x" * 300],
        ["domains:add", "hello.localhost"],
        ["rollback", "v999"],
        ["releases:info", "seven"],
        ["ps:restart", "nosuch.7"],
        ["logs", "-n", "minus"],
        ["builds:output", "99"],
    ],
)
def test_bad_words_are_answered_with_one_sentence(platform: Platform, words: list[str]) -> None:
    if "oddities" not in {item["name"] for item in platform.json("apps")}:
        platform.deploy(PAGE, "oddities")
    done = platform.paas(*words, "-a", "oddities", check=False)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    _refused(done.stderr, " !     ")


@pytest.mark.parametrize(
    "content", ["", "not a key", "ssh-dss AAAAB3NzaC1kc3MAAACBAP", "ssh-rsa AAAA", "ssh-ed25519 !!!!"]
)
def test_a_bad_key_is_refused(platform: Platform, tmp_path: Path, content: str) -> None:
    file = tmp_path / "bad.pub"
    file.write_text(content)
    done = platform.paas("keys:add", str(file), check=False)
    assert done.returncode == 1
    _refused(done.stderr, " !     ")


def test_a_commit_without_files_is_refused(platform: Platform) -> None:
    repository = platform.repository({"gone.txt": "x"})
    git(repository, "rm", "-q", "gone.txt")
    commit(repository, "Nothing left")
    done = platform.push(repository, "emptytree")
    assert done.returncode == 1, done.stdout
    _refused(done.stdout, "no files")


def test_an_empty_repository_cannot_be_pushed(platform: Platform, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    done = platform.push(tmp_path, "emptyrepo")
    assert done.returncode == 1


def test_a_repository_that_no_buildpack_knows_says_what_was_looked_for(platform: Platform) -> None:
    done = platform.push(platform.repository({"notes.md": "# nothing to run"}), "unknown")
    assert done.returncode == 1
    _refused(done.stdout, "notes.md", "requirements.txt", "package.json", "Procfile")


def test_file_names_with_spaces_newlines_and_foreign_bytes_arrive(platform: Platform) -> None:
    repository = platform.repository(PAGE)
    for name in (
        b"two words.txt",
        b"line\nbreak.txt",
        b"caf\xe9.txt",
        "ü.txt".encode(),
        b"-dash.txt",
        b"x" * 200,
    ):
        Path(os.fsdecode(os.fsencode(repository) + b"/" + name)).write_text("content")
    commit(repository, "Odd names")
    done = platform.push(repository, "oddnames")
    assert done.returncode == 0, done.stdout
    assert platform.get("oddnames", "/two%20words.txt").text == "content"
    assert platform.get("oddnames", "/caf%e9.txt").text == "content"


def test_ten_thousand_files_are_pushed(platform: Platform) -> None:
    repository = platform.repository(PAGE)
    for folder in range(100):
        (repository / f"d{folder}").mkdir()
        for number in range(100):
            (repository / f"d{folder}" / f"f{number}.txt").write_text(f"{folder} {number}\n")
    commit(repository, "Many")
    done = platform.push(repository, "many")
    assert done.returncode == 0, done.stdout
    assert platform.get("many", "/d99/f99.txt").text == "99 99\n"


def test_symlinks_that_point_outside_show_nothing_of_the_host(platform: Platform) -> None:
    repository = platform.repository(PAGE)
    (repository / "shadow").symlink_to("/etc/shadow")
    (repository / "up").symlink_to("../../../../../../etc/hostname")
    commit(repository, "Links")
    done = platform.push(repository, "links")
    _refused(done.stdout)
    if done.returncode == 0:
        assert platform.get("links", "/shadow").status in (403, 404)
        assert "$" not in platform.get("links", "/shadow").text


def test_a_submodule_is_named_in_the_refusal(platform: Platform) -> None:
    repository = platform.repository(PAGE)
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head},vendor/thing")
    git(repository, "commit", "-q", "-m", "Submodule")
    done = platform.push(repository, "submodule")
    assert done.returncode == 1, done.stdout
    _refused(done.stdout, "submodule", "vendor/thing")


@pytest.mark.long
def test_a_push_of_200_megabytes_works_or_is_refused_in_a_sentence(platform: Platform) -> None:
    repository = platform.repository(PAGE)
    with (repository / "big.bin").open("wb") as file:
        for _ in range(200):
            file.write(os.urandom(1 << 20))
    commit(repository, "Big")
    done = platform.push(repository, "big")
    _refused(done.stdout)
    if done.returncode == 0:
        assert platform.get("big").status == 200
    else:
        assert " !     " in done.stdout


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"Procfile": "web: ok\nweb: twice\n"}, ["line 2", "web"]),
        ({"Procfile": "bad type!: x\n"}, ["line 1"]),
        ({"Procfile": "web:\n"}, ["line 1"]),
        ({"Procfile": "\x00\x01"}, ["Procfile"]),
        (
            {"Procfile": "web: sleep 1\n", "app.json": '{"formation": {"web": {"quantity": "many"}}}'},
            ["app.json", "quantity"],
        ),
        ({"Procfile": "web: sleep 1\n", "app.json": "[]"}, ["app.json"]),
        ({"requirements.txt": "flask\n", ".python-version": "2.7\n"}, [".python-version", "3.11"]),
        ({"requirements.txt": "flask\n", "runtime.txt": "python-3.99\n"}, ["runtime.txt", "3.11"]),
        ({"package.json": "{bad"}, ["package.json"]),
        ({"package.json": '{"engines": {"node": "^99"}, "scripts": {"start": "node x"}}'}, ["node", "99"]),
    ],
)
def test_a_bad_file_rejects_the_push_and_names_the_line_or_value(
    platform: Platform, files: dict[str, str], words: list[str]
) -> None:
    done = platform.push(platform.repository(files), "badfiles")
    assert done.returncode == 1, done.stdout
    _refused(done.stdout, " !     ", *words)


def test_a_hostile_app_name_in_the_url_reaches_no_shell(platform: Platform) -> None:
    canary = platform.folder / "canary"
    for name in (
        f"x;touch {canary}",
        f"$(touch {canary})",
        "../../etc",
        "-oProxyCommand=x",
        "a'b",
        "~",
        "x\ny",
    ):
        command = [
            *platform.ssh_words(),
            "-p",
            str(platform.ssh),
            "paas@127.0.0.1",
            f"git-receive-pack '{name}'",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False
        )
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
    assert not canary.exists()
