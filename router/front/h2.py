"""A connection of HTTP/2 (RFC 9113): dispatches the client's frames to streams and sends their frames in turn."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from router.front.client import FORGET_S
from router.front.client_limits import ClientLimit
from router.front.h2frames import BODY, OVER, REQUEST, TRAILERS, WINDOW, ClientFrames, Event
from router.front.h2stream import Carrier, Http2Stream
from router.front.h2writer import MAX_STREAMS
from router.io.stream import BROKEN
from router.io.tls import Secure
from router.shared import Shared
from router.wire import rewrite
from router.wire.h2fields import Malformed, RequestField, request_head, request_trailers
from router.wire.h2wire import NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM

WRITE_BYTES: Final = 65536
QUEUE_BYTES: Final = 128 * 1024
BACKLOG_BYTES: Final = 256 * 1024


class Http2Connection(Carrier):
    """`streams` are under way; `ready` are those with something to send, in turn. `working` is set while frames are
    read or sent, so that neither begins within the other. `farewell` is the time at which the client was asked to open
    no more streams; once `leaving` is set, new streams are refused. `client_limit`, where there is one, counts each
    stream beside another like a connection of its client, for it costs as much."""

    __slots__ = ("client_limit", "farewell", "frames", "leaving", "ready", "working")

    def __init__(
        self, shared: Shared, fd: int, address: bytes, port: int, secure: Secure | None = None
    ) -> None:
        super().__init__(shared, fd, address, port, secure)
        self.protocol = b"h2"
        self.forward_lines = rewrite.forward_lines(self.scheme, port)
        self.frames = ClientFrames(shared.loop.now)
        self.writer = self.frames.writer
        self.streams = {}
        self.ready: list[Http2Stream] = []
        self.working = False
        self.farewell = 0.0
        self.leaving = False
        self.dead = False
        self.client_limit: ClientLimit | None = None
        shared.metrics.h2_connections += 1
        self._keep_queue_short()
        self._write()

    def _keep_queue_short(self) -> None:
        """Let the kernel queue little: the streams cannot take turns in what it has."""
        sock = socket.socket(fileno=self.fd)
        with contextlib.suppress(OSError):  # only TCP knows it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, QUEUE_BYTES)
        sock.detach()

    # reading

    def data_received(self, data: bytes) -> None:
        if self.lingering:
            self.discard(len(data))
            return
        if not data:
            self.lost()
            return
        self.working = True
        events = self.frames.read(data, self.loop.now)
        if events is not None:
            for event in events:
                self._on(event)
        self.working = False
        if events is not None:
            self.leaving = self.leaving or self.frames.leaving
            self.pump()
        else:
            self._write()
            self._end_streams()
            self.linger()

    def _on(self, event: Event) -> None:
        kind = event.kind
        if kind == REQUEST:
            self.request(event.id, event.fields, event.ended)
        elif kind == BODY:
            self.body(event.id, event.data, event.size, event.ended)
        elif kind == WINDOW:
            self.window(event.id)
        elif kind == TRAILERS:
            self.trailers(event.id, event.fields)
        elif kind == OVER:
            self.over(event.id)
        else:
            self.answered()

    def request(self, id: int, fields: list[RequestField], ended: bool) -> None:
        if self.leaving or len(self.streams) >= MAX_STREAMS:
            self.writer.reset(id, REFUSED_STREAM)
        elif id in self.writer.streams:  # not reset by a later frame of the same read
            try:
                head = request_head(fields, ended)
            except Malformed:
                self.writer.reset(id, PROTOCOL_ERROR)
                return
            if self.streams and self.client_limit is not None and not self.client_limit.add(self.address):
                self.writer.reset(id, REFUSED_STREAM)
                return
            self.shared.metrics.h2_streams += 1
            stream = self.streams[id] = Http2Stream(self, id, ended)
            stream.serve(head)

    def body(self, id: int, data: bytes, size: int, ended: bool) -> None:
        stream = self.streams.get(id)
        if stream is None:
            self.writer.acknowledge(id, size)
        else:
            stream.more(data, size, ended)

    def trailers(self, id: int, fields: list[RequestField]) -> None:
        stream = self.streams.get(id)
        if stream is not None:
            try:
                stream.trailers = request_trailers(fields)
            except Malformed:
                stream.malformed()
            else:
                stream.more(b"", 0, True)

    def over(self, id: int) -> None:
        stream = self.streams.get(id)
        if stream is not None:
            self.forget(stream)
            stream.lost()

    def window(self, id: int) -> None:
        if id:
            one = self.streams.get(id)
            if one is not None and one.out:
                self.wake(one)
            return
        for stream in self.streams.values():
            if stream.out:
                self.wake(stream)

    # sending

    def wake(self, stream: Http2Stream) -> None:
        if not stream.queued:
            stream.queued = True
            self.ready.append(stream)

    def pump(self) -> None:
        """Send what the windows allow while the peer takes it, one frame of each stream in turn."""
        if self.working or self.dead or self.lingering:
            return
        self.working = True
        ready = self.ready
        try:
            while ready and not self.out and not self.dead:
                stream = ready.pop(0)
                stream.queued = False
                if stream.id in self.streams and stream.emit(self.writer):
                    self.wake(stream)
                if self.writer.unsent_bytes >= WRITE_BYTES:
                    self._write()
            self._write()
        finally:  # a bug that one stream meets must not stop the others
            self.working = False
        if self.leaving and not self.streams and not self.dead:
            self.linger()

    def _write(self) -> None:
        data = self.writer.data_to_send()
        if data and not self.dead:
            sent = self.send(data)
            if sent == BROKEN:
                self.dead = True  # the streams notice when they send, or at the hang-up that follows
            elif self.out is not None and len(self.out) > BACKLOG_BYTES:
                self.pause()  # no requests from a client that does not read

    def drained(self) -> None:
        if self.lingering:
            self.linger()
        else:
            self.resume()
            self.pump()

    def wrote(self) -> None: ...

    # the end of streams and of the connection

    def forget(self, stream: Http2Stream) -> bool:
        if self.streams.get(stream.id) is not stream:
            return False
        del self.streams[stream.id]
        if self.streams and self.client_limit is not None:
            self.client_limit.remove(self.address)
        if stream.unread:
            self.writer.acknowledge(stream.id, stream.unread)
        self.active = self.loop.now
        return True

    def reset(self, stream: Http2Stream, code: int) -> None:
        if self.forget(stream):
            self.writer.reset(stream.id, code)
            self.pump()

    def _end_streams(self) -> None:
        """The client is gone."""
        self.dead = True
        for stream in list(self.streams.values()):
            stream.lost()

    def lost(self) -> None:
        self._end_streams()
        self.cut()

    def cut(self, *, reset: bool = False) -> None:
        super().cut(reset=reset)
        self.writer.close()

    def abort(self) -> None:
        self.dead = True
        for stream in list(self.streams.values()):
            stream.abort()
        self.cut()

    def resting_since(self) -> float:
        return 0.0 if self.streams or self.leaving or self.dead or self.lingering else self.active

    def give_up(self) -> None:
        self.writer.say_goodbye(self.frames.last_stream, NO_ERROR)
        self._write()
        self.cut()

    def check(self, now: float) -> None:
        if self.lingering:
            self.check_linger(now)
            return
        if self.dead:
            self.lost()
            return
        for stream in list(self.streams.values()):
            stream.check(now)
        if self.leaving:
            return
        limits = self.shared.limits
        if self.farewell:
            if now - self.farewell > limits.linger_s:
                self.answered()
                self.pump()
        elif self.shared.draining or (not self.streams and now - self.active > limits.keep_alive_s):
            self.farewell = now
            self.writer.announce_goodbye()
            self.pump()
        elif not self.streams and now - self.active > FORGET_S:
            self.heads.forget()

    def answered(self) -> None:
        """The client has read that it should open no more streams, or has had the time: name the last one."""
        if self.farewell and not self.leaving:
            self.leaving = True
            self.writer.say_goodbye(self.frames.last_stream, NO_ERROR)
