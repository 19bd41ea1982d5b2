"""What commands read of what they are given: no more than they can use."""

from __future__ import annotations

import io

import pytest
from harness.cli import Platform

from paas.cli import main

Captured = pytest.CaptureFixture[str]


class Endless(io.RawIOBase):
    """A stream without an end, like /dev/zero or a program that goes on printing."""

    def __init__(self, letter: bytes) -> None:
        self._letter = letter
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        assert self.taken < 4 << 20, "it reads for ever"
        buffer[:] = self._letter * len(buffer)
        self.taken += len(buffer)
        return len(buffer)


@pytest.mark.parametrize("letter", [b"x", b"\0", b"\xff"], ids=["text", "zeroes", "no UTF-8"])
@pytest.mark.parametrize(
    "words",
    [
        ["keys:add", "-"],
        ["certs:add", "www.example.com", "--cert", "-"],
        ["errors:set", "503", "-"],
        ["auth:add", "bea"],
        ["login", "http://127.0.0.1:1"],
        ["apps:destroy"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("remote", [False, True], ids=["here", "over ssh"])
def test_endless_input_is_refused_and_not_kept(
    platform: Platform,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    letter: bytes,
    remote: bool,
) -> None:
    if remote:
        monkeypatch.setenv("PAAS_SSH_PROOF", "bea")
    platform.answers["GET /apps/hello"] = {"name": "hello", "git_url": ""}
    source = Endless(letter)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8"))
    assert main.main(words) == 1
    assert " is larger than " in (told := capsys.readouterr().err) or " is longer than " in told
    assert source.taken < 256 * 1024
    assert [asked for asked in platform.asked if asked[0] != "GET"] == []


def test_an_app_is_named_by_argument_option_or_environment(platform: Platform, capsys: Captured) -> None:
    for name in ("hello", "other"):
        platform.answers[f"GET /apps/{name}/instances"] = {"instances": []}
        platform.answers[f"GET /apps/{name}/formation"] = {"formation": []}
        platform.answers[f"GET /apps/{name}"] = {"name": name, "git_url": ""}
        platform.answers[f"DELETE /apps/{name}"] = {"name": name, "destroyed": True}
        platform.answers[f"PATCH /apps/{name}"] = {"url": "", "git_url": ""}
    for words in (["ps"], ["ps", "other"], ["ps", "-a", "other"], ["ps", "other", "-a", "other"]):
        assert main.main(words) == 0
    assert [path for _, path, _ in platform.asked[::2]] == [
        "/apps/hello/instances",
        *["/apps/other/instances"] * 3,
    ]
    assert main.main(["ps", "other", "-a", "hello"]) == 2
    assert main.main(["apps:destroy", "other", "--confirm", "other"]) == 0
    assert main.main(["destroy", "other", "--confirm", "hello"]) == 1
    assert platform.asked[-2][:2] == ("DELETE", "/apps/other")
    for words, old in ((["new"], "hello"), (["other", "new"], "other"), (["new", "-a", "other"], "other")):
        assert main.main(["apps:rename", *words]) == 0
        assert platform.asked[-1] == ("PATCH", f"/apps/{old}", {"name": "new"})
    assert main.main(["apps:rename", "a", "b", "c"]) == 2
