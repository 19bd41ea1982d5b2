"""A client of a container's attach socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from harness.spawner import SpawnerUnderTest
from runtime import frames


class Client:
    """Keeps every frame that it received."""

    def __init__(self, spawner: SpawnerUnderTest, instance_id: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(spawner.layout.run_instances / instance_id / "attach.sock"))
        self.sock.settimeout(30)
        self._decoder = frames.FrameDecoder()
        self.received: list[tuple[int, bytes]] = []

    def send(self, channel: int, payload: bytes = b"") -> None:
        self.sock.sendall(frames.encode_frame(channel, payload))

    def output(self, channel: int = frames.STDOUT) -> bytes:
        return b"".join(payload for number, payload in self.received if number == channel)

    def until(self, text: bytes, channel: int = frames.STDOUT) -> bytes:
        while text not in self.output(channel):
            data = self.sock.recv(65536)
            assert data, f"the connection ended before {text!r}: {self.received}"
            self.received += self._decoder.feed(data)
        return self.output(channel)

    def exit(self) -> Any:
        """Read to the end; the last frame must say how it ended."""
        while data := self.sock.recv(65536):
            self.received += self._decoder.feed(data)
        assert self.received[-1][0] == frames.EXIT
        return json.loads(self.received[-1][1])
