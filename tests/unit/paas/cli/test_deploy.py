"""`paas deploy`: what is sent, and what is said when nothing can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.cli import Platform, lines, typed

from paas.cli import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def sent(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []

    def upload(self: Any, path: str, file: Any, **query: object) -> Any:
        found.append((path, file.read(), query))
        return iter(lines("-----> Building", release=3, build=1, image="sha256:1"))

    monkeypatch.setattr(Platform, "upload", upload, raising=False)
    return found


def test_a_file_is_sent_under_its_name(sent: list[Any], capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "app.tgz").write_bytes(b"bytes")
    assert main.main(["deploy", "--archive", str(tmp_path / "app.tgz")]) == 0
    assert sent == [("/apps/hello/deploy/archive", b"bytes", {"name": "app.tgz"})]
    assert "done, v3" in capsys.readouterr().err


def test_standard_input_is_sent(sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", typed("bytes"))
    assert main.main(["deploy", "hello", "--archive", "-"]) == 0
    assert sent == [("/apps/hello/deploy/archive", b"bytes", {"name": "standard input"})]


def test_what_cannot_be_sent_is_said(
    sent: list[Any], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main.main(["deploy"]) == 1
    assert "git push paas main" in capsys.readouterr().err
    assert main.main(["deploy", "--archive", "/nowhere.tgz"]) == 1
    assert "/nowhere.tgz cannot be read" in capsys.readouterr().err
    monkeypatch.setenv("PAAS_SSH_PROOF", "x")
    assert main.main(["deploy", "--archive", "/etc/passwd"]) == 1
    assert "read from standard input" in capsys.readouterr().err
    assert main.main(["deploy", "--archive", "-", "--from-git", "https://host/app"]) == 2
    assert main.main(["deploy", "--from-git", "ssh://bot:s3cret@host/app"]) == 1
    assert "s3cret" not in capsys.readouterr().err
    assert sent == []


def test_a_repository_is_named_without_its_login(platform: Platform, capsys: Captured) -> None:
    platform.answers["POST /apps/hello/deploy/git"] = lines("-----> Building", release=3, build=1, image="x")
    url = "https://bot:s3cret@host/app.git#main"
    assert main.main(["deploy", "--from-git", url]) == 0
    assert platform.asked == [("POST", "/apps/hello/deploy/git", {"url": url})]
    told = capsys.readouterr().err
    assert "Deploying https://host/app.git#main to hello... done, v3" in told and "s3cret" not in told
