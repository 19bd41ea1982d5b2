"""The command line in this process: against the api itself, or against a platform that only remembers what it is asked."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import pytest

from paas.cli import main
from paas.nouns.errors import DeployFailed, PaasError


class Said(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


class Shell:
    """Commands as somebody types them."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *words: str, stdin: str = "") -> Said:
        self._monkeypatch.setattr("sys.stdin", typed(stdin))
        self._capsys.readouterr()
        return Said(main.main(words), *self._capsys.readouterr())


class Platform:
    """Stands in for `Client`: answers by method and path, keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def answer(self, method: str, path: str, body: Any) -> Any:
        self.asked.append((method, path, body))
        found = self.answers[f"{method} {path}"]
        if isinstance(found, PaasError):
            raise found
        return found

    def get(self, path: str, **query: object) -> Any:
        return self.answer("GET", path, {key: value for key, value in query.items() if value is not None})

    def post(self, path: str, body: Any = None) -> Any:
        return self.answer("POST", path, body)

    def patch(self, path: str, body: Any) -> Any:
        return self.answer("PATCH", path, body)

    def delete(self, path: str, body: Any = None) -> Any:
        return self.answer("DELETE", path, body)

    def upload(self, path: str, file: BinaryIO, **query: object) -> Iterator[dict[str, Any]]:
        return iter(self.answer("POST", path, (file.read(), query)))

    def stream(self, method: str, path: str, body: Any = None, **query: object) -> Iterator[dict[str, Any]]:
        answer = self.answer(method, path, body if method != "GET" else query)
        yield from answer
        if isinstance(answer, tuple):
            raise DeployFailed(
                "web.1 exited.", "See: paas logs", cause="exited with status 1", lines=("boom",)
            )


def lines(*texts: str, **result: Any) -> list[dict[str, Any]]:
    return [*({"line": text} for text in texts), {"done": True, "result": result}]


def typed(text: str) -> io.TextIOWrapper:
    """Standard input that holds `text`."""
    return io.TextIOWrapper(io.BytesIO(text.encode()))
