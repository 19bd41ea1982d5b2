"""Steady requests from several visitors while something happens to the app behind the router."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What the visitors saw. A failure is anything but a 200 that arrived whole."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)
    bodies: Counter[bytes] = field(default_factory=Counter)


class Visitors:
    """`count` keep-alive visitors sending about `rate` requests a second in all, until `stop`."""

    def __init__(self, port: int, host: str, *, path: str = "/", count: int = 8, rate: float = 300.0) -> None:
        self._port, self._host, self._path = port, host, path
        self._pause = count / rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.tally = Tally()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(count)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _visit(self) -> None:
        connection = self._connect()
        while not self._stop.is_set():
            began = time.monotonic()
            failure, body = "", b""
            try:
                connection.request("GET", self._path, headers={"Host": self._host})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    failure = f"{answer.status} {body[:80]!r}"
            except (OSError, http.client.HTTPException) as error:
                failure = repr(error)
                connection.close()
                connection = self._connect()
            with self._lock:
                self.tally.requests += 1
                self.tally.bodies[body] += 1
                if failure:
                    self.tally.failures.append(f"{time.time():.3f} {failure}")
            self._stop.wait(max(0.0, self._pause - (time.monotonic() - began)))
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=40)
