"""How a confined child ended → its answer, or the error that the pusher reads. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from paas.nouns.errors import BadInput, PaasError, Unavailable, from_json
from paas.nouns.units import elapsed, shown_memory
from paas.receive import progress
from paas.receive.children import Finished
from paas.receive.export import Exported
from paas.receive.limits import Limits
from runtime.kernel.forked import CRASHED

_SIGKILL, _SIGXCPU, _SIGXFSZ = -9, -24, -25
_EVIDENCE_CHARACTERS = 200
_BROKEN_OBJECT = "error: object "


T = TypeVar("T")


def answer_of(finished: Finished, read: Callable[[dict[str, Any]], T], what: str = "commit") -> T:
    """A child's answer, as `read` takes it. Raises PaasError: the one it reports, or which of its bounds it met."""
    if finished.timed_out or finished.status in (_SIGKILL, _SIGXCPU, _SIGXFSZ):
        raise BadInput(f"The {what} takes too long to unpack, or unpacks to too much.", cause="too large")
    if finished.status == CRASHED:
        raise internal_error()
    try:
        answer = json.loads(finished.stdout)
        if "error" not in answer:
            return read(answer)
    except (ValueError, KeyError, TypeError):
        evidence = finished.last_words()[:_EVIDENCE_CHARACTERS]
        raise BadInput(f"The {what}'s files cannot be read.", evidence, cause="unreadable") from None
    raise from_json(answer["error"])


def told(exported: Exported) -> Iterator[str]:
    """Lines about what of the tree is left out, or will not work as its author may expect."""
    if exported.ignored:
        files = "1 file" if exported.ignored == 1 else f"{exported.ignored} files"
        yield f"-----> Leaving out {files} that .slugignore names"
    for link in exported.outside.first:
        yield from progress.warning(f"The link {link} points out of the app's folder.")
    pointers = exported.pointers
    if pointers.count:
        more = pointers.count - len(pointers.first)
        names = ", ".join(pointers.first) + (f" and {more} more" if more else "")
        yield from progress.warning(
            f"Git LFS keeps the content of {names} elsewhere; the app gets the pointers."
        )
        yield from progress.warning(
            "Commit the files themselves: git lfs migrate export --include=PATTERN --everything"
        )


def internal_error() -> PaasError:
    return PaasError("Internal error.", "The operator finds it in the git daemon's log.")


def incomplete(finished: Finished) -> PaasError:
    """Why `git rev-list` did not find everything that the commit needs."""
    if finished.timed_out or finished.status < 0:
        return BadInput("The push takes too much time or memory to check.", cause="too large")
    words = finished.last_words()[:_EVIDENCE_CHARACTERS]
    return BadInput("The push lacks objects that its commit needs.", words, cause="incomplete")


def unpack_error(finished: Finished, limits: Limits) -> PaasError:
    """Why `git index-pack` refused a pack, in one sentence."""
    said = finished.stderr.decode("utf-8", "replace")
    if "No space left on device" in said:
        return Unavailable("The platform's disk is full.", "Tell its operator.", cause="disk full")
    if "exceeds maximum allowed size" in said or finished.status == _SIGXFSZ:
        sentence = f"The push is larger than {shown_memory(limits.pack_bytes)}."
        return BadInput(sentence, "Keep large files out of the repository.", cause="too large")
    if finished.timed_out:
        sentence = f"The push stood still for {elapsed(limits.stall_s)}, or took longer than"
        return BadInput(f"{sentence} {elapsed(limits.receive_s)}.", cause="too slow")
    if finished.status < 0 or "ut of memory" in said or "mmap failed" in said:
        sentence = "The push takes too much time or memory to unpack."
        return BadInput(sentence, "An object in it is too large.", cause="too large")
    for line in said.splitlines():
        if line.startswith(_BROKEN_OBJECT):
            evidence = line.removeprefix(_BROKEN_OBJECT)[:_EVIDENCE_CHARACTERS]
            sentence = f"A broken object is in the push: {evidence}."
            return BadInput(sentence, "`git fsck` tells more.", cause="broken object")
    words = finished.last_words()[:_EVIDENCE_CHARACTERS]
    return BadInput(f"The push cannot be unpacked: {words}.", cause="broken pack")
