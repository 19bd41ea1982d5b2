"""The program `paas`: Ctrl-C ends it in silence while it still imports what the command line needs."""

from __future__ import annotations

import signal


def run() -> int:
    """Import the command line and run it; the exit status."""
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # else the parent has it ignored, as nohup does
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from paas.cli.main import main

    try:
        signal.signal(signal.SIGINT, interrupt)
        return main()
    except KeyboardInterrupt:
        return 130
