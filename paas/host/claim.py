"""One server for a home, and one home for an id: claimed before a server, or a removal, touches anything.

The id names the run folder, the control groups, the rules and the range of user ids, so a home that was copied together
with its `id` file must not be mistaken for the original.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paas.nouns.errors import Conflict, NotFound, Unavailable
from runtime.home import Layout
from runtime.kernel import files
from runtime.net import network
from runtime.spawner import idblocks


@contextmanager
def claimed(layout: Layout) -> Iterator[idblocks.Block]:
    """Hold the home and its id during the block; gives its range of user ids and its network.

    Raises Conflict while another server holds the home or its id, or when the id is another home's; NotFound when
    there is no such home.
    """
    with contextlib.ExitStack() as held:
        held.callback(os.close, _lock(layout.home / "lock", layout.home))
        try:
            block = idblocks.claim(layout, routes=network.host_routes())
        except idblocks.CopiedHome as error:
            raise Conflict(
                f"{layout.home} has the id of {error.original}, as a copied home has.",
                f"Remove {layout.home / 'id'} to make it a platform of its own.",
            ) from error
        except idblocks.BlockError as error:
            raise Unavailable(f"{layout.home} gets no user ids and addresses: {error}.") from error
        layout.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        held.callback(os.close, _lock(layout.run / "lock", layout.home))
        yield block


def _lock(path: Path, home: Path) -> int:
    """Lock the file and write the holder's pid and home into it; the descriptor."""
    try:
        descriptor = files.lock(path, wait=False)
    except FileNotFoundError as error:
        raise NotFound(f"There is no platform in {home}.") from error
    except BlockingIOError as error:
        pid, _, holder = path.read_text(errors="replace")[:4096].partition("\n")
        raise Conflict(
            f"A server (pid {pid or 'unknown'}) already runs on {holder.strip() or home}.",
            "Stop it first.",
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n{home}\n".encode(), 0)
    return descriptor
