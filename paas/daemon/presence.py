"""Whether a platform's server runs, and how long it is worth waiting for a socket of it that nobody listens on yet."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

COMING_UP_S = 30.0
"""While the server starts: everything is going to listen."""
RESTART_S = 5.0
"""While it runs: a daemon that died is started again."""
UNKNOWN_S = 1.0
"""No server is to be seen: it may have been started this moment."""


def patience_s(run: Path) -> float:
    """How long to wait for a daemon of the platform with this run folder (`/run/paas/ID`)."""
    try:
        status = json.loads((run / "status.json").read_text())
        runs = Path(f"/proc/{int(status['pid'])}").exists()
        return (RESTART_S if status["ready"] else COMING_UP_S) if runs else UNKNOWN_S
    except (OSError, ValueError, KeyError, TypeError):
        return UNKNOWN_S


def announce(run: Path) -> None:
    """Say that the server is starting, before it has anything to tell."""
    path = run / "status.json"
    path.write_text(json.dumps({"pid": os.getpid(), "ready": False, "daemons": []}))
    os.chmod(path, 0o644)


def wait_for_file(path: Path) -> None:
    """A server that was started this moment is about to make its home."""
    deadline = time.monotonic() + UNKNOWN_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def connect(path: Path, timeout_s: float, pause: Callable[[float], None] = time.sleep) -> socket.socket:
    """A connection to a daemon's socket at `RUN/DAEMON/NAME.sock`, waited for as long as that makes sense.

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
            if time.monotonic() - began > patience_s(path.parents[1]):
                raise
        except OSError:
            sock.close()
            raise
        pause(0.05)
