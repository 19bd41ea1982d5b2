"""A DNS relay, for hosts whose only name servers are on addresses that instances cannot reach: loopback or IPv6.

It listens on the gateway's address and forwards each query unchanged, over UDP and TCP. It runs as an unprivileged user on
sockets that root has bound, reads no file, and ends when its standard input closes.

The relay stays because such hosts are common: laptops and servers with dnsmasq or unbound on 127.0.0.1, networks with IPv6
resolvers only. Without it their apps would resolve no name at all. A full server (dnsmasq) would be one more package and
one more configuration to keep, only to answer the same queries; it becomes worth its place when apps get names for each
other.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from runtime.net import resolvers

PORT = 53
_IP_FREEBIND = 15
_ANSWER_TIMEOUT_S = 5.0
_MOST = 512
_MOST_PER_SOURCE = 64
_PIECE = 65535
_HEADER_BYTES = 12


def start(
    gateway: IPv4Address, *, uid: int, gid: int, upstream: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Bind the gateway's address, which need not exist yet, and start the relay as that user.

    It ends when its `stdin` is closed. Raises OSError.
    """
    datagram = _bound(socket.SOCK_DGRAM, gateway)
    stream = _bound(socket.SOCK_STREAM, gateway)
    stream.listen(64)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "runtime.net.dns"]
            + [f"--udp={datagram.fileno()}", f"--tcp={stream.fileno()}", f"--uid={uid}", f"--gid={gid}"]
            + [f"--upstream={address}" for address in upstream or resolvers.local()],
            stdin=subprocess.PIPE,
            pass_fds=(datagram.fileno(), stream.fileno()),
            cwd="/",
        )
    finally:
        datagram.close()
        stream.close()


def _bound(kind: socket.SocketKind, address: IPv4Address) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind)
    bound.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((str(address), PORT))
    except OSError:
        bound.close()
        raise
    return bound


@dataclass
class _Query:
    """A query over UDP: the answer arrives on `socket` and goes to `client`."""

    socket: socket.socket
    client: tuple[str, int]
    deadline: float


@dataclass
class _Pipe:
    """One direction of a TCP connection: bytes from `source` go to `sink`."""

    source: socket.socket
    sink: socket.socket
    client: str
    deadline: float


class Relay:
    """The open queries and connections, and one loop over their sockets."""

    def __init__(self, datagram: socket.socket, stream: socket.socket, upstream: list[str]) -> None:
        self._datagram, self._stream, self._upstream = datagram, stream, upstream
        self._preferred = 0
        self._open: dict[int, _Query | _Pipe] = {}
        self._by_source: Counter[str] = Counter()
        self._selector = selectors.DefaultSelector()
        for listener in (datagram, stream):
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ)

    def run(self, stop: int) -> None:
        """Relay until the descriptor `stop` becomes readable or is closed."""
        self._selector.register(stop, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(1.0 if self._open else None):
                if key.fd == stop:
                    return
                self._serve(key.fd)
            self._expire(time.monotonic())

    def _serve(self, descriptor: int) -> None:
        try:
            if descriptor == self._datagram.fileno():
                self._forward()
            elif descriptor == self._stream.fileno():
                self._accept()
            elif descriptor in self._open:
                self._return(self._open[descriptor])
        except OSError:
            if descriptor in self._open:
                self._close(descriptor)

    def _forward(self) -> None:
        query, client = self._datagram.recvfrom(_PIECE)
        if len(query) < _HEADER_BYTES or not self._room(client[0]):
            return
        upstream = self._to_upstream(socket.SOCK_DGRAM)
        upstream.send(query)
        self._add(_Query(upstream, client, time.monotonic() + _ANSWER_TIMEOUT_S), upstream, client[0])

    def _accept(self) -> None:
        peer, client = self._stream.accept()
        if not self._room(client[0]):
            peer.close()
            return
        try:
            upstream = self._to_upstream(socket.SOCK_STREAM)
        except OSError:
            peer.close()
            raise
        deadline = time.monotonic() + 2 * _ANSWER_TIMEOUT_S
        for one, other in ((peer, upstream), (upstream, peer)):
            one.setblocking(True)
            one.settimeout(1.0)
            self._add(_Pipe(one, other, client[0], deadline), one, client[0])

    def _return(self, item: _Query | _Pipe) -> None:
        if isinstance(item, _Query):
            answer = item.socket.recv(_PIECE)
            self._close(item.socket.fileno())
            self._datagram.sendto(answer, item.client)
            return
        piece = item.source.recv(_PIECE)
        if piece:
            item.sink.sendall(piece)
        else:
            self._close(item.source.fileno())

    def _to_upstream(self, kind: socket.SocketKind) -> socket.socket:
        host = self._upstream[self._preferred % len(self._upstream)]
        upstream = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        try:
            upstream.settimeout(1.0)
            upstream.connect((host, PORT))
        except OSError:
            upstream.close()
            self._preferred += 1
            raise
        return upstream

    def _room(self, source: str) -> bool:
        return len(self._open) < _MOST and self._by_source[source] < _MOST_PER_SOURCE

    def _add(self, item: _Query | _Pipe, watched: socket.socket, source: str) -> None:
        self._open[watched.fileno()] = item
        self._by_source[source] += 1
        self._selector.register(watched, selectors.EVENT_READ)

    def _close(self, descriptor: int) -> None:
        """Close a query, or both directions of a TCP connection."""
        item = self._open[descriptor]
        if isinstance(item, _Query):
            ends, source = [item.socket], item.client[0]
        else:
            ends, source = [item.source, item.sink], item.client
        for end in ends:
            if self._open.pop(end.fileno(), None) is not None:
                self._selector.unregister(end)
                self._by_source[source] -= 1
            end.close()
        if not self._by_source[source]:
            del self._by_source[source]

    def _expire(self, now: float) -> None:
        late = [number for number, item in self._open.items() if item.deadline < now]
        for number in late:
            if number in self._open:
                if isinstance(self._open[number], _Query):
                    self._preferred += 1
                self._close(number)


def main() -> None:
    import argparse  # the spawner, whose memory is every shim's, imports this module to start the relay

    parser = argparse.ArgumentParser(prog="python -m runtime.net.dns")
    parser.add_argument("--udp", type=int, required=True)
    parser.add_argument("--tcp", type=int, required=True)
    parser.add_argument("--upstream", action="append", required=True)
    parser.add_argument("--uid", type=int, required=True)
    parser.add_argument("--gid", type=int, required=True)
    flags = parser.parse_args()
    os.setgroups([])
    os.setresgid(flags.gid, flags.gid, flags.gid)
    os.setresuid(flags.uid, flags.uid, flags.uid)
    relay = Relay(socket.socket(fileno=flags.udp), socket.socket(fileno=flags.tcp), flags.upstream)
    relay.run(sys.stdin.fileno())


if __name__ == "__main__":
    main()
