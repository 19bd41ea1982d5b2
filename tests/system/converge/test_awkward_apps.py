"""Apps that are hard to live with: slow ones, loud ones, and ones that keep connections open."""

from __future__ import annotations

import socket

from harness.platform import Platform, commit, wait_for
from websockets.sync.client import connect


def test_an_app_that_boots_slowly_goes_live_when_it_is_ready(platform: Platform) -> None:
    platform.deploy("tests/apps/slow-boot", "slow")
    assert platform.get("slow").status == 200


def test_a_websocket_reaches_the_app_and_stays_open(platform: Platform) -> None:
    platform.deploy("tests/apps/websocket-echo", "echo")
    sock = socket.create_connection(("127.0.0.1", platform.http))
    with connect(f"ws://echo.localhost:{platform.http}/", sock=sock, max_size=None) as client:
        for message in ("hello", "x" * 70_000, b"\x00\xff"):
            client.send(message)
            assert client.recv(timeout=20) == message
    wait_for(lambda: "status=101" in platform.paas("logs", "-s", "router", "-a", "echo").stdout)


def test_a_flood_of_lines_slows_no_other_app_and_stays_within_its_files(platform: Platform) -> None:
    platform.deploy({"index.html": "quiet"}, "quiet")
    platform.deploy("tests/apps/log-flood", "loud")
    identity = platform.json("apps:info", "-a", "loud")["id"]
    folder = platform.home / "logs" / identity
    wait_for(lambda: "dropped" in platform.paas("logs", "-s", "paas", "-a", "loud").stdout)
    for _ in range(50):
        assert platform.get("quiet", timeout=5).text == "quiet"
    assert platform.paas("logs", "-n", "5", "-a", "loud").stdout.count("without end") >= 4
    wait_for(lambda: len([path for path in folder.glob("i*.log") if path.stat().st_size]) == 2, 60)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20 << 20
    platform.paas("apps:destroy", "-a", "loud", "--confirm", "loud")


STARTER = """#!/bin/bash
python3 app.py "$1"
echo not reached
"""
FINISHER = """import http.server, os, signal, sys, threading, time
name = sys.argv[1]
def finish(*_):
    time.sleep(1)
    print(name, "finished its work", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, finish)
print(name, "began", flush=True)
if name == "web":
    address = ("0.0.0.0", int(os.environ["PORT"]))
    threading.Thread(target=http.server.ThreadingHTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever).start()
while True: time.sleep(0.05)
"""


def test_what_a_script_started_finishes_its_work_whatever_stops_it(platform: Platform) -> None:
    """The script is ended by SIGTERM at once; the program below it needs a second more."""
    procfile = "web: ./start web\nworker: ./start worker\n"
    files = {"requirements.txt": "", "Procfile": procfile, "app.py": FINISHER, "start": STARTER}
    repository = platform.repository(files, "script")
    (repository / "start").chmod(0o755)
    commit(repository, "Executable")
    assert platform.push(repository, "script").returncode == 0
    run = platform.paas("run", "-d", "-a", "script", "--", "./start", "command").stdout.strip()

    def printed(text: str) -> bool:
        return text in platform.paas("logs", "-s", "app", "-n", "100", "-a", "script").stdout

    for name, stop in (
        ("command", ("ps:stop", run)),
        ("worker", ("scale", "worker=0")),
        ("web", ("ps:restart", "web.1")),
    ):
        if name == "worker":
            platform.paas("scale", "worker=1", "-a", "script")
        wait_for(lambda name=name: printed(f"{name} began"))
        platform.paas(*stop, "-a", "script")
        wait_for(lambda name=name: printed(f"{name} finished its work"))
    assert not printed("not reached")
    assert "R12" not in platform.paas("logs", "-s", "paas", "-n", "100", "-a", "script").stdout
    platform.paas("apps:destroy", "-a", "script", "--confirm", "script")
