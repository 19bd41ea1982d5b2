"""The protocol of a push over dulwich's handler, and the private members of dulwich that it uses."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator

import pytest
from dulwich.protocol import Protocol
from dulwich.server import PackHandler, ReceivePackHandler
from harness.git import pkt

from paas.nouns.errors import BadInput
from paas.receive.dulwich_protocol import ReceivePack, Refused
from paas.receive.policy import RefUpdate
from paas.receive.repository import ZERO
from paas.receive.wire import Wire

ONE, TWO = "1" * 40, "2" * 40
WORDS = b"report-status side-band-64k push-options object-format=sha1 agent=test session-id=x"


def test_the_private_members_are_as_they_are_used() -> None:
    assert list(inspect.signature(PackHandler.__init__).parameters) == [
        "self", "backend", "proto", "stateless_rpc",
    ]  # fmt: skip
    assert list(inspect.signature(vars(ReceivePackHandler)["_report_status"]).parameters) == [
        "self",
        "status",
    ]
    assert "self._client_capabilities" in inspect.getsource(PackHandler.has_capability)
    handler = ReceivePack(Wire(0, os.dup(1), os.dup(2), 1.0), 4096)
    assert handler._client_capabilities is None and isinstance(handler.proto, Protocol)


class Push(ReceivePack):
    """Every push is `error`, or succeeds."""

    error: Exception | None = None
    given: tuple[list[RefUpdate], list[str], bool]

    def advertised_heads(self) -> dict[str, str]:
        return {"main": ONE}

    def check(self, updates: list[RefUpdate], options: list[str], *, shallow: bool) -> RefUpdate:
        self.given = updates, options, shallow
        return updates[0]

    def deploy(self, update: RefUpdate) -> None:
        self.progress.say(f"deploying {update.branch}\x1b[2J")
        if self.error is not None:
            raise self.error


Talk = Callable[..., tuple[Push, bytes, bytes]]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Serve a client that has sent all of `data`; the handler, its answer and what it wrote to stderr."""
    opened: list[int] = []

    def pipe() -> tuple[int, int]:
        ends = os.pipe()
        opened.extend(ends)
        return ends

    def serve(
        data: bytes, *, error: Exception | None = None, ref_bytes: int = 4096
    ) -> tuple[Push, bytes, bytes]:
        (source, client), (answer, sink), (said, aside) = pipe(), pipe(), pipe()
        os.write(client, data)
        os.close(client)
        opened.remove(client)
        push = Push(Wire(source, sink, aside, 5.0), ref_bytes)
        push.error = error
        push.serve()
        for end in (answer, said):
            os.set_blocking(end, False)
        return push, os.read(answer, 1 << 16), _read(said)

    yield serve
    for descriptor in opened:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return b""


def update(new: str, ref: str = "refs/heads/main", words: bytes = WORDS) -> bytes:
    return pkt(f"{ONE} {new} {ref}".encode() + b"\0" + words)


def test_a_push_is_advertised_checked_deployed_and_reported(talk: Talk) -> None:
    push, answer, said = talk(update(TWO) + b"0000" + pkt(b"nowait") + b"0000")
    assert answer.startswith(pkt(f"{ONE} refs/heads/main".encode() + b"\0 " + b" ".join(
        [*push.capabilities(), b"agent=paas"]) + b"\n"))  # fmt: skip
    assert push.given == ([RefUpdate(ONE, TWO, "refs/heads/main")], ["nowait"], False)
    assert b"\x02deploying main\n" in answer and b"unpack ok" in answer and b"ok refs/heads/main" in answer
    assert said == b""


def test_a_refusal_is_told_to_the_pusher_and_to_git(talk: Talk) -> None:
    error = Refused(
        BadInput("It is too large.", "Make it smaller.", cause="too large"), unpack="index-pack failed"
    )
    _, answer, _ = talk(update(TWO) + b"0000" + b"0000" + b"PACK", error=error)
    assert (
        b" !     Too large: It is too large.\n" in answer and b" !     Push rejected: too large.\n" in answer
    )
    assert b"unpack index-pack failed" in answer and b"ng refs/heads/main unpacker error" in answer
    _, answer, _ = talk(update(ZERO) + b"0000" + b"0000", error=BadInput("No."))
    assert b"unpack ok" in answer and b"ng refs/heads/main pre-receive hook declined" in answer


def test_a_client_without_side_band_reads_on_stderr(talk: Talk) -> None:
    _, answer, said = talk(update(TWO, words=b"report-status") + b"0000")
    assert said == b"deploying main\n" and b"deploying" not in answer


def test_updates_beyond_the_bound_are_counted_and_dropped(talk: Talk) -> None:
    many = b"".join(pkt(f"{ONE} {TWO} refs/heads/b{number}".encode()) for number in range(50))
    push, _, _ = talk(
        pkt(b"shallow " + ONE.encode()) + update(TWO) + many + b"0000" + b"0000", ref_bytes=1000
    )
    updates, _, shallow = push.given
    assert push.update_count == 51 and 1 < len(updates) < 12 and shallow


@pytest.mark.parametrize(
    "data",
    [
        pkt(b"hello\0report-status") + b"0000",
        update("x" * 40) + b"0000",
        update(TWO, words=b"no-such-capability") + b"0000",
        update(TWO) + b"0000" + pkt(b"o" * 1025) + b"0000",
        update(TWO) + b"0000" + pkt(b"o") * 17 + b"0000",
        b"zzzz",
        b"",
    ],
)
def test_what_is_not_the_protocol_is_one_sentence(talk: Talk, data: bytes) -> None:
    with pytest.raises(BadInput, match="The client does not speak git's protocol: "):
        talk(data)


def test_a_client_that_asks_for_nothing_is_no_error(talk: Talk) -> None:
    push, answer, _ = talk(b"0000")
    assert not hasattr(push, "given") and answer.endswith(b"0000")
