"""`paas doctor`: what the machine offers, what it lacks, and what to do about each."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from paas.host import accounts
from paas.nouns.errors import PaasError
from paas.nouns.settings import Settings
from paas.nouns.values import Address

OK, WARNING, FAILURE = "ok", "warning", "failure"
LEAST_DISK_BYTES = 2 << 30
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
TOOLS = {
    "git": ("git", FAILURE, "receives pushes"),
    "nft": ("nftables", FAILURE, "keeps instances apart on the network"),
    "mmdebstrap": ("mmdebstrap", WARNING, "builds stacks"),
}


@dataclass(frozen=True)
class Check:
    """One finding: `advice` is empty when there is nothing to do."""

    name: str
    state: str
    detail: str
    advice: str = ""


def examine(settings: Settings) -> list[Check]:
    """Every check, in the order a reader would fix them."""
    probes: list[Callable[[Settings], Iterator[Check]]] = [
        _kernel, _filesystems, _cgroups, _capabilities, _network, _ports, _disk, _tools, _uv, _certificates, _users, _stack, _store,
    ]  # fmt: skip
    return [check for probe in probes for check in probe(settings)]


def main(settings: Settings, *, as_json: bool = False) -> int:
    """Print the findings; 1 when something the platform needs is missing."""
    checks = examine(settings)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            mark = {OK: "ok     ", WARNING: "warning", FAILURE: "FAILURE"}[check.state]
            print(f"{mark}  {check.name}: {check.detail}")
            if check.advice:
                print(f"         {check.advice}")
    return 1 if any(check.state == FAILURE for check in checks) else 0


def _kernel(settings: Settings) -> Iterator[Check]:
    release = platform.release()
    numbers = re.match(r"(\d+)\.(\d+)", release)
    new_enough = numbers is not None and (int(numbers[1]), int(numbers[2])) >= (6, 1)
    advice = "" if new_enough else "Use Linux 6.1 or newer (Debian 12, Ubuntu 24.04)."
    yield Check("kernel", OK if new_enough else FAILURE, release, advice)
    for name in ("mnt", "pid", "net", "uts", "ipc", "user", "cgroup"):
        if not Path(f"/proc/self/ns/{name}").exists():
            yield Check("namespaces", FAILURE, f"no {name} namespace", "The kernel was built without it.")
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    seccomp = actions.exists()
    yield Check("seccomp", OK if seccomp else FAILURE, "filters available" if seccomp else "missing")


def _filesystems(settings: Settings) -> Iterator[Check]:
    known = Path("/proc/filesystems").read_text().split()
    loadable = "overlay" in known or Path(f"/lib/modules/{platform.release()}/kernel/fs/overlayfs").exists()
    advice = "" if loadable else "modprobe overlay"
    yield Check("overlayfs", OK if loadable else FAILURE, "available" if loadable else "missing", advice)


def _cgroups(settings: Settings) -> Iterator[Check]:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists():
        have, version = set(controllers.read_text().split()), "v2"
    else:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        have, version = {name for line in lines for name in line.split(":")[1].split(",")}, "v1"
    missing = {"memory", "cpu", "pids"} - have
    advice = "Boot with cgroup_enable=memory, or mount the missing controllers." if missing else ""
    detail = f"version {version}" + (f", without {', '.join(sorted(missing))}" if missing else "")
    yield Check("cgroups", FAILURE if missing else OK, detail, advice)


def _capabilities(settings: Settings) -> Iterator[Check]:
    if os.geteuid() != 0:
        yield Check("privileges", WARNING, "not root", "Run doctor as root to see what the server will see.")
        return
    bits = int(re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.M)[1], 16)  # type: ignore[index]
    resource = bool(bits >> 24 & 1)
    detail = (
        "all there" if resource else "no CAP_SYS_RESOURCE: open-file limits stay at the machine's hard limit"
    )
    yield Check("capabilities", OK if resource else WARNING, detail)


def _network(settings: Settings) -> Iterator[Check]:
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    yield Check("ip_forward", OK, "on" if forward else "off; the server turns it on when it starts")
    tool = shutil.which("iptables")
    if tool and os.geteuid() == 0:
        done = subprocess.run([tool, "-S", "FORWARD"], capture_output=True, text=True, check=False)
        if "-P FORWARD DROP" in done.stdout:
            advice = "Allow the platform's interfaces: iptables -I FORWARD -i p+ -j ACCEPT; iptables -I FORWARD -o p+ -j ACCEPT"
            yield Check("forwarding", WARNING, "the FORWARD chain drops by default (Docker or ufw)", advice)


def _ports(settings: Settings) -> Iterator[Check]:
    running = running_settings(settings)
    for name in ("http", "https", "ssh", "api"):
        address: Address | None = getattr(settings, name)
        if address is None:
            continue
        if running is not None and getattr(running, name) == address:
            yield Check(name, OK, f"{address} is served by this platform")
            continue
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((address.host, address.port))
            except OSError as error:
                detail = f"{address}: {error.strerror or error}"
                yield Check(name, FAILURE, detail, f"Choose another with --{name}.")
            else:
                yield Check(name, OK, f"{address} is free")


def running_settings(settings: Settings) -> Settings | None:
    """The settings of the server that runs on this home; None when none does."""
    try:
        status = json.loads((settings.layout().run / "status.json").read_text())
        alive = Path(f"/proc/{int(status['pid'])}").exists()
        return Settings.from_json(status["settings"]) if alive else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _disk(settings: Settings) -> Iterator[Check]:
    for folder in dict.fromkeys((settings.home, settings.stacks)):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        state = OK if free >= LEAST_DISK_BYTES else WARNING
        advice = "" if state == OK else "Free some space: builds and stacks need about 2 GB."
        yield Check("disk", state, f"{free / 1e9:.1f} GB free for {folder}", advice)
    yield from _disk_weights(next(path for path in (settings.home, *settings.home.parents) if path.exists()))


def _disk_weights(folder: Path) -> Iterator[Check]:
    """Whether builds can yield to apps on the disk: of the schedulers only bfq knows weights."""
    number = os.stat(folder).st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    for path in (device / "queue/scheduler", device.parent / "queue/scheduler"):  # of a disk, of a partition
        if not path.is_file():
            continue
        offered = path.read_text().split()
        weighted = "[bfq]" in offered
        advice = f"To let builds yield: echo bfq > {path}" if "bfq" in offered else ""
        detail = (
            "bfq: builds yield to apps" if weighted else "no weights: builds and apps read and write alike"
        )
        yield Check("disk scheduler", OK if weighted or not advice else WARNING, detail, advice)
        return


def _tools(settings: Settings) -> Iterator[Check]:
    for tool, (package, severity, purpose) in TOOLS.items():
        path = shutil.which(tool, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        if path:
            yield Check(tool, OK, path)
        else:
            yield Check(tool, severity, f"missing; it {purpose}", f"apt-get install {package}")


def _uv(settings: Settings) -> Iterator[Check]:
    path = shutil.which("uv", path=f"{sysconfig.get_path('scripts')}:{os.environ.get('PATH', '')}")
    advice = "" if path else "make setup, or: pip install uv"
    yield Check("uv", OK if path else WARNING, path or "missing; it installs Python packages", advice)


def _certificates(settings: Settings) -> Iterator[Check]:
    there = CA_BUNDLE.is_file() and CA_BUNDLE.stat().st_size > 0
    detail = str(CA_BUNDLE) if there else "missing: builds cannot verify registries"
    yield Check(
        "certificates", OK if there else WARNING, detail, "" if there else "apt-get install ca-certificates"
    )


def _users(settings: Settings) -> Iterator[Check]:
    try:
        for name in accounts.USERS:
            accounts.account(name)
    except PaasError as error:
        yield Check("users", WARNING, error.message, "The server makes them when it starts as root.")
    else:
        yield Check("users", OK, ", ".join(accounts.USERS))


def _stack(settings: Settings) -> Iterator[Check]:
    names = sorted(path.stem for path in settings.stacks.glob("*.json")) if settings.stacks.is_dir() else []
    if names:
        yield Check("stacks", OK, ", ".join(names))
    else:
        yield Check(
            "stacks",
            WARNING,
            f"none in {settings.stacks}",
            "paas stacks:create debian-12 (the first push does it, too).",
        )


def _store(settings: Settings) -> Iterator[Check]:
    import apsw

    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    safe = version >= (3, 51, 3)
    advice = "" if safe else "Upgrade apsw: older SQLite can corrupt a database in WAL mode."
    yield Check("sqlite", OK if safe else FAILURE, apsw.sqlite_lib_version(), advice)
