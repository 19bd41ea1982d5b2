"""What the loop does with instances that misbehave, and what a kill of it in the middle leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from harness.platform import Platform, commit, wait_for

SERVER = """
import http.server, os, sys, threading, time, signal
hung = threading.Event()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/hang':
            hung.set()
        while hung.is_set():
            time.sleep(1)
        if self.path == '/crash':
            os._exit(9)
        if self.path == '/hog':
            hoard = []
            while True:
                hoard.append(bytearray(b'x' * (4 << 20)))
        if self.path == '/slow':
            time.sleep(4)
        self.send_response(int(os.environ.get('STATUS', '200')))
        self.end_headers()
        self.wfile.write(os.environ['PAAS_RELEASE'].encode())
    def log_message(self, *words):
        pass
time.sleep(float(os.environ.get('BOOT_S', '0')))
http.server.ThreadingHTTPServer(('0.0.0.0', int(os.environ['PORT'])), Handler).serve_forever()
"""
APP = {"Procfile": "web: exec python3 server.py\nworker: exec sleep 10000\n", "server.py": SERVER}

RESPAWNER = """
import os, socket, sys, time
listener = socket.create_server(('0.0.0.0', int(os.environ['PORT'])))
while True:
    if os.fork() == 0:
        time.sleep(0.2)
        print('worker cannot import its settings', flush=True)
        os._exit(1)
    os.wait()
"""


def ps(platform: Platform, app: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = platform.json("ps", "-a", app)
    return found


def states(platform: Platform, app: str) -> list[tuple[str, str]]:
    return [(item["name"], item["state"]) for item in ps(platform, app)]


@pytest.fixture(scope="module")
def app(platform: Platform) -> Path:
    return platform.deploy(APP, "subject")


def test_a_server_that_respawns_dying_workers_is_a_crash_loop_in_boot(platform: Platform) -> None:
    repository = platform.repository({"Procfile": "web: exec python3 server.py\n", "server.py": RESPAWNER})
    done = platform.push(repository, "respawner")
    assert done.returncode == 1
    assert "crash loop in boot" in done.stdout.lower()
    assert "worker cannot import its settings" in done.stdout


def test_a_crash_is_repaired_at_once_and_then_with_growing_pauses(platform: Platform, app: Path) -> None:
    for _ in range(4):
        wait_for(lambda: ("web.1", "up") in states(platform, "subject"))
        _visit(platform, "/crash")
        wait_for(lambda: ("web.1", "up") not in states(platform, "subject"))
    wait_for(lambda: ("web.1", "up") in states(platform, "subject"))
    log = platform.paas("logs", "-n", "200", "-a", "subject").stdout
    assert "Process exited with status 9" in log
    crashed, started = (
        [
            datetime.fromisoformat(line.split()[0])
            for line in log.splitlines()
            if f"paas[web.1]: {text}" in line
        ]
        for text in ("State changed from up to crashed (exited with status 9)", "Starting process with")
    )
    pauses = [min(at for at in started if at > end) - end for end in crashed]
    least = [0.0, 0.8, 1.6, 3.2]  # seconds, from the end of an instance; its line in the log may come later
    assert len(pauses) == 4 and all(
        took.total_seconds() >= s / 2 for took, s in zip(pauses, least, strict=True)
    )


def _visit(platform: Platform, path: str) -> None:
    try:
        platform.get("subject", path)
    except OSError:
        return


def test_a_new_release_starts_the_back_off_anew(platform: Platform, app: Path) -> None:
    platform.paas("config:set", "FRESH=1", "-a", "subject")
    wait_for(lambda: states(platform, "subject") == [("web.1", "up")])
    began = time.monotonic()
    _visit(platform, "/crash")
    wait_for(lambda: platform.get("subject").status == 200)
    assert time.monotonic() - began < 5


def test_an_app_that_outgrows_its_memory_is_named_and_restarted(platform: Platform, app: Path) -> None:
    platform.paas("limits:set", "web", "memory=64M", "-a", "subject")
    _visit(platform, "/hog")
    wait_for(lambda: "out of memory" in platform.paas("logs", "-n", "100", "-a", "subject").stdout)
    text = platform.paas("logs", "-n", "100", "-a", "subject").stdout
    assert "Error R14 (Memory quota exceeded)" in text
    assert "Error R15 (Killed for memory): web.1 ran out of memory: the limit is 64 MiB, its peak was" in text
    wait_for(lambda: platform.get("subject").status == 200)


def test_any_answer_counts_but_a_500_is_warned_about(platform: Platform, app: Path) -> None:
    done = platform.paas("config:set", "STATUS=500", "-a", "subject")
    assert "GET / answered 500" in done.stderr + done.stdout
    assert platform.get("subject").status == 500
    platform.paas("config:unset", "STATUS", "-a", "subject")


def test_a_strict_health_check_refuses_a_500(platform: Platform) -> None:
    patient = Platform(boot_timeout_s="4")
    try:
        patient.start()
        patient.make_key()
        check = '{"healthchecks": {"web": [{"type": "startup", "path": "/"}]}}'
        repository = patient.deploy({**APP, "app.json": check}, "strict")
        done = patient.paas("config:set", "STATUS=500", "-a", "strict", check=False)
        assert done.returncode == 1
        assert "answered 500" in done.stderr + done.stdout
        assert "Error R10 (Boot timeout)" in patient.paas("logs", "-s", "paas", "-a", "strict").stdout
        assert patient.get("strict").status == 200
        assert "STATUS" not in patient.json("config", "-a", "strict")
        assert repository
    finally:
        patient.close()


def test_an_instance_that_stops_answering_its_liveness_check_is_replaced(platform: Platform) -> None:
    check = '{"type": "liveness", "path": "/", "attempts": 2, "timeout": 1, "wait": 1}'
    platform.deploy({**APP, "app.json": f'{{"healthchecks": {{"web": [{check}]}}}}'}, "lively")
    (before,) = ps(platform, "lively")
    with pytest.raises(OSError):
        platform.get("lively", "/hang", timeout=1)
    wait_for(lambda: [item for item in ps(platform, "lively") if item["id"] != before["id"]])
    wait_for(lambda: platform.get("lively").status == 200)
    assert "stopped answering its health check" in platform.paas("logs", "-n", "50", "-a", "lively").stdout


def test_visitors_of_an_app_without_instances_are_told_why(platform: Platform) -> None:
    def code() -> str:
        answer = platform.get("empty")
        assert answer.status == 503
        return next(word for word in ("H10", "H14", "H20", "H81") if word in answer.text)

    repository = platform.repository(APP, "empty")
    platform.paas("create", "empty", cwd=platform.folder)
    wait_for(lambda: platform.get("empty").status == 503)
    assert code() == "H81"
    platform.paas("config:set", "BOOT_S=2", "-a", "empty")
    assert code() == "H81"
    assert platform.push(repository, "empty").returncode == 0
    platform.paas("scale", "web=0", "-a", "empty")
    wait_for(lambda: code() == "H14")
    scale = threading.Thread(target=lambda: platform.paas("scale", "web=1", "-a", "empty"))
    scale.start()
    wait_for(lambda: code() == "H20")
    scale.join(60)
    assert platform.get("empty").status == 200


@pytest.mark.parametrize("daemon", ["converge", "spawner"])
def test_a_push_survives_the_death_of_a_daemon_while_the_app_boots(
    platform: Platform, app: Path, daemon: str
) -> None:
    platform.paas("config:set", "BOOT_S=3", "-a", "subject")
    commit(app, f"survive {daemon}", **{"notes.txt": daemon})
    done: list[subprocess.CompletedProcess[str]] = []
    push = threading.Thread(target=lambda: done.append(platform.push(app, "subject")))
    push.start()
    wait_for(lambda: ("web.1", "starting") in states(platform, "subject"))
    os.kill(platform.running_pid(daemon), signal.SIGKILL)
    push.join(60)
    assert done and done[0].returncode == 0, done
    wait_for(lambda: states(platform, "subject") == [("web.1", "up")])
    platform.paas("config:unset", "BOOT_S", "-a", "subject")


def test_what_crashes_while_the_loop_is_dead_is_noticed_by_the_next_one(
    platform: Platform, app: Path
) -> None:
    wait_for(lambda: states(platform, "subject") == [("web.1", "up")])
    (before,) = ps(platform, "subject")
    os.kill(platform.running_pid("converge"), signal.SIGKILL)
    _visit(platform, "/crash")
    wait_for(lambda: platform.get("subject").status == 200)
    assert before["id"] not in {item["id"] for item in ps(platform, "subject")}


def test_a_change_of_scale_during_a_deployment_holds_for_the_new_release(
    platform: Platform, app: Path
) -> None:
    platform.paas("config:set", "BOOT_S=2", "-a", "subject")
    change = threading.Thread(target=lambda: platform.paas("config:set", "A=1", "-a", "subject"))
    change.start()
    wait_for(lambda: ("web.1", "starting") in states(platform, "subject"))
    platform.paas("scale", "web=2", "worker=1", "-a", "subject")
    change.join(60)
    wanted = [("web.1", "up"), ("web.2", "up"), ("worker.1", "up")]
    wait_for(lambda: states(platform, "subject") == wanted)
    assert len({item["release"] for item in ps(platform, "subject")}) == 1
    platform.paas("scale", "web=1", "worker=0", "-a", "subject")
    platform.paas("config:unset", "BOOT_S", "-a", "subject")


def test_two_changes_at_once_are_both_released_one_after_the_other(platform: Platform, app: Path) -> None:
    changes = [
        threading.Thread(target=lambda n=n: platform.paas("config:set", f"N{n}={n}", "-a", "subject"))
        for n in range(4)
    ]
    for change in changes:
        change.start()
    for change in changes:
        change.join(120)
    config = platform.json("config", "-a", "subject")
    assert {f"N{n}": str(n) for n in range(4)}.items() <= config.items()


def test_a_process_that_ignores_sigterm_is_killed_when_its_time_is_over() -> None:
    impatient = Platform(stop_timeout_s="2")
    try:
        impatient.start()
        impatient.make_key()
        impatient.deploy("tests/apps/ignores-sigterm", "stubborn")
        impatient.paas("scale", "web=0", "-a", "stubborn")
        wait_for(lambda: ps(impatient, "stubborn") == [])
        assert "R12" in impatient.paas("logs", "-n", "50", "-a", "stubborn").stdout
    finally:
        impatient.close()


def test_the_loop_sleeps_when_nothing_happens(platform: Platform, app: Path) -> None:
    wait_for(lambda: states(platform, "subject") == [("web.1", "up")])
    pid = platform.running_pid("converge")
    time.sleep(1)
    before = _cpu_ticks(pid)
    time.sleep(5)
    assert _cpu_ticks(pid) - before <= 5


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
