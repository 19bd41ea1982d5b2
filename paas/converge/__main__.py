"""`python -P -m paas.converge --settings FILE`: the loop, one per platform."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from paas.converge.loop import Loop
from paas.daemon.journal import log_to_stderr
from paas.nouns.settings import Settings
from paas.store import Store
from runtime.client import Spawner
from runtime.home import Layout
from runtime.kernel import files


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m paas.converge", description=__doc__)
    parser.add_argument(
        "--settings", required=True, metavar="FILE", help="what the server wrote for its daemons"
    )
    settings = Settings.read(parser.parse_args().settings)
    log_to_stderr()
    layout = settings.layout()
    lock = _only_one(layout)
    loop = Loop(settings, Store.open(layout.database), Spawner(layout.spawner_socket))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    print("converge ready", file=sys.stderr, flush=True)
    loop.run()
    os.close(lock)
    return 0


def _only_one(layout: Layout) -> int:
    """Hold the lock for as long as the process lives; wait for a predecessor that is still ending."""
    path = layout.converge_socket.parent / "lock"
    try:
        return files.lock(path, wait=False)
    except BlockingIOError:
        print("converge waits: another one runs", file=sys.stderr, flush=True)
        return files.lock(path)


if __name__ == "__main__":
    sys.exit(main())
