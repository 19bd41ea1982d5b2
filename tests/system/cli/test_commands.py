"""The commands of the client against a running platform: what people type, what they see."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import time
from pathlib import Path

import pytest
from harness.platform import PAAS, Platform, free_port, git, traces, wait_for

from paas.cli import main
from runtime.kernel.poll import readable

APP = "cli"


@pytest.fixture(scope="module", autouse=True)
def repository(platform: Platform) -> Path:
    return platform.deploy("examples/worker", APP)


def test_config_vars_reach_the_app_and_read_back_exactly(platform: Platform) -> None:
    values = {
        "A": "1",
        "SPACED": "two words",
        "QUOTED": 'it\'s "so"',
        "LINES": "one\ntwo",
        "EQUALS": "a=b=c",
        "EMPTY": "",
    }
    done = platform.paas("config:set", *(f"{name}={value}" for name, value in values.items()), "-a", APP)
    assert "done, v" in done.stderr
    read = platform.json("config", "-a", APP)
    assert {name: read[name] for name in values} == values
    assert platform.paas("config:get", "LINES", "-a", APP).stdout == "one\ntwo\n"
    shell = platform.paas("config", "-s", "-a", APP).stdout
    script = f'{shell}\nprintf %s "$QUOTED"'
    assert (
        subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        == values["QUOTED"]
    )
    inside = platform.paas("run", "-a", APP, "--", "printenv", "LINES").stdout
    assert inside.replace("\r", "") == "one\ntwo\n"
    platform.paas("config:unset", *values, "-a", APP)
    assert not set(values) & set(platform.json("config", "-a", APP))


@pytest.mark.parametrize("pair", ["1A=x", "A-B=x", "=x", "NOEQUALS", "A B=1"])
def test_a_bad_config_name_is_refused_with_the_rule(platform: Platform, pair: str) -> None:
    before = platform.json("releases", "-a", APP)
    done = platform.paas("config:set", pair, "-a", APP, check=False)
    assert done.returncode in (1, 2)
    assert " !     " in done.stderr
    assert platform.json("releases", "-a", APP) == before


def test_scaling_says_what_comes_up_and_prints_what_can_be_passed_back(platform: Platform) -> None:
    done = platform.paas("scale", "web=3", "worker+1", "-a", APP)
    assert f"Scaling {APP}... done, now running" in done.stderr
    formation = platform.paas("scale", "-a", APP).stdout.split()
    assert "web=3" in formation
    up = [item["name"] for item in platform.json("ps", "-a", APP) if item["state"] == "up"]
    assert {"web.1", "web.2", "web.3"} <= set(up)
    platform.paas("scale", "web=1", "worker=0", "-a", APP)
    wait_for(lambda: [item["name"] for item in platform.json("ps", "-a", APP)] == ["web.1"])


def test_limits_are_shown_and_enforced_by_the_kernel(platform: Platform) -> None:
    platform.paas("limits:set", "web", "memory=256M", "cpu=0.5", "pids=100", "-a", APP)
    shown = platform.paas("limits", "-a", APP).stdout
    assert "256M" in shown and "0.5" in shown
    assert "Set web limits" in platform.paas("releases", "-a", APP).stdout
    instance = platform.json("ps", "-a", APP)[0]["id"]
    v1 = Path(f"/sys/fs/cgroup/memory/paas-{platform.id}/{instance}/memory.limit_in_bytes")
    v2 = Path(f"/sys/fs/cgroup/paas-{platform.id}/{instance}/memory.max")
    limit = (v1 if v1.exists() else v2).read_text().strip()
    assert limit == str(256 << 20)


def test_run_returns_the_commands_own_exit_status(platform: Platform) -> None:
    done = platform.paas("run", "-a", APP, "--", "sh", "-c", "echo out; echo err >&2; exit 42", check=False)
    assert done.returncode == 42
    assert "out" in done.stdout
    assert platform.paas("run", "-a", APP, "--", "no-such-command", check=False).returncode == 127


def test_run_reads_what_is_piped_in(platform: Platform) -> None:
    done = platform.paas("run", "-a", APP, "--", "cat", input="through the pipe\n")
    assert done.stdout == "through the pipe\n"


def test_run_gives_a_real_terminal(platform: Platform) -> None:
    leader, follower = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    command = [
        str(PAAS),
        "run",
        "-a",
        APP,
        "--",
        "sh",
        "-c",
        "tty; stty size; read answer; echo got $answer; exit 5",
    ]
    process = subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=platform.environ(),
        start_new_session=True,
    )
    os.close(follower)
    seen = b""
    sent = False
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if readable(leader, 0.2):
            try:
                data = os.read(leader, 4096)
            except OSError:
                break
            if not data:
                break
            seen += data
        if b"33 99" in seen and not sent:
            os.write(leader, b"it\n")
            sent = True
    assert process.wait(20) == 5
    os.close(leader)
    assert b"/dev/pts/" in seen
    assert b"got it" in seen


def test_a_detached_run_logs_and_ends(platform: Platform) -> None:
    platform.paas("run", "-d", "-a", APP, "--", "sh", "-c", "echo detached and done")
    wait_for(lambda: "detached and done" in platform.paas("logs", "-n", "200", "-a", APP).stdout)


def test_releases_and_rollback(platform: Platform) -> None:
    platform.paas("config:set", "COLOUR=green", "-a", APP)
    newest = platform.json("releases", "-a", APP)[0]["version"]
    platform.paas("config:set", "COLOUR=red", "-a", APP)
    done = platform.paas("rollback", newest, "-a", APP)
    assert f"Rolling back {APP} to {newest}... done, v" in done.stderr
    assert platform.paas("config:get", "COLOUR", "-a", APP).stdout == "green\n"
    assert f"Rollback to {newest}" in platform.paas("releases", "-a", APP).stdout


def test_the_same_commands_work_over_ssh_with_no_client(platform: Platform) -> None:
    done = platform.over_ssh("ps", "-a", APP)
    assert done.returncode == 0, done.stderr
    assert _without_ages(done.stdout) == _without_ages(platform.paas("ps", "-a", APP).stdout)
    assert platform.over_ssh("config:set", "'OVER=s s h'", "-a", APP).returncode == 0
    assert platform.paas("config:get", "OVER", "-a", APP).stdout == "s s h\n"
    assert platform.over_ssh("run", "-a", APP, "--", "sh", "-c", "'exit 9'").returncode == 9
    unknown = platform.over_ssh("no-such-command")
    assert unknown.returncode == 127
    assert "Traceback" not in unknown.stderr


def _without_ages(text: str) -> str:
    return re.sub(r"~ \S+ ago", "~ ago", text)


def test_a_remote_client_logs_in_with_a_token(platform: Platform, tmp_path: Path) -> None:
    token = platform.paas("tokens:create", "laptop").stdout.split()[-1]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    url = f"http://127.0.0.1:{platform.api}"
    done = subprocess.run(
        [str(PAAS), "login", url],
        input=token + "\n",
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run([str(PAAS), "apps"], capture_output=True, text=True, env=environ, check=False)
    assert APP in done.stdout
    refused = subprocess.run(
        [str(PAAS), "login", url],
        input="paas_wrong\n",
        capture_output=True,
        text=True,
        env={**environ, "HOME": "/nonexistent"},
        check=False,
    )
    assert refused.returncode == 1


def test_logs_hold_app_platform_and_router_lines_in_one_stream(platform: Platform) -> None:
    platform.get(APP, "/logged?x=1")

    def lines() -> str:
        return platform.paas("logs", "-n", "500", "-a", APP).stdout

    wait_for(lambda: 'path="/logged?x=1"' in lines())
    text = lines()
    assert " app[web.1]: " in text
    assert " paas[web.1]: State changed from starting to up" in text
    assert " paas[router]: at=info method=GET" in text
    only = platform.paas("logs", "-s", "app", "-n", "100", "-a", APP).stdout
    assert "paas[" not in only


def test_domains_are_served_and_taken_away(platform: Platform) -> None:
    platform.paas("domains:add", "www.example.test", "-a", APP)
    wait_for(lambda: platform.get(APP, host="www.example.test").status == 200)
    assert "www.example.test" in platform.paas("domains", "-a", APP).stdout
    refused = platform.paas("domains:add", "not a domain", "-a", APP, check=False)
    assert refused.returncode in (1, 2)
    platform.paas("domains:remove", "www.example.test", "-a", APP)
    wait_for(lambda: platform.get(APP, host="www.example.test").status == 404)


def test_stopping_and_restarting_processes(platform: Platform) -> None:
    old = platform.json("ps", "-a", APP)[0]["id"]
    platform.paas("ps:restart", "web.1", "-a", APP)
    wait_for(lambda: [item["state"] for item in platform.json("ps", "-a", APP)] == ["up"])
    assert platform.json("ps", "-a", APP)[0]["id"] != old
    platform.paas("ps:stop", "web", "-a", APP)
    wait_for(lambda: platform.get(APP).status == 503)
    platform.paas("ps:restart", "-a", APP)
    wait_for(lambda: platform.get(APP).status == 200)


def test_a_crashed_process_is_started_again_and_said_so(platform: Platform) -> None:
    instance = platform.json("ps", "-a", APP)[0]["id"]
    state = platform.run_folder / "instances" / instance / "state.json"
    import signal

    os.kill(json.loads(state.read_text())["process"]["pid"], signal.SIGKILL)
    wait_for(lambda: platform.json("ps", "-a", APP) and platform.json("ps", "-a", APP)[0]["id"] != instance)
    wait_for(lambda: platform.get(APP).status == 200)
    assert "crashed" in platform.paas("logs", "-n", "200", "-s", "paas", "-a", APP).stdout


def test_renaming_and_destroying_an_app(platform: Platform) -> None:
    platform.deploy({"index.html": "bye"}, "shortlived")
    platform.paas("apps:rename", "renamed", "-a", "shortlived")
    wait_for(lambda: platform.get("renamed").status == 200)
    for words in (("ps",), ("logs",), ("config:set", "A=1")):
        told = platform.paas(*words, "-a", "shortlived", check=False)
        assert told.returncode == 1
        assert "The app shortlived is called renamed now." in told.stderr and "-a renamed" in told.stderr
    push = platform.push(platform.repository("examples/hello"), "shortlived")
    assert push.returncode != 0 and "The app shortlived is called renamed now." in push.stdout
    assert f"git remote set-url paas ssh://paas@127.0.0.1:{platform.ssh}/renamed" in push.stdout
    assert "shortlived" not in platform.paas("apps").stdout
    assert platform.get("shortlived").status == 404
    refused = platform.paas("apps:destroy", "-a", "renamed", "--confirm", "other", check=False)
    assert refused.returncode == 1
    identity = platform.json("apps:info", "-a", "renamed")["id"]
    platform.paas("apps:destroy", "-a", "renamed", "--confirm", "renamed")
    wait_for(lambda: not traces(platform.home, identity))
    assert platform.get("renamed").status == 404


def test_the_git_remote_follows_the_app(platform: Platform) -> None:
    folder = platform.repository({"index.html": "x"})

    def remotes() -> str:
        return git(folder, "remote", "-v")

    platform.paas("create", "followed", cwd=folder)
    assert f":{platform.ssh}/followed " in remotes()
    platform.paas("apps:rename", "moved", cwd=folder)
    assert f":{platform.ssh}/moved " in remotes()
    platform.paas("create", "other", cwd=folder)
    platform.paas("destroy", "-a", "other", "--confirm", "other", cwd=folder)
    assert f":{platform.ssh}/moved " in remotes()
    platform.paas("destroy", "--confirm", "moved", cwd=folder)
    assert remotes() == ""


def test_the_servers_own_account_of_itself(platform: Platform) -> None:
    daemons = {item["name"]: item for item in platform.json("server:status")["daemons"]}
    assert {"spawner", "converge", "api", "git", "router.1", "router.2"} == set(daemons)
    assert daemons["spawner"]["user"] == "root"
    assert daemons["git"]["user"] == "paas-git"
    for item in daemons.values():
        owner = Path(f"/proc/{item['pid']}").owner()
        assert owner == item["user"]
    doctor = platform.paas("doctor", check=False)
    assert "cgroups" in doctor.stdout
    for port in (platform.http, platform.ssh, platform.api):
        assert f"127.0.0.1:{port} is served by this platform" in doctor.stdout
    asked = platform.paas("doctor", "--ssh", f"127.0.0.1:{platform.http}", check=False)
    assert asked.returncode == 1
    assert f"ssh: 127.0.0.1:{platform.http}: Address already in use" in asked.stdout


@pytest.mark.parametrize("name", ["http", "https", "ssh", "api"])
def test_a_server_says_which_of_its_ports_is_busy(platform: Platform, tmp_path: Path, name: str) -> None:
    ports = {other: free_port() for other in ("http", "https", "ssh", "api")} | {
        name: getattr(platform, name)
    }
    flags = [f"--{other}=127.0.0.1:{port}" for other, port in ports.items()]
    done = platform.paas("server", "--home", str(tmp_path), *flags, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{ports[name]} is in use" in done.stderr
    assert f"--{name}" in done.stderr
    platform.paas("server:uninstall", "--home", str(tmp_path), "--confirm", str(tmp_path))


def test_a_server_says_that_the_file_of_a_private_authority_is_missing(tmp_path: Path) -> None:
    words = [str(PAAS), "server", "--home", str(tmp_path / "home")]
    environ = {**os.environ, "PAAS_ACME_CA": str(tmp_path / "none.pem")}
    done = subprocess.run(words, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 1
    assert f"there is no file {tmp_path}/none.pem" in done.stderr


JSON = """
apps:create --no-remote jsoned
apps | apps:info | apps:branch | apps:branch main | apps:rename {app} cli2 | apps:rename cli2 {app} | open
builds | builds:info | builds:output | builds:set procfile=Procfile | builds:get | builds:set procfile= | build
image:history | image:sbom | image:export {archive}
config:set A=1 B=2 | config | config:get A | config:unset A
ps | ps {app} | scale | scale worker=1 | ps:scale worker=0 | ps:restart web.1 | restart worker | ps:stop worker
limits | limits:set worker pids=99
ps:rebuild | releases | releases:info | rollback | releases:rollback v2
canary v2 | canary | canary:share 20 | canary:stop | canary v2 | canary:promote
logs | run -d -- true
domains:add json.example.test | domains | domains:list
certs:generate json.example.test | certs | certs:list | certs:ca | certs:remove json.example.test
domains:remove json.example.test
hooks:create https://forge.example.test/a.git | hooks
router | router:top --once | router:metrics | router:settings | router:set pause=5s | router:unset pause
maintenance | maintenance:on | maintenance:off | pause | resume
auth:add bea | auth | auth:remove bea | allow:add 10.0.0.0/8 | allow | allow:remove 10.0.0.0/8
errors:set 503 {page} | errors | errors:unset 503
keys:add --name bea {key} | keys | keys:remove {fingerprint}
tokens:create json | tokens | tokens:revoke json | users:add zoe | users | whoami
login {url} --token {token} | logout
stacks | stacks:create debian-12 | stacks:apps | stacks:update debian-12 --rebase-only
server:status | server:unit | router:restart | doctor | help | help ps
apps:destroy jsoned --confirm jsoned | create --no-remote jsoned | destroy jsoned --confirm jsoned
"""
"""Every command, in an order that works; the app is `{app}` unless a command says otherwise."""

NOT_WALKED = {
    "builds:cancel": "needs a build under way; in release/test_build_queue",
    "hooks:remove": "needs the name of a hook; in release/test_elsewhere",
    "deploy": "needs an archive; in release/test_sources",
    "image:push": "needs a registry; in release/test_images",
    "image:pull": "needs an image; in release/test_images",
    "server": "runs until it is stopped",
    "server:uninstall": "takes the platform away; in test_removal",
    "certs:add": "needs a certificate; its answer is certs:generate's",
    "certs:auto:enable": "needs an authority that issues",
    "certs:auto:disable": "needs certs:auto:enable",
}


def test_every_command_answers_in_json(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ssh_keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bea", "-f", str(tmp_path / "key")]
    subprocess.run(ssh_keygen, check=True)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "key"], check=True, capture_output=True, text=True
    )
    (tmp_path / "page.html").write_text("<p>later")
    values = {
        "app": APP,
        "key": str(tmp_path / "key.pub"),
        "fingerprint": shown.stdout.split()[1],
        "page": str(tmp_path / "page.html"),
        "archive": str(tmp_path / "image.tar"),
        "url": f"http://127.0.0.1:{platform.api}",
        "token": platform.json("tokens:create", "walker")["token"],
    }
    for name, value in platform.environ(PAAS_APP=APP, XDG_CONFIG_HOME=str(tmp_path)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    walked = set(NOT_WALKED)
    for line in JSON.format(**values).replace("|", "\n").split("\n"):
        if not (words := line.split()):
            continue
        walked.add(words[0])
        monkeypatch.setattr("sys.stdin", io.StringIO("secret password\n"))
        at = words.index("--") if "--" in words else len(words)
        status = main.main([*words[:at], "--json", *words[at:]])
        told = capsys.readouterr()
        assert status == 0 or words[0] == "doctor", f"{line}: {told.err}"
        found = (
            [json.loads(each) for each in told.out.splitlines()]
            if words[0] == "logs"
            else json.loads(told.out)
        )
        assert found is not None, line
        assert told.err.count("\n !  ") == 0 or words[0] == "doctor", line
    assert walked == {name for names in main.MODULES.values() for name in names}


def test_an_unknown_command_names_the_nearest(platform: Platform) -> None:
    done = platform.paas("confg:set", "A=1", check=False)
    assert done.returncode == 127
    assert "config:set" in done.stderr


def test_a_scale_that_fails_is_taken_back_and_says_so(platform: Platform) -> None:
    files = {"Procfile": "web: python -m http.server $PORT\nbad: python -c 'raise SystemExit(3)'\n"}
    folder = platform.repository({**files, "requirements.txt": ""}, "halting")
    pushed = platform.push(folder, "halting").stdout
    assert "No bad is started; start one with: paas scale bad=1 -a halting" in pushed
    done = platform.paas("scale", "web=2", "bad=1", "-a", "halting", check=False)
    assert done.returncode == 1
    assert "bad.1 did not come up: exited with status 3." in done.stderr
    assert "Scaled back to web=1 bad=0." in done.stderr
    assert platform.paas("scale", "-a", "halting").stdout == "web=1 bad=0\n"
    assert platform.push(folder, "halting", "main").returncode == 0
    shown = platform.paas("ps", "halting").stdout
    assert "=== bad (512M, 1 cpu): python -c 'raise SystemExit(3)' (0)\n" in shown
    assert [platform.paas("run", "-d", "-a", "halting", "--", "true").stdout for _ in range(2)] == [
        "run.1\n",
        "run.2\n",
    ]


def test_nobodys_value_moves_the_cursor_over_ssh(platform: Platform) -> None:
    evil = "a\x1b[2Jb\u202ec"
    platform.paas("config:set", f"EVIL={evil}", "-a", APP)
    assert platform.paas("config:get", "EVIL", "-a", APP).stdout == evil + "\n"
    assert platform.json("config", "-a", APP)["EVIL"] == evil
    for words in (["config"], ["config", "-s"], ["config:get", "EVIL"], ["config", "--json"]):
        done = platform.over_ssh(*words, "-a", APP)
        assert done.returncode == 0 and "\x1b" not in done.stdout and "\u202e" not in done.stdout
    shell = platform.over_ssh("config", "-s", "-a", APP).stdout
    script = f'{shell}\nprintf %s "$EVIL"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == evil
    assert json.loads(platform.over_ssh("config", "--json", "-a", APP).stdout)["EVIL"] == evil
    assert "\x1b[31m" not in platform.over_ssh("no-such-command").stderr
