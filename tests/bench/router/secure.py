"""The router's figures over TLS and HTTP/2, against nginx with the same certificate and OpenSSL. Load: Debian's h2load."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator

from measuring import Bench, Figure, Reading, Rounds, ratio
from peers import HOST, LOAD_CORE, Proxy, Unusable

HANDSHAKES = 400


def keep_alive(bench: Bench) -> Iterator[Figure]:
    """HTTP/1.1 over 48 TLS connections that stay."""
    rounds = compare(bench, ["--h1", "-c", "48", "-D", f"{1000 * bench.seconds:.0f}ms"])
    for router in bench.routers:
        yield ratio("TLS keep-alive, CPU", "cpu_us", rounds, router, "nginx")


def handshake(bench: Bench) -> Iterator[Figure]:
    """A new connection with a full handshake for each request."""
    rounds = compare(bench, ["--h1", "-c", str(HANDSHAKES), "-n", str(HANDSHAKES)])
    for router in bench.routers:
        yield ratio("TLS handshake and a request, CPU", "cpu_us", rounds, router, "nginx")


def http2(bench: Bench) -> Iterator[Figure]:
    """8 connections, 16 streams at a time on each."""
    rounds = compare(bench, ["-c", "8", "-m", "16", "-D", f"{1000 * bench.seconds:.0f}ms"])
    for router in bench.routers:
        must = 3.5 if router == "router-compiled" else 4.5
        yield ratio("HTTP/2, CPU per request", "cpu_us", rounds, router, "nginx", must=must, aim=3.0)
    for router in bench.routers:
        yield ratio("HTTP/2, requests/s", "rate", rounds, router, "nginx")


def compare(bench: Bench, options: list[str]) -> Rounds:
    """The same load on nginx and the router."""
    if "nginx-tls" not in bench.proxies:
        bench.proxies["nginx-tls"] = bench.stage.nginx("nginx-tls", tls=True)
        for core in bench.cores:
            bench.proxies[f"router-{core}-tls"] = bench.stage.router(core, tls=True)
    names = ["nginx", *bench.routers]
    return bench.interleave(
        {name: lambda n=name: load(bench, bench.proxies[f"{n}-tls"], options) for name in names}
    )


def load(bench: Bench, proxy: Proxy, options: list[str]) -> Reading:
    """One round of h2load. Raises Unusable when a request went wrong."""
    address = f"--connect-to=127.0.0.1:{proxy.secure_port}"
    before = proxy.cpu_us()
    process = bench.stage.start(
        ["h2load", *options, address, f"https://{HOST}/20"], LOAD_CORE, stdout=subprocess.PIPE, text=True
    )
    report, _ = process.communicate()
    spent = proxy.cpu_us() - before
    bench.stage.ended(process)
    count = re.search(r"(\d+) succeeded, 0 failed, 0 errored", report)
    timing = re.search(r"finished in ([\d.]+)(m?s), ([\d.]+) req/s", report)
    if count is None or timing is None or not int(count[1]):
        raise Unusable(f"{proxy.name} answers h2load wrongly or not at all: {report[-600:]}")
    seconds = float(timing[1]) / (1000 if timing[2] == "ms" else 1)
    return {"cpu_us": spent / int(count[1]), "rate": float(timing[3]), "busy": spent / 1e6 / seconds}


SCENARIOS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "tls-keep-alive": keep_alive,
    "tls-handshake": handshake,
    "http2": http2,
}
