"""The command line: words in, requests out, and what people read. The platform is a fake that records."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from harness.cli import Platform, lines, typed

from paas.cli import base, main, output, reference
from paas.cli.processes import ps_lines
from paas.logs import parts
from paas.nouns.errors import Conflict, PaasError

ROOT = Path(__file__).parents[4]


Captured = pytest.CaptureFixture[str]


def test_config_set_says_what_it_does_and_prints_aligned_pairs(platform: Platform, capsys: Captured) -> None:
    platform.answers["PATCH /apps/hello/config"] = lines(
        "-----> Starting web=1", release={"version": "v10"}, vars={"FOO": "1", "LONGER": "a=b", "OLD": "x"}
    )
    assert main.main(["config:set", "LONGER=a=b", "FOO=1"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "-----> Starting web=1\nSetting LONGER, FOO and restarting hello... done, v10\n"
    assert captured.out == "FOO:    1\nLONGER: a=b\n"
    assert platform.asked[1:] == [("PATCH", "/apps/hello/config", {"set": {"LONGER": "a=b", "FOO": "1"}})]


@pytest.mark.parametrize(
    "processes", [[], [{"quantity": 0, "stopped": False}], [{"quantity": 1, "stopped": True}]]
)
def test_nothing_is_said_to_restart_when_nothing_runs(
    platform: Platform, capsys: Captured, processes: list[dict[str, Any]]
) -> None:
    platform.answers["GET /apps/hello"] = {"name": "hello", "processes": processes}
    platform.answers["PATCH /apps/hello/config"] = lines(release={"version": "v1"}, vars={"A": "1"})
    platform.answers["PATCH /apps/hello/limits"] = lines(release={"version": "v2"})
    idle = [{"type": "web", "quantity": 0}]
    platform.answers["POST /apps/hello/restart"] = lines(formation=idle)
    for words in (
        ["config:set", "A=1"],
        ["config:unset", "A"],
        ["limits:set", "web", "pids=9"],
        ["ps:restart"],
    ):
        assert main.main(words) == 0
    assert capsys.readouterr().err.splitlines() == [
        "Setting A of hello... done, v1",
        "Unsetting A of hello... done, v1",
        "Setting web limits of hello... done, v2",
        "Restarting hello... done: nothing runs, all is scaled to 0; see: paas scale",
    ]


def test_a_failed_change_shows_cause_hint_and_evidence(platform: Platform, capsys: Captured) -> None:
    platform.answers["PATCH /apps/hello/config"] = ({"line": " !     careful"},)
    assert main.main(["config:set", "A=1"]) == 1
    assert capsys.readouterr().err == (
        " !     careful\n"
        "Setting A and restarting hello... failed\n"
        " !     Exited with status 1: web.1 exited.\n"
        " !     See: paas logs\n"
        "       boom\n"
    )


@pytest.mark.parametrize("words", [["NOEQUALS"], ["=x"], ["1A=x"], ["A-B=x"], ["A=1", "A=2"], ["PORT=1"]])
def test_bad_pairs_are_refused_before_anything_is_sent(
    platform: Platform, capsys: Captured, words: list[str]
) -> None:
    assert main.main(["config:set", *words]) == (2 if words == ["NOEQUALS"] else 1)
    assert capsys.readouterr().err.startswith(" !     ")
    assert [asked for asked in platform.asked if asked[0] != "GET"] == []


def test_config_for_people_shells_and_programs(platform: Platform, capsys: Captured) -> None:
    platform.answers["GET /apps/hello/config"] = {"vars": {"B": "it's", "A": "1\n2"}}
    main.main(["config"])
    assert capsys.readouterr().out == "=== hello Config Vars\nA: 1\n2\nB: it's\n"
    main.main(["config", "-s"])
    assert capsys.readouterr().out == "A='1\n2'\nB='it'\"'\"'s'\n"
    main.main(["config", "--json"])
    assert json.loads(capsys.readouterr().out) == {"B": "it's", "A": "1\n2"}
    assert main.main(["config:get", "NONE"]) == 1


def test_scale_streams_and_can_be_passed_back(platform: Platform, capsys: Captured) -> None:
    formation = [{"type": "web", "quantity": 3}, {"type": "worker", "quantity": 2}]
    platform.answers["PATCH /apps/hello/formation"] = lines("web.3 up", formation=formation)
    platform.answers["GET /apps/hello/formation"] = {"formation": formation}
    assert main.main(["scale", "web=3", "worker+1"]) == 0
    assert capsys.readouterr().err == (
        "       web.3 up\nScaling hello... done, now running web at 3, worker at 2\n"
    )
    assert platform.asked[0][2] == {"changes": {"web": {"quantity": 3}, "worker": {"delta": 1}}}
    main.main(["scale"])
    assert capsys.readouterr().out == "web=3 worker=2\n"


@pytest.mark.parametrize("words", [["web"], ["web=-1"], ["web=1", "web=2"], ["release=1"], ["web==1"]])
def test_bad_scale_words_are_refused(platform: Platform, words: list[str]) -> None:
    assert main.main(["scale", *words]) == 1
    assert [asked for asked in platform.asked if asked[0] != "GET"] == []


def instance(name: str, **more: Any) -> dict[str, Any]:
    limits = {"memory_bytes": 512 << 20, "cpu_millis": 1000, "pids": 256}
    plain = {"kind": "process", "type": name.partition(".")[0], "name": name, "state": "up", "since": 0.0}
    return {**plain, "command": "gunicorn app:app", "limits": limits, "restarts": 0, "cause": "", **more}


def test_ps_groups_by_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    found = [
        instance("web.1", release=7),
        instance("web.1", state="draining"),
        instance("web.2", state="crashed", cause="out of memory", restarts=3),
        instance("run.7", kind="run", command="bash\x1b[2J"),
    ]
    formation = [instance(type, type=type, quantity=0) for type in ("web", "clock")]
    assert ps_lines(found, 3700.0, formation=formation) == [
        "=== web (512M, 1 cpu): gunicorn app:app (2)",
        "",
        "web.1: up 1970/01/01 00:00:00 +0000 (~ 1h ago), v7",
        "web.1: draining 1970/01/01 00:00:00 +0000 (~ 1h ago)",
        "web.2: crashed 1970/01/01 00:00:00 +0000 (~ 1h ago), 3 restarts, out of memory",
        "",
        "=== run: one-off processes (1)",
        "",
        "run.7: up 1970/01/01 00:00:00 +0000 (~ 1h ago): bash [2J",
        "",
        "=== clock (512M, 1 cpu): gunicorn app:app (0)",
    ]


def test_limits_are_typed_and_shown_in_the_same_words(platform: Platform, capsys: Captured) -> None:
    platform.answers["PATCH /apps/hello/limits"] = lines(release={"version": "v2"})
    assert main.main(["limits:set", "web", "memory=256M", "cpu=0.5"]) == 0
    assert platform.asked[-1][2] == {"web": {"memory_bytes": 256 << 20, "cpu_millis": 500}}
    assert capsys.readouterr().out == "web memory=256M cpu=0.5\n"


@pytest.mark.parametrize(
    ("which", "body"), [([], {}), (["web"], {"type": "web"}), (["web.2"], {"name": "web.2"})]
)
def test_restart_means_all_a_type_or_one(platform: Platform, which: list[str], body: dict[str, str]) -> None:
    platform.answers["POST /apps/hello/restart"] = lines(formation=[])
    assert main.main(["ps:restart", *which]) == 0
    assert platform.asked == [("POST", "/apps/hello/restart", body)]


def test_rollback_takes_a_version_or_nothing(platform: Platform, capsys: Captured) -> None:
    platform.answers["POST /apps/hello/rollback"] = lines(release={"version": "v42"}, to=40)
    main.main(["rollback", "v40"])
    main.main(["rollback"])
    assert [body for _, _, body in platform.asked] == [{"to": 40}, {}]
    assert capsys.readouterr().err.splitlines() == [
        "Rolling back hello to v40... done, v42",
        "Rolling back hello to the release before... done, v42 (from v40)",
    ]
    assert main.main(["rollback", "forty"]) == 1


def test_logs_pass_every_filter_on(platform: Platform, capsys: Captured) -> None:
    line = "2026-08-04T21:53:15.123456+00:00 app[web.1]: a: b"
    platform.answers["GET /apps/hello/logs"] = [{"line": line}]
    words = [
        "-n",
        "5",
        "-p",
        "web",
        "-d",
        "web.1",
        "-s",
        "app",
        "--since",
        "10m",
        "--request",
        "abcdefgh",
        "--release",
        "v7",
        "-t",
    ]
    assert main.main(["logs", *words]) == 0
    assert capsys.readouterr().out == line + "\n"
    assert platform.asked[0][2] == {
        "lines": 5, "type": "web", "dyno": "web.1", "source": "app", "since": "10m", "request": "abcdefgh",
        "release": 7, "follow": True,
    }  # fmt: skip


def test_a_log_line_has_parts() -> None:
    line = "2026-08-04T21:53:15.123456+00:00 paas[router]: at=info a: b"
    assert parts(line).message == "at=info a: b"
    assert (parts(line).source, parts(line).dyno) == ("paas", "router")


def test_destroying_needs_the_name(
    platform: Platform, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.answers["GET /apps/hello"] = {"name": "hello", "git_url": "ssh://paas@127.0.0.1:2222/hello"}
    platform.answers["DELETE /apps/hello"] = {"destroyed": True}
    for answer, status in (("other\n", 1), ("", 1), ("hello\n", 0)):
        monkeypatch.setattr("sys.stdin", typed(answer))
        assert main.main(["apps:destroy"]) == status
    assert main.main(["apps:destroy", "--confirm", "nope"]) == 1
    assert main.main(["destroy", "--confirm", "hello"]) == 0
    assert [body for method, _, body in platform.asked if method == "DELETE"] == [{"confirm": "hello"}] * 2


def test_a_private_key_never_leaves_the_machine(platform: Platform, tmp_path: Path, capsys: Captured) -> None:
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert main.main(["keys:add", str(key)]) == 1
    assert "private key" in capsys.readouterr().err
    assert [asked for asked in platform.asked if asked[0] != "GET"] == []


def test_over_ssh_keys_come_from_standard_input(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("PAAS_SSH_PROOF", "bea")
    monkeypatch.setattr("sys.stdin", typed("ssh-ed25519 AAAA me"))
    platform.answers["POST /keys"] = {"user": "bea", "role": "member", "fingerprint": "SHA256:x"}
    assert main.main(["keys:add", "/etc/passwd"]) == 1
    assert main.main(["keys:add", "-"]) == 0
    assert platform.asked == [("POST", "/keys", {"public_key": "ssh-ed25519 AAAA me"})]


@pytest.mark.parametrize("command", ["server", "server:status", "doctor", "server:uninstall"])
def test_over_ssh_the_machine_is_out_of_reach(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("PAAS_SSH_PROOF", "bea")
    assert main.main([command]) == 1
    assert "for the machine" in capsys.readouterr().err


def test_the_app_comes_from_the_flag_the_environment_or_the_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAAS_APP", "fromenv")
    assert base.chosen_app("flag") == "flag"
    assert base.chosen_app("") == "fromenv"
    monkeypatch.delenv("PAAS_APP")
    monkeypatch.delenv("PAAS_SSH_PROOF", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PaasError, match="No app"):
        base.chosen_app("")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "remote", "add", "paas", "ssh://paas@127.0.0.1:2222/fromgit.git"], check=True)
    assert base.chosen_app("") == "fromgit"


@pytest.mark.parametrize(
    ("url", "app"),
    [
        ("ssh://paas@127.0.0.1:2222/hello", "hello"),
        ("ssh://paas@host/hello.git/", "hello"),
        ("paas@host:hello.git", "hello"),
        ("https://github.com/me/hello", None),
        ("ssh://paas@host/a/b", None),
        ("", None),
    ],
)
def test_the_app_of_a_remote(url: str, app: str | None) -> None:
    assert base.app_of_remote(url) == app


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["confg:set", "A=1"], 127, "config:set"),
        (["\x1b[2J"], 127, "paas help"),
        (["config:get"], 2, "Missing argument"),
        (["logs", "-n", "many"], 2, "not a valid integer"),
        (["ps", "--nope"], 2, "--nope"),
        (["help", "scalee"], 127, "scale"),
    ],
)
def test_wrong_words_are_told_apart(
    platform: Platform, capsys: Captured, words: list[str], status: int, said: str
) -> None:
    assert main.main(words) == status
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == "" and "\x1b" not in captured.err


def test_an_error_of_the_platform_is_status_1(platform: Platform, capsys: Captured) -> None:
    platform.answers["POST /apps"] = Conflict("The name hello is taken.", "Choose another.")
    assert main.main(["create", "hello"]) == 1
    assert capsys.readouterr().err == (
        "Creating hello... failed\n !     The name hello is taken.\n !     Choose another.\n"
    )


def test_a_bug_is_one_line_unless_it_is_hunted(
    platform: Platform, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAAS_DEBUG", raising=False)
    assert main.main(["apps"]) == 1
    captured = capsys.readouterr().err
    assert "Internal error: KeyError" in captured and "Traceback" not in captured


def test_a_daemon_that_is_down_is_not_said_to_be_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    plain = {"user": "root", "listens": "x", "started_at": time.time() - 90}
    daemons = [{"name": "api", "pid": os.getpid(), **plain}, {"name": "git", "pid": 0, **plain}]
    (tmp_path / "status.json").write_text(json.dumps({"pid": 2**22 + 1, "daemons": daemons}))
    monkeypatch.setattr("paas.cli.server.local_layout", lambda home: SimpleNamespace(run=tmp_path))
    assert main.main(["server:status"]) == 1
    told = capsys.readouterr()
    rows = [line.split() for line in told.out.splitlines()[1:]]
    assert rows == [["api", str(os.getpid()), "root", "1m", "x"], ["git", "down", "root", "-", "x"]]
    assert "is gone. Start it again with: paas server" in told.err


NO_ANSWER = {"server"}
"""Commands without an answer of their own: what is printed is the daemons'."""


def test_every_command_explains_itself_and_takes_json(capsys: Captured) -> None:
    for names in main.MODULES.values():
        for name in names:
            assert main.main([name, "--help"]) == 0
            told = capsys.readouterr().out
            assert len(told.splitlines()) > 4, name
            assert ("--json" in told) == (name not in NO_ANSWER), name


def test_every_command_about_one_app_takes_its_name_as_an_argument_when_it_has_no_other() -> None:
    context = click.Context(main.paas)
    for names in main.MODULES.values():
        for name in names:
            found = main.paas.get_command(context, name)
            assert found is not None
            params = found.params
            given = {param.name for param in params}
            arguments = [param for param in params if isinstance(param, click.Argument)]
            assert "app" not in given or arguments, name


def test_the_reference_page_is_what_the_commands_say() -> None:
    assert (ROOT / "docs/cli.md").read_text() == reference.reference()


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["ps", "-a", "x"],
        ["config:set", "--help"],
        ["run", "--help"],
        ["keys:add", "/nonexistent"],
    ],
)
def test_starting_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from paas.cli.main import main\n"
        f"main({words!r})\n"
        "heavy = {'flask', 'paramiko', 'dulwich', 'apsw', 'jinja2', 'yaml', 'asyncio', 'ssl', 'http.client', 'cryptography'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    environ = {"PATH": os.environ["PATH"], "PAAS_HOME": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=False
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "~ 0s ago"), (59, "~ 59s ago"), (60, "~ 1m ago"), (3600, "~ 1h ago"), (90000, "~ 1d ago")],
)
def test_distances_in_time(seconds: float, text: str) -> None:
    assert output.ago(seconds) == text


def test_sizes_in_words() -> None:
    assert [output.size(n) for n in (None, 0, 999, 1000, 61_200_000)] == [
        "-",
        "0 B",
        "999 B",
        "1.0 kB",
        "61.2 MB",
    ]


def test_every_command_in_the_documentation_exists() -> None:
    known = {name for names in main.MODULES.values() for name in names}
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    typed = re.compile(r"(?:^|[`$#(]\s*|bin/)paas ([a-z][a-z:]*)(?=[\s`]|$)", re.MULTILINE)
    told = {(page.name, word) for page in pages for word in typed.findall(page.read_text())}
    assert len(told) > 20
    assert {item for item in told if item[1] not in known} == set()
