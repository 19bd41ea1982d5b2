"""What the end of a confined child means for the push: its answer, or the error that the pusher is told."""

from __future__ import annotations

import json
from typing import Any

from paas.nouns.errors import BadInput, PaasError, Unavailable, from_json
from paas.nouns.units import elapsed, shown_memory
from paas.receive import progress
from paas.receive.children import Finished
from paas.receive.limits import Limits
from runtime.kernel.forked import CRASHED

_SIGKILL, _SIGXCPU, _SIGXFSZ = -9, -24, -25


def export_answer(finished: Finished) -> dict[str, Any]:
    """What the exporter told. Raises BadInput with its sentence, or one about the bounds it met."""
    if finished.timed_out or finished.status in (_SIGKILL, _SIGXCPU, _SIGXFSZ):
        raise BadInput("The commit takes too long to unpack, or unpacks to too much.", cause="too large")
    if finished.status == CRASHED:
        raise internal_error()
    try:
        answer = json.loads(finished.stdout)
    except ValueError:
        said = progress.harmless(finished.last_words())[:200]
        raise BadInput("The commit's files cannot be read.", said, cause="unreadable") from None
    if "error" in answer:
        raise from_json(answer["error"])
    return dict(answer)


def internal_error() -> PaasError:
    return PaasError("Internal error.", "The operator finds it in the git daemon's log.")


def incomplete(finished: Finished) -> PaasError:
    """Why `git rev-list` did not find everything that the commit needs."""
    if finished.timed_out or finished.status < 0:
        return BadInput("The push takes too much time or memory to check.", cause="too large")
    words = progress.harmless(finished.last_words())[:200]
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
        if line.startswith("error: object "):
            sentence = f"A broken object is in the push: {progress.harmless(line)[14:200]}."
            return BadInput(sentence, "`git fsck` tells more.", cause="broken object")
    words = progress.harmless(finished.last_words())[:200]
    return BadInput(f"The push cannot be unpacked: {words}.", cause="broken pack")
