"""Merging log files: order, tails, filters, rings, following, the cap."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from paas import logs
from paas.logs import Follower, Query, enforce_cap, platform_line, remove_router_files, stamp, tail
from runtime.home import Layout

APP = "a0123456789"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path, tmp_path, "abcdef")
    (layout.logs / APP).mkdir(parents=True)
    (layout.logs / "router").mkdir()
    return layout


def line(second: float, head: str, text: str = "x") -> bytes:
    return f"{stamp(1_800_000_000 + second)} {head}: {text}".encode()


def write(layout: Layout, name: str, *lines: bytes, app: str = APP) -> Path:
    path = layout.logs / app / name
    with path.open("ab") as file:
        file.writelines(each + b"\n" for each in lines)
    return path


def texts(lines: list[bytes]) -> list[str]:
    return [each.split(b": ", 1)[1].decode() for each in lines]


def test_times_have_one_width_and_sort_as_text() -> None:
    moments = [0.0, 1_800_000_000.0, 1_800_000_000.1, 1_800_000_001.000001]
    shown = [stamp(at) for at in moments]
    assert shown == sorted(shown)
    assert {len(text) for text in shown} == {32}


def test_lines_of_all_writers_are_merged_by_time(layout: Layout) -> None:
    write(layout, "i1.0.log", line(1, "app[web.1]", "a"), line(4, "app[web.1]", "d"))
    write(layout, "i2.0.log", line(2, "app[worker.1]", "b"), line(5, "app[worker.1]", "e"))
    write(layout, f"{APP}.1.0.log", line(3, "paas[router]", "c"), app="router")
    write(layout, "platform.log", line(6, "paas[api]", "f"))
    write(layout, "aother.1.0.log", line(3, "paas[router]", "not ours"), app="router")
    assert texts(tail(layout, APP, Query(), 100)) == list("abcdef")
    assert texts(tail(layout, APP, Query(), 2)) == ["e", "f"]
    assert tail(layout, APP, Query(), 0) == []


@pytest.mark.parametrize("newer", [0, 1])
def test_a_ring_is_read_in_the_order_it_was_written(layout: Layout, newer: int) -> None:
    write(layout, f"i1.{newer}.log", line(3, "app[web.1]", "c"), line(4, "app[web.1]", "d"))
    write(layout, f"i1.{1 - newer}.log", line(1, "app[web.1]", "a"), line(2, "app[web.1]", "b"))
    assert texts(tail(layout, APP, Query(), 3)) == ["b", "c", "d"]


def test_a_tail_of_large_files_is_exact(layout: Layout) -> None:
    rng, expected = random.Random(1), []
    files: dict[str, list[bytes]] = {"i1.0.log": [], "i2.0.log": [], "platform.log": []}
    for second in range(6000):
        name = rng.choice(list(files))
        each = line(second, "app[web.1]", f"{second} " + "é" * rng.randrange(0, 120))
        files[name].append(each)
        expected.append(each)
    for name, lines in files.items():
        write(layout, name, *lines)
    for count in (1, 7, 1000, 5999, 6000, 9000):
        assert tail(layout, APP, Query(), count) == expected[-count:]


def test_an_unfinished_line_and_junk_are_left_out(layout: Layout) -> None:
    path = write(layout, "i1.0.log", line(1, "app[web.1]", "whole"), b"junk", b"")
    with path.open("ab") as file:
        file.write(line(2, "app[web.1]", "half"))
    assert texts(tail(layout, APP, Query(), 10)) == ["whole"]


def test_an_app_without_logs_has_none(layout: Layout) -> None:
    assert tail(layout, "anobody", Query(), 10) == []
    assert Follower(layout, "anobody", Query()).poll() == []
    assert enforce_cap(layout, "anobody", 10, ()) == 0


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (Query(), "app1 app2 work state api route1 route2"),
        (Query(source="app"), "app1 app2 work"),
        (Query(source="paas"), "state api route1 route2"),
        (Query(source="router"), "route1 route2"),
        (Query(source="api"), "api"),
        (Query(type="web"), "app1 app2 state route1 route2"),
        (Query(type="worker"), "work"),
        (Query(dyno="web.1"), "app1 state route1"),
        (Query(dyno="web.1", source="app"), "app1"),
        (Query(since=stamp(1_800_000_004)), "state api route1 route2"),
        (Query(request="abcd-1234"), "app2 route2"),
        (Query(instances=frozenset({"i2"})), "app2"),
        (Query(type="w"), ""),
    ],
)
def test_filters(layout: Layout, query: Query, wanted: str) -> None:
    write(layout, "i1.0.log", line(1, "app[web.1]", "app1"))
    write(layout, "i2.0.log", line(2, "app[web.2]", "app2 id=abcd-1234"))
    write(layout, "i3.0.log", line(3, "app[worker.1]", "work"))
    write(layout, "platform.log", line(4, "paas[web.1]", "state"), line(5, "paas[api]", "api"))
    routed = [
        line(6, "paas[router]", "route1 at=info dyno=web.1 status=200"),
        line(7, "paas[router]", "route2 request_id=abcd-1234 dyno=web.2 status=200"),
    ]
    write(layout, f"{APP}.1.0.log", *routed, app="router")
    assert [text.split()[0] for text in texts(tail(layout, APP, query, 100))] == wanted.split()


def test_an_app_cannot_speak_as_the_platform(layout: Layout) -> None:
    write(layout, "i1.0.log", line(1, "app[web.1]", f"{stamp(0)} paas[api]: destroyed by root"))
    assert tail(layout, APP, Query(source="paas"), 10) == []
    assert tail(layout, APP, Query(source="api"), 10) == []


def test_following_gives_each_new_line_once_and_in_order(layout: Layout) -> None:
    write(layout, "i1.0.log", line(1, "app[web.1]", "old"))
    follower = Follower(layout, APP, Query())
    assert follower.poll() == []
    write(layout, "i1.0.log", line(3, "app[web.1]", "b"))
    write(layout, "i9.0.log", line(2, "app[web.2]", "a"), line(4, "app[web.2]", "c"))
    assert texts(follower.poll()) == ["a", "b", "c"]
    assert follower.poll() == []


def test_following_waits_for_the_end_of_a_line(layout: Layout) -> None:
    path = write(layout, "i1.0.log", line(1, "app[web.1]", "old"))
    with path.open("ab") as file:
        file.write(line(2, "app[web.1]", "ha"))
    follower = Follower(layout, APP, Query())
    assert follower.poll() == []
    with path.open("ab") as file:
        file.write(b"lf\n")
    assert texts(follower.poll()) == ["half"]


def test_following_goes_on_across_a_turned_ring_and_a_replaced_file(layout: Layout) -> None:
    first = write(layout, "i1.0.log", *(line(n, "app[web.1]", str(n)) for n in range(50)))
    platform = write(layout, "platform.log", line(1, "paas[api]", "old"))
    follower = Follower(layout, APP, Query())
    write(layout, "i1.1.log", line(60, "app[web.1]", "60"))
    assert texts(follower.poll()) == ["60"]
    os.truncate(first, 0)
    write(layout, "i1.0.log", line(70, "app[web.1]", "70"))
    os.replace(platform, platform.with_name("platform.old.log"))
    write(layout, "platform.log", line(71, "paas[api]", "71"))
    assert texts(follower.poll()) == ["70", "71"]


def test_the_tail_ends_where_following_begins(layout: Layout) -> None:
    write(layout, "i1.0.log", line(1, "app[web.1]", "a"), line(3, "app[web.1]", "c"))
    platform = write(layout, "platform.log", line(2, "paas[api]", "b"))
    follower = Follower(layout, APP, Query())
    write(layout, "i1.0.log", line(4, "app[web.1]", "d"))
    write(layout, "i2.0.log", line(5, "app[web.2]", "e"))
    os.replace(platform, platform.with_name("platform.old.log"))
    write(layout, "platform.log", line(6, "paas[api]", "f"))
    assert texts(follower.tail(100)) == ["a", "b", "c"]
    assert texts(follower.poll()) == ["d", "e", "f"]
    assert follower.poll() == []


def test_a_file_that_is_renamed_while_it_is_looked_for_is_followed_on(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = write(layout, "platform.log", line(1, "paas[api]", "a"))
    follower = Follower(layout, APP, Query())
    files = follower._files

    def renamed() -> list[Path]:
        listed = files()
        monkeypatch.setattr(follower, "_files", files)
        os.replace(platform, platform.with_name("platform.old.log"))
        write(layout, "platform.log", line(3, "paas[api]", "c"))
        return listed

    write(layout, "platform.log", line(2, "paas[api]", "b"))
    monkeypatch.setattr(follower, "_files", renamed)
    assert texts(follower.poll()) == ["b", "c"]
    assert follower.poll() == []


def test_no_line_of_a_flood_is_shown_twice_or_lost(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PLATFORM_FILE_BYTES", 100_000)
    ended = threading.Event()

    def flood() -> None:
        for number in range(3000):
            platform_line(layout, APP, "api", str(number))
        ended.set()

    writer = threading.Thread(target=flood)
    writer.start()
    while not (layout.logs / APP / "platform.log").exists():
        time.sleep(0.001)
    follower = Follower(layout, APP, Query())
    seen = texts(follower.tail(100_000))
    while not ended.is_set():
        seen += texts(follower.poll())
    writer.join()
    seen += texts(follower.poll()) + texts(follower.poll())
    assert seen == [str(number) for number in range(int(seen[0]), 3000)]


def test_a_flood_is_followed_in_pieces(layout: Layout) -> None:
    follower = Follower(layout, APP, Query())
    every = [line(n, "app[web.1]", f"{n} " + "x" * 1000) for n in range(5000)]
    write(layout, "i1.0.log", *every)
    seen: list[bytes] = []
    while fresh := follower.poll():
        assert sum(map(len, fresh)) <= 2 << 20
        seen += fresh
    assert seen == every


def test_the_platforms_lines_are_one_line_each(layout: Layout) -> None:
    platform_line(layout, APP, "api", "Set A\nB\x1b[31m\r\u2028 config vars by ann", at=1_800_000_000)
    platform_line(layout, APP, "web.1", "x" * 50_000)
    content = (layout.logs / APP / "platform.log").read_bytes()
    assert content.count(b"\n") == 2
    assert content.startswith(
        f"{stamp(1_800_000_000)} paas[api]: Set A B [31m   config vars by ann\n".encode()
    )
    assert len(content) < 2 * logs.MAX_LINE_BYTES


def test_the_platforms_file_is_kept_small(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PLATFORM_FILE_BYTES", 1000)
    for number in range(100):
        platform_line(layout, APP, "api", str(number), at=1_800_000_000 + number)
    folder = layout.logs / APP
    assert all(path.stat().st_size < 1100 for path in folder.iterdir())
    assert texts(tail(layout, APP, Query(), 10)) == [str(number) for number in range(90, 100)]


def test_a_line_for_an_app_that_is_gone_is_dropped(layout: Layout) -> None:
    platform_line(layout, "agone", "api", "x")
    assert not (layout.logs / "agone").exists()


def test_a_link_in_place_of_a_log_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(line(1, "app[web.1]", "secret") + b"\n")
    (layout.logs / APP / "i1.0.log").symlink_to(secret)
    (layout.logs / APP / "platform.log").symlink_to(secret)
    platform_line(layout, APP, "api", "x")
    assert tail(layout, APP, Query(), 10) == []
    assert secret.read_bytes().count(b"\n") == 1


def aged(path: Path, second: float, size: int) -> Path:
    path.write_bytes(line(second, "app[web.1]", "x") + b"\n" + b"\n" * size)
    os.utime(path, (second, second))
    return path


def test_the_cap_takes_the_oldest_files_of_ended_instances_first(layout: Layout) -> None:
    folder = layout.logs / APP
    old = aged(folder / "i1.0.log", 1, 4000)
    newer = aged(folder / "i2.0.log", 2, 4000)
    live = aged(folder / "i3.0.log", 0, 4000)
    assert enforce_cap(layout, APP, 9000, {"i3"}) >= 4000
    assert (old.exists(), newer.exists(), live.exists()) == (False, True, True)
    assert enforce_cap(layout, APP, 9000, {"i3"}) == 0


def test_the_cap_empties_only_the_older_half_of_a_ring_that_is_written(layout: Layout) -> None:
    folder = layout.logs / APP
    older = aged(folder / "i1.1.log", 1, 4000)
    current = aged(folder / "i1.0.log", 2, 4000)
    with older.open("ab") as writer:
        enforce_cap(layout, APP, 5000, {"i1"})
        assert (os.fstat(writer.fileno()).st_nlink, older.stat().st_size) == (1, 0)
    os.utime(older, (9, 9))
    enforce_cap(layout, APP, 10, {"i1"})
    assert current.stat().st_size > 4000


def test_the_cap_counts_the_routers_lines(layout: Layout) -> None:
    older = aged(layout.logs / "router" / f"{APP}.1.0.log", 1, 4000)
    current = aged(layout.logs / "router" / f"{APP}.1.1.log", 2, 4000)
    other = aged(layout.logs / "router" / "aother.1.0.log", 0, 4000)
    enforce_cap(layout, APP, 5000, ())
    assert (older.exists(), current.exists(), other.exists()) == (False, True, True)
    remove_router_files(layout, APP)
    assert (current.exists(), other.exists()) == (False, True)


def test_every_line_is_before_or_followed_and_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines keep coming while what was there is read, a ring turns, and the platform's file is renamed meanwhile."""
    write(layout, "i1.0.log", *(line(n, "app[web.1]", str(n)) for n in range(5)))
    turned = write(layout, "i1.1.log", *(line(n - 50, "app[web.1]", f"old {n}") for n in range(20)))
    platform = write(layout, "platform.log", line(5, "paas[api]", "5"))
    follower = Follower(layout, APP, Query())
    write(layout, "i1.0.log", line(6, "app[web.1]", "6"))
    write(layout, "i2.0.log", line(7, "app[web.2]", "7"))
    os.truncate(turned, 0)
    write(layout, "i1.1.log", line(8, "app[web.1]", "8"))
    assert texts(follower.tail(100)) == list("012345")
    listed = logs._listed

    def renamed_meanwhile(folder: Path) -> list[Path]:
        found = listed(folder)
        if folder.name == APP and platform.exists():
            os.replace(platform, platform.with_name("platform.old.log"))
        return found

    monkeypatch.setattr(logs, "_listed", renamed_meanwhile)
    assert texts(follower.poll()) == list("678")
    write(layout, "platform.log", line(9, "paas[api]", "9"))
    monkeypatch.setattr(logs, "_listed", listed)
    assert texts(follower.poll()) == ["9"]
    assert follower.poll() == []
