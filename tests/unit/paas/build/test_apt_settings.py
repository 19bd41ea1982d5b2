"""What of the machine's apt settings gets to builds, and what stays."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from paas.build import apt_settings
from runtime.home import Layout
from runtime.stack import debian

SETTINGS = """Acquire::http::Proxy "http://user:pw@proxy.example:3128";
Acquire::https::Proxy "http://proxy.example:3128";
Acquire::http::Proxy-Auto-Detect "/usr/bin/auto";
Acquire::https::CaInfo "{ca}";
Dir::Etc::netrc "/etc/apt/auth.conf";
"""
SOURCES = (
    "deb https://me:secret@mirror.example/debian bookworm main",
    "deb [trusted=yes] https://mirror.example/debian bookworm-updates main",
    "deb file:/srv/debian bookworm main",
)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    (tmp_path / "own.pem").write_text("own")
    etc = tmp_path / "etc"
    (etc / "auth.conf.d").mkdir(parents=True)
    (etc / "auth.conf").write_text("machine mirror.example login me password secret\n")

    def read_apt(suite: str, folder: Path) -> debian.Apt:
        (folder / "keyrings").mkdir()
        (folder / "keyrings" / "key.gpg").write_bytes(b"key")
        settings = folder / "apt.conf"
        settings.write_text(SETTINGS.format(ca=tmp_path / "own.pem"))
        return debian.Apt(SOURCES, folder / "keyrings", settings)

    monkeypatch.setattr(debian, "read_apt", read_apt)
    monkeypatch.setattr(debian, "ETC_APT", etc)
    monkeypatch.setattr(Layout, "run", tmp_path / "run")
    (tmp_path / "run").mkdir()
    return Layout(tmp_path / "home", tmp_path / "stacks", "abcdef")


def test_credentials_stay_on_the_machine_and_the_rest_is_rewritten_for_the_inside(layout: Layout) -> None:
    for _ in range(2):
        sources, withheld = apt_settings.publish(layout, ca_bundle="", share_credentials=False)
    folder = apt_settings.folder(layout) / "debian-12"
    assert sources["debian-12"] == [SOURCES[1]] == (folder / "sources.list").read_text().splitlines()
    assert withheld == [
        "apt's source https://***@mirror.example/debian carries credentials and is not given to builds",
        "apt's source file:/srv/debian is on this machine and is not given to builds",
        "apt's auth.conf is not given to builds",
    ]
    text = (folder / "apt.conf").read_text()
    assert 'Acquire::https::Proxy "http://proxy.example:3128";' in text
    assert "user:pw" not in text and "auto" not in text and "netrc" not in text
    assert 'Acquire::https::CaInfo "/run/apt/ca.crt";' in text and (folder / "ca.crt").read_text() == "own"
    assert not (folder / "auth.conf").exists()
    assert stat.S_IMODE(apt_settings.folder(layout).stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "keyrings" / "key.gpg").stat().st_mode) == 0o644


def test_an_operator_may_share_them(layout: Layout) -> None:
    sources, withheld = apt_settings.publish(layout, ca_bundle="", share_credentials=True)
    folder = apt_settings.folder(layout) / "debian-12"
    assert sources["debian-12"] == [*SOURCES[:2]] and len(withheld) == 1
    assert "user:pw" in (folder / "apt.conf").read_text()
    assert 'Dir::Etc::netrc "/run/apt/auth.conf";' in (folder / "apt.conf").read_text()
    assert "secret" in (folder / "auth.conf").read_text()


def test_without_apt_there_are_no_settings(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_apt(suite: str, folder: Path) -> debian.Apt:
        raise debian.StackError("apt-get is not installed")

    monkeypatch.setattr(debian, "read_apt", read_apt)
    assert apt_settings.publish(layout, ca_bundle="", share_credentials=False) == ({}, [])
    assert list(apt_settings.folder(layout).iterdir()) == []
