"""The router as a whole: its workers, what goes through it now, its metrics, and how to renew it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from paas.cli import output, traffic
from paas.cli.base import Answer, client, command, printing_command
from paas.cli.server import local_layout, read_status
from paas.nouns.errors import Forbidden, NotFound, Unavailable
from paas.nouns.text import quoted

_INTERVAL_S = 1.0
_RENEWAL_S = 180.0


@command("router")
def router() -> Answer:
    """Show the router's workers: process, table, connections."""
    found = client().get("/router/stats")["workers"]
    yield [{key: worker[key] for key in worker if key not in ("apps", "backends")} for worker in found]
    rows = [["WORKER", "PID", "CORE", "TABLE", "CLIENTS", "INSTANCES", "STATE"]]
    output.table(rows + [_worker_row(worker) for worker in found])


def _worker_row(worker: dict[str, Any]) -> list[str]:
    state = "draining" if worker["draining"] else "serving"
    clients = worker.get("clients", "-")
    shown = (worker["number"], worker["worker"], worker["core"], worker["generation"], clients)
    return [*(quoted(str(value)) for value in shown), str(len(worker["backends"])), state]


@printing_command("router:top")
@click.option("--once", is_flag=True, help="One reading, over a second, instead of one after the other.")
def router_top(once: bool, as_json: bool) -> None:
    """Watch what goes through the router: rates, times and statuses of each app."""
    here = client()
    before = here.get("/router/stats")
    if once or as_json or not sys.stdout.isatty():
        time.sleep(_INTERVAL_S)
        found = traffic.rates(before, here.get("/router/stats"))
        if as_json:
            return output.print_json(found)
        for line in traffic.lines(found):
            output.result(line)
        return
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(_INTERVAL_S)
            after = here.get("/router/stats")
            _draw(traffic.lines(traffic.rates(before, after)), len(after["workers"]))
            before = after


def _draw(lines: list[str], workers: int) -> None:
    """Fill the screen: what does not fit is left out, but never the total."""
    columns, rows = shutil.get_terminal_size()
    room = max(2, rows - 2)
    if len(lines) > room:
        lines = [*lines[: room - 1], lines[-1]]
    title = f"{time.strftime('%H:%M:%S')} · {workers} workers · Ctrl-C ends"
    output.redraw(line[:columns] for line in [title, *lines])


@command("router:metrics")
def router_metrics() -> Answer:
    """Print the metrics of all workers in Prometheus's format."""
    text = client().text("/router/metrics").rstrip()
    yield {"metrics": text}
    output.result(text)


@command("router:restart")
@click.option("--home", metavar="DIR", help="Which platform  [PAAS_HOME; default /var/lib/paas].")
def router_restart(home: str | None) -> Answer:
    """Replace the router's workers by new ones, from the code of now; no request and no connection is lost."""
    layout = local_layout(home)
    status = read_status(layout.run / "status.json")
    with output.Progress("Restarting the router") as progress:
        _check_runs(layout.home / "lock", status["pid"])
        if "renewal" not in status:
            raise Unavailable(
                "The server that runs is older than this command.", "Restart it; its apps run on."
            )
        try:
            os.kill(status["pid"], signal.SIGUSR1)
        except PermissionError:
            raise Forbidden("Only root may restart the router.", "Run it with sudo.") from None
        count = _follow(layout.run / "status.json", status["renewal"]["finished"])
        progress.done(f"done, {count} workers")
    yield {"workers": count}


def _check_runs(lock: Path, pid: int) -> None:
    """That the process is the server, and not one that has got its number. Raises NotFound."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        if lock.read_text().partition("\n")[0] == str(pid):
            return
    except PermissionError:
        raise Forbidden("Only root may restart the router.", "Run it with sudo.") from None
    except OSError:
        pass
    raise NotFound("The server does not run.", "Start it with: paas server")


def _follow(path: Path, finished: int) -> int:
    """Wait for the renewal after this one; how many workers there are. Raises Unavailable."""
    deadline = time.monotonic() + _RENEWAL_S
    while time.monotonic() < deadline:
        status = read_status(path)
        renewal = status["renewal"]
        if renewal["finished"] > finished:
            if renewal["failed"]:
                raise Unavailable(
                    f"No new worker came to serve in the place of {renewal['failed']}, which goes on as it is.",
                    "The server's output says why.",
                )
            return sum(daemon["name"].startswith("router.") for daemon in status["daemons"])
        time.sleep(0.05)
    raise Unavailable("The server does not say that the router has been restarted.", "See: paas router")
