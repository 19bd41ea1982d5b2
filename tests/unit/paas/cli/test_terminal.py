"""What reaches a terminal: nobody's value moves the cursor there, colours only where they are wanted."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness.cli import Platform, lines

from paas.cli import main, output
from paas.cli.config import _shell_word
from paas.nouns.errors import DeployFailed
from paas.nouns.text import harmless, json_text, visible
from paas.receive.progress import Progress, failure

EVIL = "a\x1b[2Jb\x1b]0;title\x07c\rd\x9b1me\u202ef\x7fg\x00h\tö"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
Captured = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Both output streams become one terminal."""
    made = Terminal()
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return made


def evil(value: Any) -> Any:
    """The same shape with an evil text in each place of one."""
    if isinstance(value, dict):
        return {key: evil(item) for key, item in value.items()}
    if isinstance(value, list):
        return [evil(item) for item in value]
    return EVIL if isinstance(value, str) else value


LIMITS = {"memory_bytes": 1 << 29, "cpu_millis": 1000, "pids": 256}
INSTANCE = {
    "name": "", "kind": "process", "type": "", "state": "", "since": 0.0, "release": 1, "command": "",
    "limits": LIMITS, "restarts": 1, "cause": "",
}  # fmt: skip
RELEASE = {"version": "", "description": "", "actor": "", "state": "", "cause": "", "created_at": 0.0}
APP = {
    "id": "", "name": "", "owner": "", "url": "", "git_url": "", "stack": "", "release": 1, "deploy_branch": "",
    "domains": [""], "created_at": 0.0, "size_bytes": 1, "processes": [],
}  # fmt: skip
BUILD = {
    "number": 1,
    "commit": "",
    "actor": "",
    "status": "",
    "cause": "",
    "started_at": 0.0,
    "finished_at": None,
}
SHOWN: dict[str, dict[str, Any]] = {
    "apps": {"GET /apps": {"apps": [APP]}},
    "config": {"GET /apps/hello/config": {"vars": {"A": ""}}},
    "config -s": {"GET /apps/hello/config": {"vars": {"A": ""}}},
    "config:get A": {"GET /apps/hello/config": {"vars": {"A": ""}}},
    "config:set A=1": {"PATCH /apps/hello/config": lines("", release={"version": ""}, vars={"A": ""})},
    "ps": {"GET /apps/hello/instances": {"instances": [INSTANCE]}},
    "releases": {"GET /apps/hello/releases": {"releases": [RELEASE], "current": 1}},
    "builds": {"GET /apps/hello/builds": {"builds": [BUILD]}},
    "logs": {"GET /apps/hello/logs": [{"line": ""}]},
    "keys": {"GET /keys": {"keys": [{"user": "", "fingerprint": "", "type": "", "comment": ""}]}},
    "tokens": {"GET /tokens": {"tokens": [{"id": 1, "name": "", "user": "", "last_used_at": None}]}},
    "users": {"GET /users": {"users": [{"name": "", "role": ""}]}},
    "domains": {"GET /apps/hello/domains": {"own": "", "domains": [{"name": ""}]}},
}


@pytest.mark.parametrize("words", SHOWN)
def test_no_value_reaches_a_terminal_raw(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    platform.answers = {
        "GET /apps/hello/formation": {"formation": []},
        "GET /apps/hello": APP,
        **{asked: evil(answer) for asked, answer in SHOWN[words].items()},
    }
    terminal = at_terminal(monkeypatch)
    assert main.main(words.split()) == 0
    shown = re.sub(r"\x1b\[(?:\d\d?m|K)|\r(?=\x1b\[K)", "", terminal.getvalue())
    assert "ö" in shown
    assert CONTROL.findall(shown) == []


@pytest.mark.parametrize("words", [["ps"], ["ps", "--json"]], ids=" ".join)
def test_a_failure_reaches_a_terminal_without_control_characters(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    platform.answers["GET /apps/hello/instances"] = DeployFailed(EVIL, EVIL, cause=EVIL, lines=(EVIL,))
    terminal = at_terminal(monkeypatch)
    assert main.main(words) == 1
    assert CONTROL.findall(re.sub(r"\x1b\[\d\d?m", "", terminal.getvalue())) == []


def test_json_means_the_same_and_holds_no_control_character(platform: Platform, capsys: Captured) -> None:
    platform.answers["GET /apps/hello/config"] = {"vars": {"A": EVIL}}
    assert main.main(["config", "--json"]) == 0
    told = capsys.readouterr().out
    assert json.loads(told) == {"A": EVIL}
    assert CONTROL.findall(told) == [] and "ö" in told
    assert json_text('{"a": "ö\\n"}') == '{"a": "ö\\n"}'


@pytest.mark.parametrize("value", [EVIL, "it's\n\x1b\n", "\n", "", "plain", "ü \u202e'$(id)`id`\\"])
def test_what_a_shell_reads_is_exact_in_a_pipe_and_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, platform: Platform, capsys: Captured, value: str
) -> None:
    value = value.replace("\0", "")
    platform.answers["GET /apps/hello/config"] = {"vars": {"A": value}}
    main.main(["config:get", "A"])
    assert capsys.readouterr().out == value + "\n"
    main.main(["config", "-s"])
    piped = capsys.readouterr().out
    monkeypatch.setenv("PAAS_SSH_PROOF", "bea")
    main.main(["config", "-s"])
    seen = capsys.readouterr().out
    assert CONTROL.findall(seen) == [] and f"A={_shell_word(value)}\n" == seen
    for text in (piped, seen):
        done = subprocess.run(["sh", "-c", f'{text}\nprintf %s "$A"'], capture_output=True, check=True)
        assert done.stdout.decode() == value


def test_errors_are_red_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    terminal = at_terminal(monkeypatch)
    output.warn("no")
    assert terminal.getvalue() == "\x1b[31m !     no\x1b[0m\n"
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        terminal.truncate(0)
        terminal.seek(0)
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            output.warn("no")
            output.painted("head: ", "36", "message")
        assert terminal.getvalue() == " !     no\nhead: message\n"


def test_a_pusher_reads_no_control_character_of_anybody() -> None:
    said: list[bytes] = []
    Progress(said.append).say(f"       {EVIL}", *failure(DeployFailed(EVIL, EVIL, cause=EVIL, lines=(EVIL,))))
    assert len(said) >= 4
    assert CONTROL.findall(b"".join(said).decode()) == []


def test_an_operator_reads_no_control_character_in_the_log_of_a_daemon() -> None:
    code = "import logging; from paas.daemon.journal import log_to_stderr; log_to_stderr()\n"
    code += f"try: raise ValueError({EVIL!r})\nexcept ValueError: logging.exception({EVIL!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "root ERROR a\\x1b[2Jb" in done.stderr and "Traceback" in done.stderr
    assert CONTROL.findall(done.stderr) == []


def test_the_two_forms() -> None:
    assert visible("a\tb\nc\x1b[31m\u202e") == "a\tb\nc\\x1b[31m\\u202e"
    assert harmless("\x1b[31mred\x1b[0m\tand\nmore\r") == "red\tandmore"


def test_only_one_module_writes_to_the_terminal() -> None:
    """Every other one would have to remember who chose the text."""
    folder = Path(output.__file__).parent
    writing = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and re.fullmatch(
                r"print|click\.s?echo|sys\.(stdout|stderr)(\.buffer)?\.write(lines)?", ast.unparse(node.func)
            ):
                writing.add(path.name)
    assert writing == {"output.py", "reference.py"}
