"""What hostile code gets from inside a build, as the app's user and as root in its container.

Tests bear the ids of the threat table: B1… for builds, R… for resources, N… for the network. What a process may do to the kernel
(E1…) is tried of both by `tests/system/runtime/container/test_escape.py`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from harness.builder import BuildPlatform

from paas.build.output import Output
from paas.build.step import MadeLayer, StepSpec, run_step
from paas.nouns.errors import BuildFailed
from paas.nouns.model import App
from paas.store import builds
from runtime.cgroup import detect
from runtime.stack import build as stacks

EITHER = pytest.mark.parametrize("root", [False, True], ids=["app", "root"])
CANARY = "the-canary-of-the-store"
CONNECT = """python3 - <<'END'
import socket
for host, port in {hosts}:
    try:
        socket.create_connection((host, port), timeout=2).close()
        print("reached", host)
    except OSError as error:
        print("refused", host)
END
"""
GATEWAY = """python3 -c "import socket; print('gateway', socket.inet_ntoa(bytes.fromhex(next(line.split()[2]
for line in open('/proc/net/route') if line.split()[1] == '00000000'))[::-1]))"
"""


@contextmanager
def settings(platform: BuildPlatform, **changed: Any) -> Iterator[None]:
    before = platform.settings
    platform.settings = replace(before, **changed)
    try:
        yield
    finally:
        platform.settings = before


def run(platform: BuildPlatform, app: App, script: str, root: bool) -> MadeLayer:
    """One step over the stack; what it printed is in `platform.lines`."""
    stack = stacks.load(platform.layout.stacks, app.stack)
    assert stack is not None
    with platform.store.write() as tx:
        row = builds.start(tx, app.id, commit="0" * 40, tree="0" * 40, actor="test", holder="test 0 0")
    platform.lines.clear()
    spec = StepSpec("Attacking", script, stack.build, {}, (), b"\0" * 10240, ("/srv", "/app"), root=root)
    try:
        return run_step(platform, app, row.number, spec, Output(platform.lines.append))
    finally:
        with platform.store.write() as tx:
            builds.finish(tx, app.id, row.number, "succeeded")


def said(platform: BuildPlatform) -> set[str]:
    return {line.strip() for line in platform.lines}


@EITHER
def test_B1_nothing_of_the_platform_or_of_another_app_is_there(platform: BuildPlatform, root: bool) -> None:
    neighbour = platform.app(f"neighbour{root:d}")
    cache = platform.layout.caches / neighbour.id
    for folder in (platform.layout.database.parent, platform.layout.builds, platform.layout.sources, cache):
        folder.mkdir(exist_ok=True)
        (folder / "canary").write_text(CANARY)
        (folder / "canary").chmod(0o666)
    half = len(CANARY) // 2
    script = (
        f"word={CANARY[:half]}; word=$word{CANARY[half:]}; echo $word >/var/tmp/own\n"
        f"ls -d {platform.layout.home} /run/paas 2>&1 | sed 's/^/there: /' || true\n"
        'grep -rlsF --exclude-dir=proc --exclude-dir=sys -- "$word" / | sed "s/^/found: /" || true\n'
        'cat /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n" | grep -c ^PAAS_HOME= || true\n'
    )
    run(platform, platform.app(f"b1-{root:d}"), script, root)
    found = [line for line in said(platform) if line.startswith(("found:", "there:"))]
    assert [line for line in found if "No such file" not in line] == ["found: /var/tmp/own"]
    assert "0" in said(platform)


@EITHER
def test_B2_what_stays_behind_ends_with_the_build(platform: BuildPlatform, root: bool) -> None:
    app = platform.app(f"b2-{root:d}")
    before = set(detect(platform.settings.id).groups())
    run(
        platform,
        app,
        "for i in 1 2 3; do setsid nohup sleep 987654 >/dev/null 2>&1 & done; sleep 0.2; echo up",
        root,
    )
    assert "up" in said(platform)
    assert set(detect(platform.settings.id).groups()) <= before
    assert not list((platform.layout.run_instances).iterdir())


@EITHER
def test_B2_a_build_that_hangs_or_never_stops_talking_is_ended(platform: BuildPlatform, root: bool) -> None:
    app = platform.app(f"b2-hang-{root:d}")
    with settings(platform, builds_wall_s=2.0), pytest.raises(BuildFailed) as refused:
        run(platform, app, "trap '' TERM INT HUP; yes 'all work and no play' || true; sleep 600", root)
    assert refused.value.cause == "build took too long"
    assert sum(map(len, platform.lines)) < 16 << 20


@EITHER
def test_R1_a_fork_bomb_meets_its_bound(platform: BuildPlatform, root: bool) -> None:
    bomb = (
        "python3 - <<'END'\nimport os, time\nmade = 0\ntry:\n    while made < 500:\n"
        "        if os.fork() == 0:\n            time.sleep(60)\n        made += 1\n"
        "except BlockingIOError:\n    print('no more', made < 100)\nEND\n"
    )
    with settings(platform, builds_pids=64):
        run(platform, platform.app(f"r1-{root:d}"), bomb, root)
    assert "no more True" in said(platform)


@EITHER
def test_R2_memory_ends_at_its_bound(platform: BuildPlatform, root: bool) -> None:
    with settings(platform, builds_memory_bytes=96 << 20), pytest.raises(BuildFailed) as refused:
        run(platform, platform.app(f"r2-{root:d}"), "python3 -c 'x = bytearray(300 << 20)'", root)
    assert refused.value.cause == "out of memory"


@EITHER
def test_N2_N4_neither_the_host_nor_its_neighbours_nor_metadata_is_reached(
    platform: BuildPlatform, root: bool
) -> None:
    app = platform.app(f"n2-{root:d}")
    run(platform, app, GATEWAY, root)
    (gateway,) = [line.split()[1] for line in said(platform) if line.startswith("gateway")]
    with (
        socket.create_server(("0.0.0.0", 0)) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        probe.connect(("198.51.100.1", 9))
        own, port = probe.getsockname()[0], listener.getsockname()[1]
        hosts = [
            (gateway, port),
            (own, port),
            ("127.0.0.1", port),
            ("169.254.169.254", 80),
            ("100.100.100.200", 80),
        ]
        with socket.create_connection((own, port), timeout=5):
            run(platform, app, CONNECT.format(hosts=hosts), root)
    assert {line for line in said(platform) if line.startswith("re")} == {
        f"refused {host}" for host, _ in hosts
    }
