"""Whether the server runs, and how long a client should wait for a socket on which no daemon listens yet."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

COMING_UP_S = 30.0
"""While the server starts: every daemon will listen soon."""
RESTART_S = 5.0
"""While it runs: a daemon that died is restarted."""
UNKNOWN_S = 1.0
"""Without a server: it may have been started this moment."""


def max_wait_s(run: Path) -> float:
    """How long to wait for a daemon of the platform with this run folder (`/run/paas/ID`)."""
    try:
        status = json.loads((run / "status.json").read_text())
        runs = Path(f"/proc/{int(status['pid'])}").exists()
        return (RESTART_S if status["ready"] else COMING_UP_S) if runs else UNKNOWN_S
    except (OSError, ValueError, KeyError, TypeError):
        return UNKNOWN_S


def announce(run: Path) -> None:
    """Write the status of a server that starts, before it knows its daemons."""
    path = run / "status.json"
    path.write_text(json.dumps({"pid": os.getpid(), "ready": False, "daemons": []}))
    os.chmod(path, 0o644)


def wait_for_file(path: Path) -> None:
    """Wait a moment for a file of a server that has just been started."""
    deadline = time.monotonic() + UNKNOWN_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def connect(path: Path, timeout_s: float, pause: Callable[[float], None] = time.sleep) -> socket.socket:
    """Connect to a daemon's socket at `RUN/DAEMON/NAME.sock`; retry for `max_wait_s`.

    Raises OSError.
    """
    began = time.monotonic()
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(timeout_s)
        try:
            sock.connect(os.fspath(path))
            return sock
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            sock.close()
            if time.monotonic() - began > max_wait_s(path.parents[1]):
                raise
        except OSError:
            sock.close()
            raise
        pause(0.05)
