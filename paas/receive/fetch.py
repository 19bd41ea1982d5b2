"""`python -P -m paas.receive.fetch`: make a source of what was not pushed, and keep it while it is needed.

The api starts it, so that what forks and reads strangers' bytes has one thread and nothing else in its memory. A JSON
object on standard input says what to take (`Wanted`); objects on standard output answer: `{"line": …}` now and then, in
the end `{"source": …}` or `{"error": …}`. The source stays until standard input ends. SIGHUP ends it all.
The arguments are the `cgroup.procs` files of the groups to be in.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from paas.nouns.errors import BadInput, PaasError, Unavailable
from paas.nouns.remoteurl import RemoteRepository
from paas.receive import children, git
from paas.receive.archive import Imported, import_archive
from paas.receive.dulwich_protocol import Refused
from paas.receive.export import answer_in_child
from paas.receive.limits import Limits
from paas.receive.progress import Progress
from paas.receive.quarantine import Quarantine
from paas.receive.repository import Repositories
from paas.receive.sources import Sources
from paas.receive.verdicts import answer_of, told
from paas.receive.wire import Hangup, Wire, hang_up_on_signal, waiting
from runtime.cgroup.base import enter
from runtime.image.reach import Patience, Reach
from runtime.kernel import syscalls

_MOST_BYTES = 1 << 20
_MEMORY_BYTES = 1 << 30
"""Less than a push may take, whose children have a control group of their own."""


_OWN_BYTES = 512 << 20
"""Address space of this process, which holds the refs of a repository; its children have bounds of their own."""


@dataclass(frozen=True)
class Wanted:
    """What to make a source of: the folder `root` in the archive that the descriptor `archive` gives, or in the
    repository at `url` (with a login, if it needs one).

    `sources` is the folder of sources; `pack_bytes` and `source_bytes` bound what is taken and what it unpacks to;
    `private` are the networks that may be reached beside the internet.
    """

    sources: str
    pack_bytes: int
    source_bytes: int
    root: str
    private: list[str]
    archive: int = -1
    url: str = ""


def make_source(wanted: Wanted, say: Callable[..., None], held: contextlib.ExitStack) -> dict[str, Any]:
    """Make the source and keep it until `held` is closed; its commit and tree. Raises PaasError."""
    limits = Limits(wanted.pack_bytes, wanted.source_bytes, index_memory_bytes=_MEMORY_BYTES)
    sources = Sources(Path(wanted.sources))
    progress = Progress(lambda data: say(data.decode().rstrip("\n")))
    with sources.scratch() as scratch, Repositories(scratch).quarantine(None) as path:
        quarantine = Quarantine(path, None, limits, progress.tick)
        if wanted.url:
            progress.begin("fetching")
            found = Imported(_fetch(wanted, quarantine, limits, progress.tick), "")
        else:
            progress.begin("unpacking")
            found = _import(path, wanted.archive, limits, progress.tick)
        exported = quarantine.export(found.commit, sources, held, _root(found.top, wanted.root))
    progress.say(*told(exported))
    return {"commit": found.commit if wanted.url else "", "tree": exported.tree}


def _fetch(wanted: Wanted, quarantine: Quarantine, limits: Limits, tick: Callable[[], None]) -> str:
    """Take a commit of a repository elsewhere, checked as a push is. Raises PaasError."""
    from paas.receive.remote import fetch

    reach = Reach(tuple(ip_network(text) for text in wanted.private))

    def gone() -> bool:  # asked before each wait
        tick()
        return False

    patience = Patience(time.monotonic() + limits.receive_s, gone)
    with waiting():
        fetched = fetch(RemoteRepository.parse(wanted.url), quarantine.path, limits, reach, patience)
    with fetched.pack as pack, open(os.devnull, "wb") as nobody:
        if fetched.shallow:
            (quarantine.path / "shallow").write_text("".join(f"{oid}\n" for oid in fetched.shallow))
        try:
            quarantine.receive(Wire(pack.fileno(), nobody.fileno(), nobody.fileno(), limits.stall_s))
            quarantine.check_complete(fetched.commit)
        except Refused as refused:
            raise refused.error from None
    return fetched.commit


def _import(repository: Path, archive: int, limits: Limits, tick: Callable[[], None]) -> Imported:
    """Take the files of an archive as a commit of their own, in a confined child. Raises PaasError."""
    finished = children.run(
        lambda: answer_in_child(
            lambda: import_archive(repository, open(0, "rb", closefd=False), limits)  # noqa: SIM115
        ),
        bounds=git.bounds(
            write=(repository,),
            memory_bytes=limits.index_memory_bytes,
            file_bytes=2 * limits.source_bytes,
            cpu_s=limits.index_cpu_s,
        ),
        timeout_s=limits.receive_s,
        stall_s=limits.stall_s,
        stdin=archive,
        tick=tick,
    )
    return answer_of(finished, Imported.from_json, "archive")


def _root(top: str, root: str) -> str:
    """The app's folder in an archive in whose only top folder everything may be, as archives of forges have it."""
    if not top or root == top or root.startswith(f"{top}/"):
        return root
    return f"{top}/{root}" if root else top


def main() -> int:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGHUP)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_AS, (_OWN_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    hang_up_on_signal()
    os.umask(0o027)
    enter(map(Path, sys.argv[1:]))
    with contextlib.suppress(Hangup, BrokenPipeError), contextlib.ExitStack() as held:
        _tell(_answer(held))
        with waiting():
            sys.stdin.buffer.read(1)
    return 0


def _answer(held: contextlib.ExitStack) -> dict[str, Any]:
    try:
        wanted = Wanted(**json.loads(sys.stdin.buffer.readline(_MOST_BYTES)))
        return {"source": make_source(wanted, _say, held)}
    except PaasError as error:
        return {"error": error.to_json()}
    except MemoryError:
        return {
            "error": BadInput(
                "The source needs more memory than there is for it.", "Name a smaller one."
            ).to_json()
        }
    except OSError as error:
        sentence = f"The source cannot be written: {error.strerror}."
        return {"error": Unavailable(sentence, "Tell the platform's operator.").to_json()}


def _say(*lines: str) -> None:
    for line in lines:
        _tell({"line": line})


def _tell(message: dict[str, Any]) -> None:
    with waiting():
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
