"""What is said to words that are no commands: the right way here, and never a guess that could do harm."""

from __future__ import annotations

import re

import pytest

from paas.cli.main import MODULES, UnknownCommand
from paas.cli.words import FOREIGN, READING, nearest

COMMANDS = {name for names in MODULES.values() for name in names}


def test_the_tables_speak_of_commands_that_exist() -> None:
    assert READING <= COMMANDS
    assert set(FOREIGN) & COMMANDS == set()
    told = {
        word
        for text in FOREIGN.values()
        for word in re.findall(r"(?<!push )paas ([a-z:]+[a-z])\b(?!://)", text)
    }
    assert len(told) > 20 and told <= COMMANDS


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("addons", "no add-ons"),
        ("addons:create", "no add-ons"),
        ("pg", "no add-ons"),
        ("pg:stop", "no add-ons"),
        ("redis:destroy", "no add-ons"),
        ("enter", "paas run"),
        ("storage:mount", "no storage"),
        ("cron:list", "by the clock"),
        ("depoy", "deploy"),
        ("redeploy", "git push paas main"),
        ("push", "git push paas main"),
        ("top", "router:top"),
        ("ps:top", "ps --stats"),
        ("stop", "ps:stop"),
        ("release:info", "releases:info"),
        ("app:info", "apps:info"),
        ("domain:add", "domains:add"),
        ("confg:set", "config:set"),
        ("config:ste", "config:set"),
        ("destory", "destroy"),
        ("apps:destory", "apps:destroy"),
        ("users:ad", "users:add"),
        ("domain", "domains"),
        ("whoiam", "whoami"),
        ("qqqq", "paas help"),
    ],
)
def test_a_word_from_elsewhere_gets_the_answer_of_here(word: str, said: str) -> None:
    assert said in UnknownCommand(word).hint


@pytest.mark.parametrize(
    "word",
    [
        "deployed", "destruct", "top", "stops", "storm", "login:remove", "keys:rotate", "keys:show",
        "certs:renew", "domains:remake", "tokens:review", "allow:remind", "restore", "run:stop", "errors:send",
    ],
)  # fmt: skip
def test_what_is_not_a_slip_of_the_finger_is_not_answered_with_what_changes(word: str) -> None:
    assert nearest(word, COMMANDS) in READING | {None}


@pytest.mark.parametrize("name", sorted(COMMANDS - READING))
def test_a_slip_of_the_finger_finds_the_command_again(name: str) -> None:
    """A letter doubled in the longest word of the name."""
    longest = max(name.split(":"), key=len)
    at = name.index(longest) + len(longest) // 2
    assert nearest(name[:at] + name[at] + name[at:], COMMANDS) == name
