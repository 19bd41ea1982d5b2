"""Rounds of load, interleaved, and what they say: readings of each proxy, figures of the router against a peer."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from peers import LOAD_CORE, STREAMING, Proxy, Stage, Unusable

Reading = dict[str, float]
"""Of one round: `rate` per second, `mb_s`, `cpu_us` of the proxy per request, its `busy` share of a core, `p50_us`, `p99_us`."""
Rounds = dict[str, list[Reading]]
WARM_UP_S = 0.3
MORE_IS_BETTER = {"rate", "mb_s", "per_cpu_s"}


@dataclass
class Figure:
    """One line of the table: the router's multiple of a peer, or `unit`, in each round, beside what it must be."""

    name: str
    core: str
    unit: str
    rounds: list[float]
    must: float | None = None
    aim: float | None = None
    more: bool = False
    """More is better."""
    note: str = ""
    readings: dict[str, Reading] = field(default_factory=dict)
    """Medians of each proxy that took part."""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def verdict(self) -> str:
        """`aim`, `ok`, `MISSED`, or nothing where nothing is asked."""

        def holds(limit: float) -> bool:
            return self.median >= limit if self.more else self.median <= limit

        if self.must is None:
            return ""
        if not holds(self.must):
            return "MISSED"
        return "aim" if self.aim is not None and holds(self.aim) else "ok"


def medians(readings: list[Reading]) -> Reading:
    return {key: round(statistics.median(r[key] for r in readings), 3) for key in readings[0]}


def ratio(
    name: str,
    key: str,
    rounds: Rounds,
    ours: str,
    peer: str,
    must: float | None = None,
    aim: float | None = None,
) -> Figure:
    """The router's reading as a multiple of its peer's, round by round."""
    values = [mine[key] / (other[key] or 1) for mine, other in zip(rounds[ours], rounds[peer], strict=True)]
    both = {proxy: medians(rounds[proxy]) for proxy in (ours, peer)}
    note = " against ".join(
        f"{reading[key]:,.{0 if reading[key] > 999 else 1}f}" for reading in both.values()
    )
    if key == "rate" and min(reading["busy"] for reading in both.values()) < 0.85:
        note += "; of their core they had {:.0%} and {:.0%}".format(*(r["busy"] for r in both.values()))
    return Figure(
        name, ours.removeprefix("router-"), f"x {peer}", values, must, aim, key in MORE_IS_BETTER, note, both
    )


@dataclass
class Bench:
    """The proxies that have been started, and how long to look at each."""

    stage: Stage
    cores: list[str]
    rounds: int
    seconds: float
    proxies: dict[str, Proxy] = field(default_factory=dict)

    @property
    def routers(self) -> list[str]:
        return [f"router-{core}" for core in self.cores]

    def proxy(self, name: str) -> Proxy:
        """The running proxy of this name; starts it the first time."""
        if name not in self.proxies:
            makers: dict[str, Callable[[], Proxy]] = {
                "nginx": self.stage.nginx,
                "nginx-tuned": lambda: self.stage.nginx("nginx-tuned", location=STREAMING),
                "haproxy": self.stage.haproxy,
                "caddy": self.stage.caddy,
                **{f"router-{core}": lambda core=core: self.stage.router(core) for core in self.cores},
            }
            self.proxies[name] = makers[name]()
        return self.proxies[name]

    def compare(self, names: list[str], options: list[str]) -> Rounds:
        """The same load on each of these proxies."""
        return self.interleave({name: lambda n=name: self.load(self.proxy(n), options) for name in names})

    def interleave(self, runs: dict[str, Callable[[], Reading]]) -> Rounds:
        """A B C, C B A, A B C …, after a first turn that does not count."""
        usual, self.seconds = self.seconds, min(self.seconds, WARM_UP_S)
        try:
            for run in runs.values():
                run()
        finally:
            self.seconds = usual
        rounds: Rounds = {name: [] for name in runs}
        for number in range(self.rounds):
            for name in list(runs) if number % 2 == 0 else list(runs)[::-1]:
                rounds[name].append(runs[name]())
                time.sleep(0.05)
        return rounds

    def load(self, proxy: Proxy, options: list[str], core: int | None = LOAD_CORE) -> Reading:
        """One round of load on one proxy. Raises Unusable when a request went wrong."""
        process = self.begin_load(proxy, options, core)
        read_mark(proxy, process, "begin\n")
        before = proxy.cpu_us()
        read_mark(proxy, process, "end\n")
        spent = proxy.cpu_us() - before
        reading = self.end_load(proxy, process)
        reading["cpu_us"] = spent / reading["requests"]
        reading["busy"] = spent / 1e6 / reading["seconds"]
        return reading

    def begin_load(
        self, proxy: Proxy, options: list[str], core: int | None = LOAD_CORE
    ) -> subprocess.Popen[str]:
        argv = [
            str(self.stage.folder / "load"),
            "-d",
            str(self.seconds),
            "-w",
            "0.1",
            *options,
            "127.0.0.1",
            str(proxy.port),
        ]
        return self.stage.start(argv, core, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end_load(self, proxy: Proxy, process: subprocess.Popen[str]) -> Reading:
        """The line of JSON that a load generator prints."""
        assert process.stdout is not None
        line = process.stdout.readline()
        process.communicate()
        self.stage.ended(process)
        reading: dict[str, Any] = json.loads(line) if line.startswith("{") else {"requests": 0}
        if not reading["requests"] or reading["errors"]:
            raise Unusable(f"{proxy.name} answers wrongly or not at all: {line.strip() or 'no figures'}")
        return reading


def read_mark(proxy: Proxy, process: subprocess.Popen[str], mark: str) -> None:
    """Wait for a word of the load generator."""
    assert process.stdout is not None
    if process.stdout.readline() != mark:
        raise Unusable(f"no load could be put on {proxy.name}")
