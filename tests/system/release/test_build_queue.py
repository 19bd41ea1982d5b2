"""Builds that wait for others, and builds that a member cancels, as the pusher and `paas builds` see them."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest
from harness.platform import Platform, wait_for
from harness.pushes import Push


@pytest.mark.long
def test_builds_wait_in_order_show_their_place_and_are_cancelled_by_name(platform: Platform) -> None:
    cores = os.cpu_count() or 1
    names = [f"queue{number}" for number in range(cores + 2)]

    def outcome(name: str) -> str:
        return platform.paas("builds", "-a", name).stdout.splitlines()[-1]

    with ExitStack() as left:
        for name in names:
            platform.paas("create", name, "--no-remote")
            left.callback(platform.paas, "destroy", name, "--confirm", name)
            platform.paas("config:set", "NAP=600", "-a", name)
        running = [Push(platform, name) for name in names[:cores]]
        for push in running:
            push.wait_for_line("building")
        following = [Push(platform, names[cores])]
        following[0].wait_for_line("Waiting for a build slot: you are next")
        following.append(Push(platform, names[cores + 1]))
        following[1].wait_for_line("Waiting for a build slot: 1 ahead of you")
        assert "building" in outcome(names[0])
        assert "waiting for a build slot: next" in outcome(names[cores])
        assert platform.json("builds", "-a", names[cores + 1])[0]["waiting_for"] == "a build slot: 1 ahead"

        platform.paas("builds:cancel", "-a", names[cores + 1])  # one that waits
        platform.paas("builds:cancel", "1", "-a", names[0])  # one that runs
        for push in (running[0], following[1]):
            assert push.end() == 1
            assert "!     Cancelled by root: build 1 ended" in push.text.replace("\n", "")
        following[0].wait_for_line("building")
        wait_for(lambda: "cancelled by root" in outcome(names[0]))

        again = platform.paas("builds:cancel", "1", "-a", names[0], check=False)
        assert again.returncode == 1 and "has ended: cancelled" in again.stderr
        for name, push in zip(names[1 : cores + 1], [*running[1:], following[0]], strict=True):
            platform.paas("builds:cancel", "-a", name)
            assert push.end() == 1
