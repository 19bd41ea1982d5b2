"""The figures of the router: which load, which peers, which limits.

Each scenario is a function that measures and yields its figures, one for each core of the router.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator

from measuring import Bench, Figure, Reading, Rounds, medians, ratio, read_mark
from peers import ROOT, Proxy, Unusable, table_of

HELD = 9000
MANY, FEW = 10_000, 10


def same(bench: Bench) -> Iterator[Figure]:
    """One head, again and again: 48 keep-alive connections, answers of 20 bytes."""
    rounds = bench.compare(["nginx", *bench.routers], [])
    for router in bench.routers:
        yield ratio("requests/s, same heads", "rate", rounds, router, "nginx")
    for router in bench.routers:
        yield ratio("CPU per request, same heads", "cpu_us", rounds, router, "nginx")


def varied(bench: Bench) -> Iterator[Figure]:
    """As a browser asks, each request and each answer different: the honest one."""
    rounds = bench.compare(["nginx", "caddy", *bench.routers], ["-v"])
    limits = {"router-pure": (0.75, 0.9), "router-compiled": (0.95, 1.1)}
    for router in bench.routers:
        yield ratio("requests/s, varied heads", "rate", rounds, router, "nginx", *limits[router])
    for router in bench.routers:
        yield ratio("CPU per request, varied heads", "cpu_us", rounds, router, "nginx")
    for router in bench.routers:
        yield ratio("CPU per request, varied heads", "cpu_us", rounds, router, "caddy", 1 / 3, 1 / 4)


def download(bench: Bench) -> Iterator[Figure]:
    """10 MB answers on 4 connections, against nginx that streams too instead of spooling."""
    rounds = bench.compare(["nginx-tuned", *bench.routers], ["-g", "10485760", "-c", "4"])
    for router in bench.routers:
        yield ratio("10 MB download, MB/s", "mb_s", rounds, router, "nginx-tuned", 1.0, 1.6)
    for router in bench.routers:
        yield ratio("10 MB download, CPU", "cpu_us", rounds, router, "nginx-tuned")


def upload(bench: Bench) -> Iterator[Figure]:
    """1 MB requests on 8 connections."""
    rounds = bench.compare(["haproxy", *bench.routers], ["-u", "1048576", "-c", "8"])
    for router in bench.routers:
        yield ratio("1 MB upload, CPU", "cpu_us", rounds, router, "haproxy", 1.0, 0.7)


def websocket(bench: Bench) -> Iterator[Figure]:
    """64 bytes there and back on 48 upgraded connections."""
    rounds = bench.compare(["nginx", *bench.routers], ["-e", "64"])
    for router in bench.routers:
        yield ratio("WebSocket 64-byte echo, CPU", "cpu_us", rounds, router, "nginx", 1.3, 1.1)


def half_load(bench: Bench) -> Iterator[Figure]:
    """Half of what nginx can do at most, come what may; time counts from when a request was due."""
    rate = bench.load(bench.proxy("nginx"), ["-v"])["rate"] / 2
    rounds = bench.compare(["nginx", *bench.routers], ["-v", "-r", f"{rate:.0f}"])
    for name, key, must, aim in (("p99", "p99_us", 1.5, 1.0), ("p50", "p50_us", None, None)):
        for router in bench.routers:
            figure = ratio(f"{name} at half load", key, rounds, router, "nginx", must, aim)
            figure.note += f" us, at {rate:,.0f} requests/s"
            yield figure


def idle(bench: Bench) -> Iterator[Figure]:
    """Memory in user space for each of 9,000 connections that wait for their next request, of fresh processes."""
    nginx = held_bytes(bench, bench.stage.nginx("nginx-idle"))
    for core in bench.cores:
        size = held_bytes(bench, bench.stage.router(core))
        note = f"{HELD:,} held; nginx {nginx:.0f} bytes"
        yield Figure("idle keep-alive connection", core, "bytes", [size], 2048, 700, note=note)


def held_bytes(bench: Bench, proxy: Proxy) -> float:
    """What one idle connection adds to a proxy's memory. Ends the proxy."""
    bench.load(proxy, ["-v"])
    before = proxy.pss_bytes()
    process = bench.begin_load(proxy, ["-i", "-c", str(HELD)])
    assert process.stdout is not None
    if not process.stdout.readline().startswith(f'{{"requests":{HELD},"errors":0,"lost":0,'):
        raise Unusable(f"{proxy.name} did not take {HELD} connections")
    time.sleep(0.5)
    held = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in proxy.processes())
    after = proxy.pss_bytes()
    process.communicate()
    bench.stage.ended(process)
    bench.stage.stop_proxy(proxy)
    if held < HELD:
        raise Unusable(f"{proxy.name} holds {held} connections instead of {HELD}")
    return (after - before) / HELD


def lookup(bench: Bench) -> Iterator[Figure]:
    """A route table of 10,000 domains and requests for all of them, against a table of 10."""
    for core in bench.cores:
        runs: dict[str, Callable[[], Reading]] = {}
        for domains in (FEW, MANY):
            proxy = bench.stage.router(core, domains=domains)
            runs[str(domains)] = lambda p=proxy, n=domains: bench.load(p, ["-v", "-n", str(n)])  # type: ignore[misc]
        figure = ratio(
            "CPU per request, 10,000 domains",
            "cpu_us",
            bench.interleave(runs),
            str(MANY),
            str(FEW),
            1.05,
            1.0,
        )
        figure.core, figure.unit = core, "x 10 domains"
        yield figure
    few, many = (
        min(timeit.repeat(lookups(n), number=5, repeat=bench.rounds)) / (5 * MANY) for n in (FEW, MANY)
    )
    note = f"{1e9 * many:.0f} against {1e9 * few:.0f} ns; a part of the figure above"
    yield Figure("route lookup alone, 10,000 domains", "pure", "x 10 domains", [many / few], note=note)


def lookups(domains: int) -> Callable[[], None]:
    """10,000 lookups of hosts that have just been read, in a table of so many domains."""
    sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []
    from router.table import parse

    table = parse(table_of(domains, [1]), {})
    hosts = [b"app%05d.test" % (n * 7919 % domains) for n in range(MANY)]

    def all_of_them() -> None:
        for host in hosts:
            table.lookup(host, b"/")

    return all_of_them


def workers(bench: Bench) -> Iterator[Figure]:
    """As many workers as cores. Each core carries a worker, a load generator and a backend: so all cores together
    can be held against one core, although nothing is left over to put the load on. nginx shows what the machine gives."""
    count = os.cpu_count() or 1
    stage, usual = bench.stage, bench.stage.backends
    rounds: Rounds = {}
    try:
        stage.backends = stage.backend(0)
        one = {
            "nginx": stage.nginx("nginx-1"),
            **{f"router-{core}": stage.router(core) for core in bench.cores},
        }
        stage.backends = stage.backends + [port for core in range(1, count) for port in stage.backend(core)]
        all_ = {"nginx": stage.nginx("nginx-all", workers=count)} | {
            f"router-{core}": stage.router(core, workers=count) for core in bench.cores
        }
    finally:
        stage.backends = usual
    runs: dict[str, Callable[[], Reading]] = {}
    for name in one:
        runs[f"{name}, 1"] = lambda n=name: crowd(bench, one[n], 1)  # type: ignore[misc]
        runs[f"{name}, all"] = lambda n=name: crowd(bench, all_[n], count)  # type: ignore[misc]
    rounds = bench.interleave(runs)
    for readings in rounds.values():
        for reading in readings:
            reading["linear"] = reading["rate"] / (count if reading["generators"] > 1 else 1)
    nginx = ratio("", "linear", rounds, "nginx, all", "nginx, 1")
    for core in bench.cores:
        figure = ratio(
            f"{count} workers on {count} cores",
            "linear",
            rounds,
            f"router-{core}, all",
            f"router-{core}, 1",
            0.9,
        )
        figure.core, figure.unit = core, f"x {count} x one"
        figure.note += f" requests/s a core; nginx {nginx.median:.2f}"
        yield figure


def crowd(bench: Bench, proxy: Proxy, generators: int) -> Reading:
    """One round with a load generator on each of the first cores."""
    options = ["-v", "-c", "128"]
    processes = [bench.begin_load(proxy, options, core) for core in range(generators)]
    for mark in ("begin\n", "end\n"):
        for process in processes:
            read_mark(proxy, process, mark)
    readings = [bench.end_load(proxy, process) for process in processes]
    total = medians(readings)
    return total | {"rate": sum(r["rate"] for r in readings), "generators": generators, "busy": 1.0}


SCENARIOS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "same": same,
    "varied": varied,
    "download": download,
    "upload": upload,
    "websocket": websocket,
    "half-load": half_load,
    "idle": idle,
    "lookup": lookup,
    "workers": workers,
}


def needed() -> list[str]:
    """Programs that are missing here."""
    programs = ("nginx", "haproxy", "caddy", "taskset", "setpriv")
    return [name for name in programs if subprocess.run(["which", name], capture_output=True).returncode]
