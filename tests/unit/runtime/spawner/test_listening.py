"""Which sockets listen, read from what the kernel shows of a network namespace."""

from __future__ import annotations

from pathlib import Path

from runtime.spawner.listening import MOST_LINES, listening


def test_listening_sockets_are_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(
        "  sl  local_address rem_address   st tx_queue\n"
        "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1\n"
        "   1: 00000000:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1\n"
        "   2: 0200000A:1388 0300000A:A0B0 01 00000000:00000000 00:00000000 00000000  1000 0 1\n"
    )
    (tmp_path / "tcp6").write_text(
        "  sl  local_address rem_address\n"
        "   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0 0 0 0 0 1\n"
    )
    assert listening(tmp_path) == [
        {"address": "0.0.0.0", "port": 5000}, {"address": "127.0.0.1", "port": 8000}, {"address": "::1", "port": 80},
    ]  # fmt: skip


def test_an_instance_with_very_many_sockets_costs_a_bounded_read(tmp_path: Path) -> None:
    line = "   0: 0100007F:{:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1\n"
    (tmp_path / "tcp").write_text("  sl\n" + "".join(line.format(port) for port in range(1, 60_000)))
    assert len(listening(tmp_path)) == MOST_LINES - 1


def test_no_proc_files_no_sockets(tmp_path: Path) -> None:
    assert listening(tmp_path) == []
