"""Commands that list or show: columns for people, the API's own data with --json."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.cli import Platform, lines

from paas.cli import main
from paas.cli.local import is_local

Captured = pytest.CaptureFixture[str]

BUILD = {
    "number": 2, "commit": "1234567890", "tree": "feed", "actor": "ann", "status": "failed", "cause": "no space", "image": None, "origin": "",
    "started_at": 0.0, "finished_at": 1.5,
}  # fmt: skip
RELEASE = {
    "version": "v2", "description": "Deploy 12345678", "actor": "ann", "state": "failed", "cause": "out of memory",
    "created_at": 0.0, "commit": "1234567890", "origin": "", "image": "sha256:1", "size_bytes": 61_200_000, "stack": "debian-12",
    "current": True, "config_names": ["A"], "processes": {"web": "run\nfast"}, "limits": {"web": {"memory_bytes": 256 << 20}},
}  # fmt: skip
APP = {"name": "hello", "release": None, "url": "http://hello.localhost/", "owner": "ann"}
KEY = {"user": "ann", "fingerprint": "SHA256:x", "type": "ssh-ed25519", "comment": "laptop\x1b[2J"}
CERTIFICATE = {
    "domain": "a.example", "source": None, "auto": True, "platform": False, "next_at": 0.0, "error": {"message": "No."},
}  # fmt: skip

LISTINGS: list[tuple[str, str, Any, list[str]]] = [
    ("apps", "GET /apps", {"apps": [APP]}, ["=== Apps", "", "NAME   RELEASE       URL                      OWNER",
        "hello  not deployed  http://hello.localhost/  ann"]),
    ("builds", "GET /apps/hello/builds", {"builds": [BUILD]}, ["=== hello Builds", "",
        "BUILD  COMMIT    OUTCOME                   BY   STARTED",
        "2      12345678  failed: no space in 1.5 s  ann  1970"]),
    ("releases", "GET /apps/hello/releases", {"releases": [RELEASE], "current": 2}, ["=== hello Releases - Current: v2", "",
        "VERSION  CHANGE                    BY   WHEN", "v2       Deploy 12345678 (failed)  ann  1970"]),
    ("keys", "GET /keys", {"keys": [KEY]}, ["=== SSH keys", "USER  FINGERPRINT  TYPE         COMMENT",
        "ann   SHA256:x     ssh-ed25519  laptop\\x1b[2J"]),
    ("tokens", "GET /tokens", {"tokens": [{"id": 7, "name": "ci", "user": "ann", "last_used_at": None}]},
        ["=== Tokens", "ID  NAME  USER  LAST USED", "7   ci    ann   never"]),
    ("users", "GET /users", {"users": [{"name": "ann", "role": "admin"}]}, ["=== Users", "NAME  ROLE", "ann   admin"]),
    ("stacks:apps", "GET /stacks/apps", {"apps": [{"name": "hello", "stack": "debian-12", "release": 2, "current": False}]}, ["=== Apps on stacks", "NAME   STACK      RELEASE  STATE", "hello  debian-12  v2       older"]),
    ("stacks", "GET /stacks", {"stacks": [{"name": "debian-14", "pythons": ["3.14.8", "3.13.15"]}]}, ["=== Stacks", "NAME       SIZE  CREATED  PYTHON", "debian-14  -              3.14.8, 3.13.15"]),
    ("domains", "GET /apps/hello/domains", {"own": "hello.localhost", "domains": [{"name": "xn--bcher-kva.example"}]},
        ["=== hello Domains", "hello.localhost", "xn--bcher-kva.example (bücher.example)"]),
    ("certs", "GET /apps/hello/certs", {"certificates": [CERTIFICATE]}, ["=== hello Certificates",
        "DOMAIN     ISSUER  EXPIRES  SOURCE", "a.example  -       -        acme (being asked for)"]),
    ("limits", "GET /apps/hello/limits", {"limits": {"web": {"memory_bytes": 256 << 20, "cpu_millis": 500, "pids": 9}}},
        ["=== hello Limits", "web  memory=256M  cpu=0.5  pids=9"]),
    ("maintenance", "GET /apps/hello/routing", {"routing": {"app": {"settings": {"maintenance": "on"}}, "domains": {}}}, ["on"]),
]  # fmt: skip


@pytest.mark.parametrize(("word", "request_", "answer", "shown"), LISTINGS, ids=[row[0] for row in LISTINGS])
def test_a_listing(
    platform: Platform, capsys: Captured, word: str, request_: str, answer: Any, shown: list[str]
) -> None:
    platform.answers[request_] = answer
    assert main.main([word]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(shown)
    for line, expected in zip(printed, shown, strict=True):
        assert " ".join(line.split()).startswith(" ".join(expected.split()))
    assert main.main([word, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data in (answer, *answer.values(), {"maintenance": True})


def test_a_build_and_a_release_are_shown_whole(platform: Platform, capsys: Captured) -> None:
    platform.answers["GET /apps/hello/builds"] = {"builds": [BUILD]}
    platform.answers["GET /apps/hello/builds/2"] = BUILD
    platform.answers["GET /apps/hello/releases/2"] = RELEASE
    assert main.main(["builds:info"]) == 0
    shown = capsys.readouterr().out
    assert (
        "=== hello Build 2\n" in shown
        and "Outcome: failed: no space in 1.5 s\n" in shown
        and "Image:   none\n" in shown
    )
    assert main.main(["releases:info", "v2"]) == 0
    shown = capsys.readouterr().out
    assert "=== hello Release v2 (current)\n" in shown and "State:  failed, out of memory\n" in shown
    assert "Image:  sha256:1 (61.2 MB)\n" in shown and "  web: run fast (memory=256M)\n" in shown


def test_an_app_that_was_never_built_has_no_newest_build(platform: Platform, capsys: Captured) -> None:
    platform.answers["GET /apps/hello/builds"] = {"builds": []}
    assert main.main(["builds:output"]) == 1
    assert "hello was never built." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("applied", "end"), [(True, "done"), (False, "done; the router's workers will have it in a moment")]
)
def test_a_domain_says_whether_the_router_has_it(
    platform: Platform, capsys: Captured, applied: bool, end: str
) -> None:
    platform.answers["POST /apps/hello/domains"] = {"name": "www.a.test", "applied": applied}
    assert main.main(["domains:add", "www.a.test"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"Adding www.a.test to hello... {end}\n")


def test_what_changes_something_prints_its_answer_only_as_json(platform: Platform, capsys: Captured) -> None:
    platform.answers["DELETE /keys/SHA256%3Ax"] = {"fingerprint": "SHA256:x"}
    assert main.main(["keys:remove", "SHA256:x"]) == 0
    assert capsys.readouterr() == ("", "Removing the SSH key... done\n")
    assert main.main(["keys:remove", "SHA256:x", "--json"]) == 0
    captured = capsys.readouterr()
    assert (
        json.loads(captured.out) == {"fingerprint": "SHA256:x"}
        and captured.err == "Removing the SSH key... done\n"
    )


def test_a_canary_is_shown_changed_and_ended(platform: Platform, capsys: Captured) -> None:
    side = {
        "role": "serving",
        "release": 3,
        "share": 90,
        "quantity": 2,
        "up": ["i1"],
        "requests": 1,
        "errors": 0,
    }
    canary = {"release": 2, "share": 10, "quantity": 1, "created_at": 0.0}
    platform.answers["GET /apps/hello/canary"] = {"canary": canary, "sides": [side]}
    assert main.main(["canary"]) == 0
    assert "serving  v3  90 %  1 of 2 up  1 request  0 errors\n" in capsys.readouterr().out
    platform.answers["POST /apps/hello/canary"] = lines(
        canary={**canary, "share": 25}, sides=[], applied=True
    )
    assert main.main(["canary:share", "25%"]) == 0
    assert platform.asked[-1][2] == {"share": 25}
    assert "done, v2 gets 25 % of the requests" in capsys.readouterr().err
    platform.answers["POST /apps/hello/canary"] = lines(canary=None, sides=[], applied=True)
    assert main.main(["canary", "v2"]) == 0
    assert "the canary was ended meanwhile" in capsys.readouterr().err
    assert main.main(["canary", "--share", "5"]) == 2


def test_help_is_a_command_too(capsys: Captured) -> None:
    assert main.main(["help"]) == 0
    whole = capsys.readouterr().out
    assert "config:set" in whole and "Usage: paas" in whole
    assert main.main(["help", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert set(known) == {name for names in main.MODULES.values() for name in names} and all(known.values())
    assert main.main(["help", "ps", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["command"] == "ps"


@pytest.mark.parametrize(
    ("word", "local"),
    [("server:status", True), ("login", True), ("ps", False), ("router", False), ("router:restart", True)],
)
def test_commands_about_this_machine(word: str, local: bool) -> None:
    assert is_local(word) == local
