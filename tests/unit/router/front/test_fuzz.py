"""Mutations of the corpus: whatever comes in, only clean requests go out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness.fuzz import Broken, check_backend, fuzz


@pytest.mark.parametrize("seed", range(4))
def test_only_clean_requests_go_out(seed: int) -> None:
    assert fuzz(seed, cases=250) == 250


@pytest.mark.long
def test_only_clean_requests_go_out_for_a_minute() -> None:
    assert fuzz(2026, seconds=60) > 1000


@pytest.mark.long
def test_the_parsers_and_a_second_reading_agree_for_a_minute(tmp_path: Path) -> None:
    target = Path(__file__).resolve().parents[3] / "fuzz" / "http_parsers.py"
    argv = [sys.executable, str(target), "--seconds", "60", str(tmp_path)]
    done = subprocess.run(argv, env=os.environ | {"ROUTER_CORE": "pure"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done " in done.stderr


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ],
)
def test_the_check_itself_finds_what_is_wrong(request_bytes: bytes) -> None:
    with pytest.raises(Broken):
        check_backend(request_bytes)
