"""The router's figures beside nginx, HAProxy and Caddy, which take turns with it in one run.

    python tests/bench/router/run.py [--only NAME] [--rounds 12] [--seconds 0.35] [--core pure] [--json]

The proxy is alone on the first core, load generator and backend are on the second. Compare within one run only: CPU per
request is disturbed least by whatever else runs; requests per second and latency move with it. A figure is the
median of its rounds; after it their spread, what it must be and what it aims at. Rounds are many and short because the
speed of a virtual machine changes by a half from one second to the next: neighbours in time can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from measuring import Bench, Figure
from peers import Stage, Unusable, cores
from scenarios import SCENARIOS, needed


def measure(
    names: list[str], wanted: list[str], rounds: int, seconds: float, failed: list[str]
) -> Iterator[Figure]:
    """The figures of these scenarios; what could not be measured is added to `failed`."""
    with Stage() as stage:
        bench = Bench(stage, wanted, rounds, seconds)
        for name in names:
            try:
                yield from SCENARIOS[name](bench)
            except Unusable as error:
                failed.append(f"{name}: {error}")


def line(figure: Figure) -> str:
    values = sorted(figure.rounds)
    digits = 0 if figure.median >= 100 else 2
    spread = f"{values[0]:.{digits}f}-{values[-1]:.{digits}f}" if len(values) > 1 else ""
    limits = [
        f"{limit:.2f}".removesuffix(".00") if limit is not None else "" for limit in (figure.must, figure.aim)
    ]
    sign = "" if figure.must is None else ">=" if figure.more else "<="
    return (
        f"{figure.name:<35} {figure.core:<9}{figure.median:8.{digits}f} {figure.unit:<14}{spread:<12}"
        f"{sign:>2}{limits[0]:<6}{limits[1]:<6}{figure.verdict:<8}{figure.note}"
    )


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", metavar="NAME", help=f"part of a name of {', '.join(SCENARIOS)}"
    )
    parser.add_argument("--rounds", type=int, default=12, help="of each proxy in each scenario (12)")
    parser.add_argument("--seconds", type=float, default=0.35, help="of each round (0.35)")
    parser.add_argument("--core", choices=["pure", "compiled"], help="of the router; both unless said")
    parser.add_argument("--json", action="store_true", help="nothing but the figures and their single rounds")
    chosen = parser.parse_args()
    if missing := needed():
        parser.error(f"install {', '.join(missing)}")
    if (os.cpu_count() or 1) < 2:
        parser.error("a core for the proxy and one for the load are needed")
    chosen.names = [name for name in SCENARIOS if chosen.only in name]
    if not chosen.names:
        parser.error(f"no scenario is named like {chosen.only}")
    chosen.cores = [core for core in cores() if chosen.core in (None, core)]
    if not chosen.cores:
        parser.error("there is no compiled core: python -m router.core")
    return chosen


def main() -> int:
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    figures, failed = [], list[str]()
    if not chosen.json:
        print(f"{'router':<35} {'core':<9}{'median':>8} {'':<14}{'spread':<12}{'must':<8}{'aim':<6}")
    try:
        for figure in measure(chosen.names, chosen.cores, chosen.rounds, chosen.seconds, failed):
            figures.append(figure)
            if not chosen.json:
                print(line(figure), flush=True)
    except KeyboardInterrupt:
        return 130
    except Unusable as error:
        failed.append(str(error))
    if chosen.json:
        print(json.dumps([{**vars(f), "median": f.median, "verdict": f.verdict} for f in figures], indent=1))
    for text in failed:
        print(f"could not be measured: {text}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
