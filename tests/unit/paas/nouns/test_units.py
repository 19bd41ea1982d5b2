"""Sizes and durations, as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paas.nouns import units


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("256M", 256 << 20),
        ("1.5G", 3 << 29),
        ("512MiB", 512 << 20),
        ("2 kb", 2048),
        (" 1T ", 1 << 40),
        ("0.999999K", 1023),
        ("999999999999999.999999T", ((10**21 - 1) << 40) // 10**6),
    ],
)
def test_a_size_is_read_in_powers_of_1024(text: str, size: int) -> None:
    assert units.read_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1e3", "1X", "0x10", "1,5G", "１M", "1 0"])
def test_what_is_no_size_is_none(text: str) -> None:
    assert units.read_size(text) is None


@given(st.integers(min_value=0, max_value=10**15 - 1))
def test_a_written_size_is_read_again(size: int) -> None:
    assert units.read_size(units.written_size(size)) == size


@given(st.integers(min_value=0, max_value=10**9 - 1))
def test_a_written_duration_is_read_again(seconds: int) -> None:
    assert units.read_duration(units.written_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1.5h", "5 m", "1w", "1M"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert units.read_duration(text) is None


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (1000, "1000 bytes"),
        (4000, "3.9 KiB"),
        (512 << 20, "512 MiB"),
        (int(61.5 * units.MIB), "61.5 MiB"),
        (16 << 30, "16.0 GiB"),
    ],
)
def test_memory_is_shown_in_powers_of_1024(size: int, shown: str) -> None:
    assert units.shown_memory(size) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (61_200_000, "61.2 MB"), (3e15, "3000.0 TB")],
)
def test_what_lies_on_disk_is_shown_in_powers_of_ten(size: float, shown: str) -> None:
    assert units.shown_size(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-1, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (86400 * 3, "3d")]
)
def test_a_rounded_duration_has_one_unit(seconds: float, shown: str) -> None:
    assert units.rounded_duration(seconds) == shown
