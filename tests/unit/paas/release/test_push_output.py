"""What a push prints goes to the pusher and to the log."""

from __future__ import annotations

import io

from paas.nouns.errors import BuildFailed
from paas.release.push_output import PushOutput


def test_lines_go_to_the_pusher_and_the_log() -> None:
    heard: list[str] = []
    log = io.StringIO()
    said = PushOutput(heard.append, log)
    said.line("-----> One")
    said.warning("two")
    said.failure(BuildFailed("it broke", "mend it", cause="out of memory"))
    assert heard == ["-----> One", " !     two"]
    assert log.getvalue() == "-----> One\n !     two\n !     out of memory: it broke\n !     mend it\n"
