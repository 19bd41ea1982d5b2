"""Each home has ids and addresses of its own, and keeps them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from runtime.home import Layout
from runtime.spawner import idblocks
from runtime.spawner.idblocks import ID_COUNT, BlockError, claim, networks, release


def home(folder: Path, home_id: str, name: str = "") -> Layout:
    path = folder / (name or home_id)
    path.mkdir(exist_ok=True)
    (path / "id").write_text(home_id + "\n")
    return Layout(path, folder / "stacks", home_id)


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(idblocks, "SUBORDINATE", (tmp_path / "subuid",))
    return tmp_path / "register"


def test_homes_share_nothing_and_keep_what_they_have(tmp_path: Path, register: Path) -> None:
    first = claim(home(tmp_path, "aaaaaa"), register=register)
    second = claim(home(tmp_path, "bbbbbb"), register=register)
    assert first.id_base == 1 << 29
    assert second.id_base == (1 << 29) + ID_COUNT
    assert first.network == IPv4Network("10.192.0.0/20")
    assert second.network == IPv4Network("10.192.16.0/20")
    assert claim(home(tmp_path, "aaaaaa"), register=register) == first
    assert networks(register=register) == [first.network, second.network]
    (tmp_path / "aaaaaa" / "id").unlink()
    assert networks(register=register) == [second.network]


def test_many_at_once_get_different_blocks(tmp_path: Path, register: Path) -> None:
    layouts = [home(tmp_path, f"{n:06x}") for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda layout: claim(layout, register=register), layouts))
    assert len({block.id_base for block in taken}) == len({block.network for block in taken}) == 16


def test_routes_and_subordinate_ids_in_use_are_passed_over(tmp_path: Path, register: Path) -> None:
    (tmp_path / "subuid").write_text(f"joe:100000:65536\nann:{(1 << 29) + 5}:10\nbad line\n")
    routes = [IPv4Network("0.0.0.0/0"), IPv4Network("10.192.0.0/19"), IPv4Network("10.192.40.3/32")]
    block = claim(home(tmp_path, "aaaaaa"), register=register, routes=routes)
    assert block.id_base == (1 << 29) + ID_COUNT
    assert block.network == IPv4Network("10.192.48.0/20")


def test_its_own_routes_do_not_drive_a_home_away(tmp_path: Path, register: Path) -> None:
    block = claim(home(tmp_path, "aaaaaa"), register=register)
    assert claim(home(tmp_path, "aaaaaa"), register=register, routes=[block.network]) == block


def test_a_moved_home_keeps_its_blocks(tmp_path: Path, register: Path) -> None:
    block = claim(home(tmp_path, "aaaaaa", "old"), register=register)
    (tmp_path / "old").rename(tmp_path / "new")
    assert claim(home(tmp_path, "aaaaaa", "new"), register=register) == block


def test_a_copied_home_is_refused(tmp_path: Path, register: Path) -> None:
    claim(home(tmp_path, "aaaaaa", "old"), register=register)
    with pytest.raises(BlockError, match="copied home"):
        claim(home(tmp_path, "aaaaaa", "copy"), register=register)


def test_a_home_under_another_name_is_no_copy(tmp_path: Path, register: Path) -> None:
    block = claim(home(tmp_path, "aaaaaa", "real"), register=register)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert claim(Layout(tmp_path / "link", tmp_path, "aaaaaa"), register=register) == block


def test_a_new_home_in_the_place_of_an_old_one_takes_over(tmp_path: Path, register: Path) -> None:
    claim(home(tmp_path, "aaaaaa", "place"), register=register)
    claim(home(tmp_path, "bbbbbb", "place"), register=register)
    stored = json.loads((register / "blocks.json").read_text())["blocks"]
    assert [item["id"] for item in stored] == ["bbbbbb"]


def test_blocks_of_missing_homes_are_reused_last(tmp_path: Path, register: Path) -> None:
    count = len(idblocks._ID_BASES)
    gone = home(tmp_path, "000000")
    claim(gone, register=register)
    (gone.home / "id").unlink()
    taken = [claim(home(tmp_path, f"{n:06x}"), register=register).id_base for n in range(1, count)]
    assert 1 << 29 not in taken
    assert claim(home(tmp_path, "ffffff"), register=register).id_base == 1 << 29
    with pytest.raises(BlockError, match="user ids"):
        claim(home(tmp_path, "eeeeee"), register=register)
    release(home(tmp_path, "ffffff"), register=register)
    assert claim(home(tmp_path, "eeeeee"), register=register).id_base == 1 << 29


def test_a_damaged_register_is_not_overwritten(tmp_path: Path, register: Path) -> None:
    register.mkdir()
    (register / "blocks.json").write_text("{")
    with pytest.raises(BlockError, match="damaged"):
        claim(home(tmp_path, "aaaaaa"), register=register)
    assert (register / "blocks.json").read_text() == "{"


def test_the_register_is_readable_by_all_and_written_by_root(tmp_path: Path, register: Path) -> None:
    claim(home(tmp_path, "aaaaaa"), register=register)
    assert (register / "blocks.json").stat().st_mode & 0o777 == 0o644
