"""What a job in a child of the spawner answers, whatever becomes of the child."""

from __future__ import annotations

import os
import threading
from typing import Any

from runtime import frames
from runtime.client import SpawnerError
from runtime.reactor import Reactor
from runtime.spawner.jobs import Jobs


class TestJobs:
    def answer(self, work: Any, timeout_s: float = 20.0) -> dict[str, Any]:
        reactor, answers = Reactor(), []
        Jobs(reactor).start("the job", work, answers.append, timeout_s=timeout_s)
        while not answers:
            reactor.turn()
        found: dict[str, Any] = answers[0]
        return found

    def test_what_a_job_returns_is_its_answer(self) -> None:
        assert self.answer(lambda: {"files": 3}) == {"ok": True, "files": 3}

    def test_a_long_answer_arrives_whole(self) -> None:
        assert self.answer(lambda: {"text": "x" * 5_000_000})["text"] == "x" * 5_000_000

    def test_one_that_is_longer_than_a_message_is_refused_by_its_length(self) -> None:
        error = self.answer(lambda: {"text": "x" * frames.MAX_JSON_BYTES})["error"]
        assert (error["code"], "the answer of the job is longer" in error["message"]) == ("too_long", True)

    def test_what_it_raises_is_a_refusal(self) -> None:
        def work() -> dict[str, Any]:
            raise SpawnerError("no_space", "the disk is full", "free some")

        assert self.answer(work) == {
            "ok": False,
            "error": {"code": "no_space", "message": "the disk is full", "hint": "free some"},
        }

    def test_a_killed_job_says_so(self) -> None:
        answer = self.answer(lambda: os.kill(os.getpid(), 9))
        assert answer["error"]["message"] == "the job was killed by signal 9 before it had an answer"

    def test_a_job_that_takes_too_long_is_ended(self) -> None:
        answer = self.answer(lambda: threading.Event().wait(60), timeout_s=0.05)
        assert answer["error"]["code"] == "timed_out"

    def test_a_job_inherits_no_descriptor(self) -> None:
        read, write = os.pipe()
        os.set_inheritable(write, True)

        def work() -> dict[str, Any]:
            return {
                "fds": sorted(
                    int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
                )
            }

        assert write not in self.answer(work)["fds"]
        os.close(read)
        os.close(write)
