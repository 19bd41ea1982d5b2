"""Load with deploys, config changes and worker restarts in between: no failure, and memory stays flat."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import pytest
from harness.router_process import App, Visitors, Worker, listener, table

SECONDS = 35


def pss_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:")))


def switch(worker: Worker, generation: int, new: list[App], old: list[App]) -> None:
    """Bring the new apps in, wait until the old ones have drained."""
    worker.send({"op": "table", "table": table(generation, new, old)})
    waiting = {app.name for app in old}
    while waiting:
        message = worker.receive()
        assert message.get("ok", True), message
        waiting.discard(message.get("id", ""))
    worker.ask({"op": "table", "table": table(generation + 1, new)})


@pytest.mark.long
def test_load_with_switches_fails_nobody_and_grows_nothing(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(listener())
        worker = Worker(tmp_path, sock)
        stack.callback(lambda: worker.close())
        apps = [App("v0")]
        worker.ask({"op": "subscribe"})
        worker.ask({"op": "table", "table": table(1, apps)})
        visitors = [Visitors(sock.getsockname()[1], 3, method) for method in ("GET", "POST")]
        for each in visitors:
            stack.callback(each.stop)
        memory: list[list[int]] = [[]]
        generation, end = 2, time.monotonic() + SECONDS
        while time.monotonic() < end:
            old, apps = apps, [App(f"v{generation}.{n}") for n in range(2)]
            switch(worker, generation, apps, old)
            for app in old:
                app.stop()
            generation += 2
            visitors[0].settle(100)
            memory[-1].append(pss_kib(worker.process.pid))
            if generation % 20 == 0:
                before, worker = worker, Worker(tmp_path, sock)
                worker.ask({"op": "subscribe"})
                worker.ask({"op": "table", "table": table(generation, apps)})
                before.process.send_signal(signal.SIGTERM)
                assert before.process.wait(60) == 0
                before.close()
                memory.append([])
        for each in visitors:
            each.stop()
        for app in apps:
            app.stop()
        assert [failure for each in visitors for failure in each.failures] == []
        assert generation > 20
        assert len(memory) > 1
        assert all(max(of_one) < 1.3 * min(of_one) for of_one in memory if of_one), memory
