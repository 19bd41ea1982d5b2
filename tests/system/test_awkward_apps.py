"""Apps that are hard to live with: slow ones, loud ones, and ones that keep connections open."""

from __future__ import annotations

import socket

from harness.platform import Platform, wait_for
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
