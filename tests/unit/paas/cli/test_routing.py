"""The words that set how requests are treated: what they ask of the API, what people read."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from paas.cli import main
from paas.cli import routing as words

Captured = pytest.CaptureFixture[str]
EMPTY: dict[str, Any] = {"settings": {}, "users": [], "pages": []}


class Platform:
    """Stands in for `Client`: keeps what was asked, answers with what a test says is set."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.app: dict[str, Any] = dict(EMPTY)
        self.domains: dict[str, Any] = {}
        self.applied = True

    def get(self, path: str) -> Any:
        if path.endswith("/domains"):
            return {"own": "hello.localhost", "domains": [{"name": "www.b.test"}, {"name": "www.b.test/Api"}]}
        if path.endswith("/certs"):
            return {"certificates": [{"hosts": ["hello.localhost"]}]}
        return {"routing": {"app": self.app, "domains": self.domains}}

    def patch(self, path: str, body: Any) -> Any:
        assert path == "/apps/hello/routing"
        self.asked.append(body)
        return {**self.get(path), "applied": self.applied}


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform()
    monkeypatch.setattr(words, "client", lambda: made)
    monkeypatch.setenv("PAAS_APP", "hello")
    monkeypatch.delenv("PAAS_SSH_PROOF", raising=False)
    return made


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("maintenance:on", {"set": {"maintenance": "on"}}),
        ("maintenance:off", {"unset": ["maintenance"]}),
        ("resume", {"unset": ["pause"]}),
        ("router:unset queue compress queue", {"unset": ["queue", "compress"]}),
        ("router:unset queue --domain www.a.test", {"unset": ["queue"], "domain": "www.a.test"}),
        ("auth:remove ann", {"auth": {"remove": ["ann"]}}),
        ("allow:add 10.0.0.0/8 ::1", {"allow": {"add": ["10.0.0.0/8", "::1"]}}),
        ("allow:remove ::1 --domain www.a.test", {"allow": {"remove": ["::1"]}, "domain": "www.a.test"}),
        ("errors:unset 503 H80", {"pages": {"remove": ["503", "H80"]}}),
    ],
)
def test_each_word_asks_for_one_change(platform: Platform, capsys: Captured, line: str, body: Any) -> None:
    assert main.main(line.split()) == 0
    assert platform.asked == [body]
    told = capsys.readouterr()
    assert told.out == "" and "... done\n" in told.err


def test_pause_says_what_happens_to_those_who_wait_too_long(platform: Platform, capsys: Captured) -> None:
    platform.app = {**EMPTY, "settings": {"pause": "2m"}}
    assert main.main(["pause", "--for", "2m"]) == 0
    assert platform.asked == [{"set": {"pause": "2m"}}]
    assert (
        "Requests wait up to 2m, then get 503 (H11). Go on with: paas resume -a hello"
        in capsys.readouterr().err
    )


def test_router_set_prints_what_can_be_passed_back(platform: Platform, capsys: Captured) -> None:
    platform.domains = {
        "www.a.test": {**EMPTY, "settings": {"body-limit": "10M", "compress": "on", "queue": "1"}}
    }
    line = ["router:set", "body-limit=10m", "compress=yes", "--domain", "WWW.a.test"]
    assert main.main(line) == 0
    assert platform.asked == [{"set": {"body-limit": "10m", "compress": "yes"}, "domain": "WWW.a.test"}]
    assert capsys.readouterr().out == "body-limit: 10M\ncompress:   on\n"


def test_a_redirect_to_where_no_certificate_is_is_told(platform: Platform, capsys: Captured) -> None:
    platform.app = {**EMPTY, "settings": {"https-redirect": "on"}}
    assert main.main(["router:set", "https-redirect=on"]) == 0
    assert " !     No certificate answers for www.b.test, " in capsys.readouterr().err


@pytest.mark.parametrize(("line", "status"), [(["compress"], 2), (["queue=1", "queue=2"], 1)])
def test_words_that_are_no_settings_are_refused_before_anything_is_asked(
    platform: Platform, capsys: Captured, line: list[str], status: int
) -> None:
    assert main.main(["router:set", *line]) == status
    assert platform.asked == [] and " !     " in capsys.readouterr().err


def test_an_answer_that_comes_before_the_routers_says_so(platform: Platform, capsys: Captured) -> None:
    platform.applied = False
    assert main.main(["maintenance:on"]) == 0
    assert "done; the router's workers will have it in a moment" in capsys.readouterr().err


def test_settings_are_listed_with_their_defaults_and_by_domain(platform: Platform, capsys: Captured) -> None:
    platform.app = {**EMPTY, "settings": {"queue": "5"}}
    platform.domains = {"www.a.test": {**EMPTY, "settings": {"compress": "on"}}}
    assert main.main(["router:settings"]) == 0
    shown = capsys.readouterr().out
    assert "queue:              5\n" in shown and "queue-timeout:      30s (default)\n" in shown
    assert shown.endswith("=== www.a.test only\ncompress: on\n")


@pytest.mark.parametrize("word", ["router:settings", "auth", "allow", "errors"])
def test_a_domain_that_the_app_does_not_have_is_no_empty_list(
    platform: Platform, capsys: Captured, word: str
) -> None:
    assert main.main([word, "--domain", "www.c.test"]) == 1
    told = capsys.readouterr()
    assert told.out == "" and "hello has no domain www.c.test." in told.err
    assert main.main([word, "--domain", "WWW.b.test"]) == 0
    assert main.main([word, "--domain", "WWW.b.test/Api"]) == 0
    assert main.main([word, "--domain", "www.b.test/api"]) == 1


def test_a_password_comes_from_standard_input(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(" pass word \r\nmore\n"))
    assert main.main(["auth:add", "ann"]) == 0
    assert platform.asked == [{"auth": {"set": {"ann": " pass word "}}}]


def test_the_last_user_and_the_last_network_are_said_to_be_the_last(
    platform: Platform, capsys: Captured
) -> None:
    for line in (["auth:remove", "ann"], ["allow:remove", "::1"]):
        assert main.main(line) == 0
        assert "everybody may ask" in capsys.readouterr().err
    platform.app = {**EMPTY, "users": ["bob"], "settings": {"allow": "10.0.0.0/8"}}
    for line in (["auth:remove", "ann"], ["allow:remove", "::1"]):
        assert main.main(line) == 0
        assert "everybody" not in capsys.readouterr().err


def test_lists_are_printed_a_line_each(platform: Platform, capsys: Captured) -> None:
    platform.app = {"settings": {"allow": "10.0.0.0/8,::1/128"}, "users": ["ann"], "pages": ["503"]}
    for word, shown in (("auth", "ann\n"), ("allow", "10.0.0.0/8\n::1/128\n"), ("errors", "503\n")):
        assert main.main([word]) == 0
        assert capsys.readouterr().out.endswith(f"\n{shown}")


def test_a_page_is_read_whole_and_must_fit(platform: Platform, capsys: Captured, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<h1>ε")
    assert main.main(["errors:set", "503", str(page)]) == 0
    assert platform.asked == [{"pages": {"set": {"503": "<h1>ε"}}}]
    for data in (b"", b"x" * 65537, b"\xff"):
        page.write_bytes(data)
        assert main.main(["errors:set", "503", str(page)]) == 1
    assert main.main(["errors:set", "503", str(tmp_path)]) == 1
    assert len(platform.asked) == 1 and "Internal" not in capsys.readouterr().err


def test_over_ssh_no_file_of_the_server_is_read(
    platform: Platform, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAAS_SSH_PROOF", "ann")
    assert main.main(["errors:set", "503", "/etc/hostname"]) == 1
    assert platform.asked == [] and "standard input" in capsys.readouterr().err
