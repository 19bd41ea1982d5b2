"""The figures of the router: which load, which peers, which limits.

Each scenario is a function that measures and yields its figures, one for each core of the router.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator

import secure
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
    """The same number of requests per second for both, come what may: half of what the slower of the two has just done at
    most; then 3,000. Time counts from when a request was due."""
    for load, rate in (("half load", 0.0), ("3,000/s", 3000.0)):
        for router in bench.routers:
            yield from _latency(bench, router, load, rate)


def _latency(bench: Bench, router: str, load: str, fixed: float) -> Iterator[Figure]:
    pair = ["nginx", router]
    rounds: Rounds = {name: [] for name in pair}
    rates = []
    for number in range(bench.rounds):
        most = [bench.load(bench.proxy(name), ["-v"])["rate"] for name in pair]
        rates.append(fixed or min(most) / 2)
        for name in pair if number % 2 == 0 else pair[::-1]:
            rounds[name].append(bench.load(bench.proxy(name), ["-v", "-r", f"{rates[-1]:.0f}"]))
    for name, key, must, aim in (("p99", "p99_us", 1.5, 1.0), ("p50", "p50_us", None, None)):
        figure = ratio(f"{name} at {load}", key, rounds, router, "nginx", must, aim)
        figure.note += f" us, at {statistics.median(rates):,.0f} requests/s"
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
    """A table of 10,000 domains against one of 10 and any other, the same requests for 10,000 hosts; then also against
    requests for 10 hosts only; then the lookup without the request around it."""
    for core in bench.cores:
        few = bench.stage.router(core, hosts=[*domains(FEW), "*"])
        many = bench.stage.router(core, hosts=domains(MANY))
        rounds = bench.interleave(
            {
                "10 asked": lambda p=few: bench.load(p, ["-v", "-n", str(FEW)]),
                "10 known": lambda p=few: bench.load(p, ["-v", "-n", str(MANY)]),
                "10,000": lambda p=many: bench.load(p, ["-v", "-n", str(MANY)]),
            }
        )
        for peer, what in (("10 known", "known"), ("10 asked", "asked for")):
            figure = ratio(f"CPU, 10,000 domains {what}", "cpu_us", rounds, "10,000", peer, 1.05, 1.0)
            figure.core, figure.unit = core, "x 10 domains"
            yield figure
    many_s, few_s = (min(timeit.repeat(lookups(n), number=5, repeat=5)) / (5 * MANY) for n in (MANY, FEW))
    note = f"10 domains: {1e9 * few_s:.0f}"
    yield Figure("lookup alone, 10,000 domains", "pure", "ns", [1e9 * many_s], note=note)


def domains(count: int) -> list[str]:
    """The hosts over which the load generator spreads its requests."""
    return [f"app{n:05}.test" for n in range(count)]


def lookups(count: int) -> Callable[[], None]:
    """10,000 lookups of hosts that have just been read, in a table of so many domains."""
    sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []
    from router.rules.tablefile import parse

    table = parse(table_of(domains(count), [1]), {})
    hosts = [b"app%05d.test" % (n * 7919 % count) for n in range(MANY)]

    def all_of_them() -> None:
        for host in hosts:
            table.lookup(host, b"/")

    return all_of_them


def workers(bench: Bench) -> Iterator[Figure]:
    """As many workers as cores against one, under the same load: requests for each second of CPU that the router had.

    No core is left over to put the load on: each carries a load generator and a backend too, so throughput alone says
    little. Workers share nothing but the kernel, which is paid in CPU; nginx shows what the machine takes for that.
    """
    count = os.cpu_count() or 1
    stage, usual = bench.stage, bench.stage.backends
    try:
        stage.backends = [port for core in range(count) for port in stage.backend(core)]
        proxies = {
            **{f"nginx {n}": stage.nginx(f"nginx-{n}", workers=n) for n in (1, count)},
            **{
                f"router-{core} {n}": stage.router(core, workers=n)
                for core in bench.cores
                for n in (1, count)
            },
        }
    finally:
        stage.backends = usual
    rounds = bench.interleave(
        {name: lambda p=proxy: crowd(bench, p, count) for name, proxy in proxies.items()}
    )
    nginx = ratio("", "per_cpu_s", rounds, f"nginx {count}", "nginx 1")
    for core in bench.cores:
        both = f"router-{core} {count}", f"router-{core} 1"
        figure = ratio(f"{count} workers, requests per CPU second", "per_cpu_s", rounds, *both, 0.9)
        figure.core, figure.unit = core, "x 1 worker"
        gain = ratio("", "rate", rounds, *both).median
        figure.note += f"; {gain:.2f} x the requests, load on the same cores; nginx {nginx.median:.2f}"
        yield figure


def crowd(bench: Bench, proxy: Proxy, generators: int) -> Reading:
    """One round with a load generator on each of the first cores."""
    options = ["-v", "-c", "64"]
    processes = [bench.begin_load(proxy, options, core) for core in range(generators)]
    spent = 0.0
    for mark, sign in (("begin\n", -1), ("end\n", 1)):
        for process in processes:
            read_mark(proxy, process, mark)
        spent += sign * proxy.cpu_us()
    readings = [bench.end_load(proxy, process) for process in processes]
    requests, rate = (sum(reading[key] for reading in readings) for key in ("requests", "rate"))
    return medians(readings) | {"rate": rate, "per_cpu_s": 1e6 * requests / spent, "busy": 1.0}


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
    **secure.SCENARIOS,
}


def needed() -> list[str]:
    """Programs that are missing here."""
    programs = ("nginx", "haproxy", "caddy", "h2load", "openssl", "taskset", "setpriv")
    return [name for name in programs if subprocess.run(["which", name], capture_output=True).returncode]
