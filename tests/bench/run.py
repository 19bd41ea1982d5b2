"""`make bench`: the figures a user feels, medians on this machine, beside their budgets.

Each figure that contains an app's own boot is given with that boot, measured bare on the same machine, taken off.
Nothing else should run meanwhile. `--json` prints the figures only; `--only platform`, `builds` or `router` leaves the other parts
out. The router's part can be had by itself: `tests/bench/router/run.py`.
"""

from __future__ import annotations

import argparse
import atexit
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import builds, pushes
from bench.figures import Figure, timed
from harness.platform import ROOT, Platform, commit, free_port, wait_for

HZ = os.sysconf("SC_CLK_TCK")


def boot_alone(copies: int) -> float:
    """Seconds until `copies` of the hello app, started together without any platform, have all answered."""
    venv = _bare_environment()
    ports = [free_port() for _ in range(copies)]
    began = time.monotonic()
    command = [str(venv / "bin/gunicorn"), "--chdir", str(ROOT / "examples/hello"), "app:app"]
    running = [
        subprocess.Popen(
            [*command, "-b", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        for port in ports
    ]
    try:
        for port in ports:
            wait_for(lambda port=port: _answers(port), pause_s=0.005)
        return time.monotonic() - began
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


_VENV: list[Path] = []


def _bare_environment() -> Path:
    if not _VENV:
        folder = tempfile.mkdtemp(prefix="paas-bench-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        venv = Path(folder) / "venv"
        subprocess.run(["/usr/bin/python3", "-m", "venv", str(venv)], check=True)
        requirements = str(ROOT / "examples/hello/requirements.txt")
        subprocess.run([str(venv / "bin/pip"), "install", "-qqq", "-r", requirements], check=True)
        _VENV.append(venv)
    return _VENV[0]


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += [int(child), *children(int(child))]
    return found


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def daemon_pids(platform: Platform) -> list[int]:
    """The supervisor, every daemon, and their children that are not shims."""
    assert platform.process is not None
    instances = platform.run_folder / "instances"
    shims = {json.loads(path.read_text())["shim"]["pid"] for path in instances.glob("*/state.json")}
    pids = [platform.process.pid]
    for item in platform.status()["daemons"]:
        pids.append(item["pid"])
        pids += [child for child in children(item["pid"]) if item["name"] != "spawner"]
    return [pid for pid in dict.fromkeys(pids) if pid not in shims]


def measure(platform: Platform) -> Iterator[Figure]:
    repository = platform.repository("examples/hello", "hello")

    def push() -> None:
        done = platform.push(repository, "hello")
        assert done.returncode == 0, done.stdout

    yield Figure("first push, cold package cache", "s", [timed(push)], "30", "10")
    rounds = []
    for number in range(7):
        commit(repository, f"Change {number}", **{"notes.txt": str(number)})
        rounds.append(timed(push))
        assert platform.get("hello").status == 200
    yield Figure("code-only push until it serves", "s", rounds, "3", "1")
    single = statistics.median(boot_alone(1) for _ in range(5))
    double = statistics.median(boot_alone(2) for _ in range(5))
    note = f"the app's own boot, {single:.2f} s, taken off"

    ups = []
    for _ in range(5):
        ups.append(timed(lambda: platform.paas("scale", "web=3", "-a", "hello")) - double)
        platform.paas("scale", "web=1", "-a", "hello")
    yield Figure(
        "scale web=1 to 3, beyond boot", "s", ups, "1", "0.2", f"two boots at once, {double:.2f} s, taken off"
    )
    sets = [
        timed(lambda n=n: platform.paas("config:set", f"N={n}", "-a", "hello")) - single for n in range(5)
    ]
    yield Figure("config:set, beyond boot", "s", sets, "1", "0.3", note)
    backs = [timed(lambda: platform.paas("rollback", "-a", "hello")) - single for _ in range(5)]
    yield Figure("rollback, beyond boot", "s", backs, "1", "0.3", note)
    platform.paas("ps", "-a", "hello")
    yield Figure(
        "paas ps",
        "ms",
        [1000 * timed(lambda: platform.paas("ps", "-a", "hello")) for _ in range(15)],
        "300",
        "120",
    )
    yield from _footprint(platform)


def _footprint(platform: Platform) -> Iterator[Figure]:
    pids = daemon_pids(platform)
    time.sleep(5)
    before = sum(cpu_s(pid) for pid in pids)
    began = time.monotonic()
    time.sleep(20)
    share = 100 * (sum(cpu_s(pid) for pid in pids) - before) / (time.monotonic() - began)
    yield Figure("control plane, idle CPU", "% of a core", [share], "1", "0.3")
    yield Figure("control plane, sum of PSS", "MB", [sum(pss_kib(pid) for pid in pids) / 1024], "150", "100")
    platform.paas("scale", "web=4", "-a", "hello")
    time.sleep(1)
    overhead = []
    for path in (platform.run_folder / "instances").glob("*/state.json"):
        state = json.loads(path.read_text())
        overhead.append((pss_kib(state["shim"]["pid"]) + pss_kib(state["process"]["pid"])) / 1024)
    yield Figure("shim and pid 1, each of four, PSS", "MB", overhead, "8", "4")


@contextmanager
def running() -> Iterator[Platform]:
    platform = Platform()
    try:
        platform.start()
        platform.make_key()
        yield platform
    finally:
        platform.close()


def _part(name: str) -> Iterator[Figure]:
    with running() as platform:
        yield from (
            chain(measure(platform), pushes.measure(platform))
            if name == "platform"
            else builds.measure(platform)
        )
    if name == "builds":
        yield builds.lookup()
        yield builds.fresh_machine()


def router_figures(as_json: bool) -> list[Any]:
    """The router's own table, printed as it comes; or its figures."""
    argv = [sys.executable, "-P", str(Path(__file__).with_name("router") / "run.py")]
    if not as_json:
        subprocess.run(argv, check=True)
        return []
    done = subprocess.run([*argv, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    figures: list[Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", choices=["", "platform", "builds", "router"])
    options = parser.parse_args()
    figures: list[Any] = []
    for part in ("platform", "builds"):
        if options.only in ("", part):
            for figure in _part(part):
                figures.append({**vars(figure), "median": figure.median})
                if not options.json:
                    _print(figure)
    if options.only in ("", "router"):
        figures += router_figures(options.json)
    if options.json:
        print(json.dumps(figures, indent=1))


def _print(figure: Figure) -> None:
    spread = f"{min(figure.rounds):.2f}-{max(figure.rounds):.2f}" if len(figure.rounds) > 1 else ""
    named = (("budget", figure.budget), ("aim", figure.aim))
    limits = ", ".join(f"{name} {value}" for name, value in named if value)
    print(
        f"{figure.name:<42} {figure.median:8.2f} {figure.unit:<12} {spread:<14} {limits:<22} {figure.note}",
        flush=True,
    )


if __name__ == "__main__":
    main()
