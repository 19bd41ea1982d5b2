from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from harness.nouns import make_app, make_image, make_instance, make_release

from paas.converge.unstartable import explain
from paas.nouns.names import RESERVED_CONFIG
from paas.nouns.startup import STARTUP, Startup
from paas.nouns.text import harmless
from paas.runs.specs import (
    Origin,
    environment,
    limits_of,
    process_spec,
    release_spec,
    run_spec,
    shell_argv,
    web_concurrency,
)
from runtime.spec import MIB, Box, Limits, Order, Terminal, parse

APP = make_app(range_index=3)
IMAGE = make_image(
    digest="sha256:" + "1" * 64,
    layers=("sha256:" + "2" * 64, "sha256:" + "3" * 64),
    env={"PATH": "/app/.venv/bin:/usr/bin", "HOME": "/app"},
    processes={"web": "gunicorn app:app", "Clock_1": "tick", "release": "migrate"},
)
RELEASE = make_release(
    7,
    image_digest=IMAGE.digest,
    config_number=1,
    limits={"web": {"memory_bytes": 256 * MIB}},
    commit="c" * 40,
    state="pending",
)
WEB = make_instance(
    91,
    number=2,
    release_number=7,
    deployment_id=1,
    state="starting",
    address=None,
    port=None,
    healthy_at=None,
)
BASE = 1_000 * 65536


def origin(config: dict[str, str] | None = None) -> Origin:
    return Origin(APP, RELEASE, IMAGE, config or {})


def crosses(order: Order, box: Box) -> bool:
    """Whether the spawner would read the same values from what is sent to it."""
    sent = json.loads(json.dumps([asdict(order), asdict(box)]))
    return (parse(Order, sent[0], "order"), parse(Box, sent[1], "box")) == (order, box)


def test_a_web_process_gets_its_port_name_release_and_limits() -> None:
    order, box = process_spec(origin({"A": "1"}), WEB, block_base=BASE)
    env = box.process.env
    assert env["PORT"] == "5000"
    assert env["DYNO"] == env["PAAS_PROCESS"] == "web.2"
    assert (env["PAAS_APP"], env["PAAS_RELEASE"]) == ("hello", "v7")
    assert env["SOURCE_VERSION"] == "c" * 40
    assert (env["PATH"], env["HOME"], env["A"]) == ("/app/.venv/bin:/usr/bin", "/app", "1")
    assert box.resources == Limits(memory_bytes=256 * MIB)
    assert (order, order.name) == (Order("i91", "a1", "web", 2, 7), "web.2")
    assert box.id_base == BASE + 3 * 65536
    assert crosses(order, box)


def test_a_canarys_instance_is_named_by_its_own_slot() -> None:
    order, box = process_spec(origin(), replace(WEB, canary=True, number=1), block_base=BASE)
    assert (order.name, box.process.env["DYNO"], box.process.env["PORT"]) == ("canary.1", "canary.1", "5000")


@pytest.mark.parametrize("name", sorted(RESERVED_CONFIG))
def test_config_cannot_replace_what_the_platform_says(name: str) -> None:
    env = environment(origin({name: "mine"}), WEB, Limits())
    assert env[name] != "mine"


def test_config_may_replace_defaults() -> None:
    env = environment(origin({"WEB_CONCURRENCY": "9", "LANG": "de_DE.UTF-8"}), WEB, Limits())
    assert (env["WEB_CONCURRENCY"], env["LANG"]) == ("9", "de_DE.UTF-8")


def test_only_web_has_a_port() -> None:
    clock = replace(WEB, type="Clock_1")
    order, box = process_spec(origin({"PORT": "1"}), clock, block_base=BASE)
    assert "PORT" not in box.process.env
    assert crosses(order, box) and box.hostname == "hello-clock-1-2"


def test_the_release_command_has_a_time_limit() -> None:
    migrate = replace(WEB, kind="release", type="release", number=7)
    _, box = release_spec(origin(), migrate, block_base=BASE, wall_s=600)
    assert box.resources.wall_s == 600
    assert box.process.args[-1].count("\nexec migrate\n") == 1


def test_a_run_takes_a_type_a_line_or_words() -> None:
    run = replace(WEB, kind="run", type="run", number=12)

    def argv(*command: str) -> tuple[str, ...]:
        return run_spec(origin(), run, block_base=BASE, command=command)[1].process.args

    assert "\nexec gunicorn app:app\n" in argv("web")[-1]
    assert argv("echo $HOME; ls")[-1].endswith("echo $HOME; ls")
    assert argv("ls", "a b", ";")[-4:] == ("bash", "ls", "a b", ";")


def test_a_run_may_have_a_terminal() -> None:
    run = replace(WEB, kind="run", type="run", number=12)
    order, box = run_spec(
        origin(), run, block_base=BASE, command=["bash"], terminal=Terminal(10, 20), env={"TERM": "xterm"}
    )
    process = box.process
    assert (process.terminal, process.attach, process.env["TERM"]) == (Terminal(10, 20), True, "xterm")
    assert crosses(order, box)


@pytest.mark.parametrize(
    ("command", "takes_the_shells_place"),
    [
        ("gunicorn app:app --bind 0.0.0.0:$PORT", True),
        ("node server.js --port ${PORT:-5000}", True),
        ("exec python app.py", False),
        ("cd src && python app.py", False),
        ("A=1 python app.py", False),
        ("a | b", False),
        ("one\ntwo", False),
        ("echo hi", False),
    ],
)
def test_a_simple_command_takes_the_shells_place(command: str, takes_the_shells_place: bool) -> None:
    assert (f"\nexec {command}\n" in shell_argv(command)[-1]) is takes_the_shells_place


@pytest.mark.parametrize(
    "command", ["printf '%s' \"$A\"", "sh -c 'printf %s $A'", "A=x; printf %s $A", "printf x | cat"]
)
def test_the_shell_line_runs_as_it_would_by_hand(tmp_path: Path, command: str) -> None:
    env = {"PATH": os.environ["PATH"], "A": "x"}
    done = subprocess.run(
        [*shell_argv(command)], env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "x"


@pytest.mark.parametrize(("cpu_millis", "weight"), [(1000, 100), (500, 50), (10, 1), (4000, 400)])
def test_the_share_of_scarce_cpus_follows_the_quota(cpu_millis: int, weight: int) -> None:
    limits = limits_of(replace(RELEASE, limits={"web": {"cpu_millis": cpu_millis}}), "web")
    assert (limits.cpu_millis, limits.cpu_weight) == (cpu_millis, weight)


def test_unknown_limits_of_an_older_release_are_ignored() -> None:
    assert limits_of(replace(RELEASE, limits={"web": {"pids": 9, "gone": 1}}), "web") == Limits(pids=9)


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (Limits(), 2),
        (Limits(memory_bytes=64 * MIB), 1),
        (Limits(memory_bytes=4096 * MIB, cpu_millis=2000), 4),
        (Limits(memory_bytes=4096 * MIB, cpu_millis=100), 2),
    ],
)
def test_web_concurrency_follows_the_quota(limits: Limits, count: int) -> None:
    assert web_concurrency(limits) == count


@pytest.mark.parametrize(
    ("content", "mode", "status", "told"),
    [
        ("#!/bin/sh\nexit 3\n", 0o644, 126, "{file} is not executable (mode 644)"),
        ("#!/bin/sh\r\nexit 3\r\n", 0o755, 127, "asks for «/bin/sh» with a line ending of Windows"),
        ("#!/opt/none/python2\n", 0o755, 127, "names the interpreter /opt/none/python2, which does not exist"),
        ("#!/usr/bin/env none9\n", 0o755, 127, "command not found: none9"),
        ("\x7fELF garbage", 0o755, 126, "neither a script nor a program for this machine (mode 755)"),
        ("#!/bin/sh\nexit 3\n", 0o755, 3, ""),
        ("#!/bin/sh\nexit 127\n", 0o755, 127, ""),
        ("#!/bin/sh\n\r\n", 0o755, 127, "ends as in Windows (CR LF)"),
    ],
)  # fmt: skip
def test_what_a_real_shell_could_not_execute_is_explained(
    tmp_path: Path, content: str, mode: int, status: int, told: str
) -> None:
    file = tmp_path / "run"
    file.write_text(content)
    file.chmod(mode)
    done = subprocess.run(shell_argv(str(file)), cwd=tmp_path, capture_output=True)
    assert done.returncode == status
    found = explain(
        [harmless(line.replace("\r", " ")) for line in done.stderr.decode(errors="replace").split("\n")]
    )
    assert (found.message if found else "").count(told.format(file=file)) >= bool(told), (found, done.stderr)
    assert bool(found) == bool(told)


def test_an_image_that_says_itself_how_it_starts_is_run_so() -> None:
    startup = Startup(args=("/entry", "a b"), cwd="/srv", user=101, group=102, home="/home/web", port=8080)
    image = make_image(
        digest=IMAGE.digest,
        layers=IMAGE.layers,
        env={"A": "image"},
        processes={"web": startup.command, "worker": "tick | tock"},
        manifest={STARTUP: startup.to_json()},
    )
    foreign = Origin(APP, RELEASE, image, {"B": "config"})
    order, box = process_spec(foreign, WEB, block_base=BASE)
    crosses(order, box)
    process = box.process
    assert process.args == ("/entry", "a b")
    assert (process.user, process.group, process.cwd) == (101, 102, "/srv")
    assert {name: process.env[name] for name in ("PORT", "HOME", "PWD", "A", "B", "PATH")} == {
        "PORT": "8080", "HOME": "/home/web", "PWD": "/srv", "A": "image", "B": "config",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }  # fmt: skip
    worker = replace(WEB, type="worker")
    process = process_spec(foreign, worker, block_base=BASE)[1].process
    assert process.args == ("/bin/sh", "-c", "tick | tock") and "PORT" not in process.env
    for words, args in (
        (["ls", "-l"], ("ls", "-l")),
        (["ls -l | wc"], ("/bin/sh", "-c", "ls -l | wc")),
        (["/srv/tool"], ("/srv/tool",)),
        (["echo"], ("/bin/sh", "-c", "echo")),
        (["web"], ("/entry", "a b")),
        (["worker"], ("/bin/sh", "-c", "tick | tock")),
    ):
        run = replace(WEB, kind="run", type="run")
        assert run_spec(foreign, run, block_base=BASE, command=words)[1].process.args == args
