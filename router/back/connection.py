"""Reads the answers of a backend: heads, then a body, each passed on as it comes."""

from __future__ import annotations

import os
from typing import Final

from router.back.pooled import PooledConnection
from router.io.stream import BROKEN, READ_BYTES
from router.middle.bulk import relay
from router.middle.exchange import Exchange
from router.rules.own_answers import ANSWERS
from router.rules.route import Backend
from router.shared import Shared
from router.wire import rewrite
from router.wire.body import Body
from router.wire.chunked import BadChunk, single
from router.wire.heads import CRLF, HEAD_END, BadHead, HeadMemory, check_partial
from router.wire.response import (
    CHUNKED,
    MAX_RESPONSE_HEAD_BYTES,
    UNTIL_CLOSE,
    ResponseMeaning,
    StatusLine,
    parse_status_line,
)

MAX_INTERIM: Final = 16
_OK: Final = parse_status_line(b"HTTP/1.1 200 OK")


class BackendConnection(PooledConnection):
    """`buffer` holds an incomplete head, of which `checked` bytes have been found in order; `heads` remembers the
    last one, `status` its status line."""

    __slots__ = ("buffer", "checked", "heads", "status")

    def __init__(self, shared: Shared, fd: int, owner: Backend) -> None:
        super().__init__(shared, fd, owner)
        self.buffer = b""
        self.checked = 0
        self.heads = HeadMemory(shared.responses)
        self.status = _OK

    def readable(self) -> None:
        exchange, body = self.exchange, self.body
        if (
            body is not None and exchange is not None
            and (body.left > READ_BYTES or self.pipe is not None) and not body.inspected
        ):  # fmt: skip
            relay(self, exchange, body)
            return
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.over(reset=True)
            return
        if exchange is None:
            self.discard()
        elif not data:
            self.over(reset=False)
        elif body is None:
            try:
                self._heads(exchange, data)
            except BadHead as error:
                self._bad(exchange, error)
        else:
            exchange.active = self.loop.now
            self._more(exchange, body, data)

    def _bad(self, exchange: Exchange, reason: object) -> None:
        """The answer is not proper HTTP."""
        self.owner.failures += 1
        exchange.fail(ANSWERS["bad-response"].because(reason))

    def _heads(self, exchange: Exchange, data: bytes) -> None:
        """Heads of the answer: any number of 1xx, then the final one. Raises BadHead."""
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        while data:
            end = data.find(HEAD_END)
            if end < 0 or end > MAX_RESPONSE_HEAD_BYTES:
                check_partial(data, self.checked, MAX_RESPONSE_HEAD_BYTES)
                self.buffer = data
                self.checked = len(data)
                return
            status = self.status
            if not data.startswith(status.line):
                status = self.status = self.shared.status_lines(data[: data.find(CRLF)])
            line_end = status.end
            meaning = self.heads.read(data, line_end + 2, end + 2)
            if (
                exchange.fast_path and status.fast_path and meaning.fast_path
                and len(data) - end - 4 == meaning.length and not exchange.uploading
            ):  # fmt: skip
                self._whole(exchange, status, meaning, data, end)
                return
            self.checked = 0
            lines = rewrite.response_lines(data[line_end : end + 2], meaning)
            if status.code == 204 or 101 != status.code < 200:  # these have no body to announce
                lines = rewrite.without_length(lines)
            data = data[end + 4 :]
            if status.code >= 200:
                self._final(exchange, status, meaning, lines, data)
                return
            if status.code == 101:
                self._upgrade(exchange, status, meaning, lines, data)
                return
            self.interims += 1
            if self.interims > MAX_INTERIM:
                raise BadHead(f"more than {MAX_INTERIM} interim answers")
            if exchange.visitor.interim(status, lines) == BROKEN:
                exchange.visitor.lost()
                return

    def _upgrade(
        self, exchange: Exchange, status: StatusLine, meaning: ResponseMeaning, lines: bytes, data: bytes
    ) -> None:
        if not exchange.meaning.upgrade or meaning.upgrade != b"websocket" or exchange.uploading:
            raise BadHead("101 was not asked for")
        exchange.status = 101
        exchange.visitor.upgrade(self, status, lines, data)

    def _whole(
        self, exchange: Exchange, status: StatusLine, meaning: ResponseMeaning, data: bytes, end: int
    ) -> None:
        """The fast path of `_final`, which says the same step by step: the whole answer has come in one read."""
        self.lasting = not meaning.close
        exchange.status = status.code
        exchange.body_bytes = meaning.length
        if exchange.visitor.whole(status, meaning, data, end) == BROKEN:
            exchange.visitor.lost()
        else:
            exchange.finish(self)

    def _final(
        self, exchange: Exchange, status: StatusLine, meaning: ResponseMeaning, lines: bytes, data: bytes
    ) -> None:
        """The final head, and what has come of the body with it."""
        length = meaning.length
        if status.minor == 0 and length == CHUNKED:
            raise BadHead("Transfer-Encoding in HTTP/1.0")
        self.lasting = not meaning.close and (status.minor == 1 or meaning.keep_alive)
        if exchange.method == b"HEAD" or status.code in (204, 304):
            length = 0
        if length == UNTIL_CLOSE:
            self.lasting = False
        exchange.status = status.code
        exchange.active = self.loop.now
        if exchange.uploading or self.shared.draining:
            exchange.keep = False
        squeeze = exchange.squeeze
        if squeeze is None:
            whole = single(data) if length == CHUNKED else data if length == len(data) else None
            if whole is not None:  # all of it has come with the head
                exchange.body_bytes = len(whole)
                exchange.visitor.begin(status, lines + exchange.answer_lines, length)
                exchange.complete(self, whole)
                return
        body = self.body = Body(length)
        if squeeze is not None:
            lines = squeeze.begin(lines, status.code, length)
            if squeeze.active:
                body.inspected = True
                length = UNTIL_CLOSE
        exchange.visitor.begin(status, lines + exchange.answer_lines, length)
        self._more(exchange, body, data, first=True)

    def _more(self, exchange: Exchange, body: Body, data: bytes, *, first: bool = False) -> None:
        """A part of the body; `first`: the head goes out with it."""
        pause = len(data) < READ_BYTES
        try:
            data = body.take(data)
        except BadChunk as error:
            if first:
                exchange.status = 0  # nothing has gone out yet: say that the answer was bad
            self._bad(exchange, error)
            return
        if body.inspected:
            squeeze = exchange.squeeze
            assert squeeze is not None
            data = squeeze.take(data, done=body.done, pause=pause)
            exchange.body_bytes = squeeze.sent
        else:
            exchange.body_bytes += len(data)
        if body.done:
            if body.leftover:
                self.lasting = False
            exchange.complete(self, data, body.trailers)
        elif data or first:
            exchange.deliver(data)
            if body.inspected:
                self.shared.upstreams.compressed(self)

    def over(self, *, reset: bool) -> None:
        exchange, body = self.exchange, self.body
        if exchange is None:
            self.discard()
        elif body is None:
            if self.buffer:
                self._bad(exchange, "it ended within its head")
            elif self.reused and not self.interims:
                exchange.stale()
            elif self.interims:
                exchange.fail(ANSWERS["no-response"])
            else:
                exchange.unanswered()
        elif body.until_close and not reset:
            body.done = True
            self._more(exchange, body, b"")
        else:
            self.owner.failures += 1
            exchange.fail(ANSWERS["interrupted"])
