"""Runs as the only program of a virtual machine with Linux 6.1 and cgroup v2; prints one JSON line per check."""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

sys.path.insert(0, "/opt/paas")

from runtime.cgroup import CgroupError, detect, enter
from runtime.net.network import Network, configure
from runtime.spec import MIB, Limits

NEWNET = 0x40000000
started = []


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.02)


def start(group, code, shim=False):
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.readline()\n" + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    started.append(process)
    group.join(process.pid, shim=shim)
    process.stdin.write(b"\n")
    process.stdin.flush()
    return process


def version(cgroups):
    assert cgroups.version == "v2"
    return os.uname().release


def memory(cgroups):
    group = cgroups.create("i1", Limits(memory_bytes=48 * MIB))
    watch = group.watch_oom()
    poll = select.epoll()
    poll.register(watch.fileno(), watch.events)
    assert poll.poll(0) == []
    hog = start(group, "x = bytearray(200 << 20)")
    assert hog.wait(60) == -signal.SIGKILL
    assert poll.poll(10)
    watch.clear()
    assert poll.poll(0) == []
    until(lambda: group.oom_kills() == 1)
    watch.close()
    peak = group.stats().peak_memory_bytes
    assert 40 * MIB < peak <= 48 * MIB, peak
    return peak


def cpu(cgroups):
    group = cgroups.create("i1", Limits(cpu_millis=200))
    start(group, "while True: pass")
    until(lambda: group.stats().throttled_usec > 0)
    before, at = group.stats().cpu_usec, time.monotonic()
    time.sleep(3)
    share = (group.stats().cpu_usec - before) / 1e6 / (time.monotonic() - at)
    assert share < 0.3, share
    return share


def pids(cgroups):
    group = cgroups.create("i1", Limits(pids=12))
    code = (
        "import os, time\n"
        "for n in range(100):\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(100)\n"
        "    except BlockingIOError: print(n, flush=True); break\n"
        "time.sleep(100)"
    )
    bomb = start(group, code)
    assert int(bomb.stdout.readline()) == 11
    group.kill()
    until(lambda: group.pids() == [])


def kill_and_freeze(cgroups):
    group = cgroups.create("i1", Limits())
    app, shim = start(group, "while True: pass"), start(group, "import time; time.sleep(100)", shim=True)
    until(lambda: group.stats().cpu_usec > 10_000)
    assert group.pids() == [app.pid]
    group.set_frozen(True)
    time.sleep(0.2)
    before = read_usage(group)
    time.sleep(0.5)
    assert read_usage(group) == before
    group.set_frozen(False)
    until(lambda: read_usage(group) > before)
    group.set_frozen(True)
    group.kill()
    assert app.wait(30) == -signal.SIGKILL
    assert shim.poll() is None
    group.remove()
    assert shim.wait(30) == -signal.SIGKILL
    assert cgroups.groups() == []


def lent_group(cgroups):
    """A daemon that has given up root moves its children, and nobody else's, into the group."""
    lent = cgroups.lend("git", Limits(memory_bytes=64 * MIB), 1000, 1000)
    other = cgroups.create("i1", Limits())
    foreign = start(other, "import time; time.sleep(100)")
    daemon = os.fork()
    if daemon == 0:
        status = 1
        try:
            enter(lent.daemon)
            os.setresgid(1000, 1000, 1000)
            os.setresuid(1000, 1000, 1000)
            for path in lent.work:
                try:
                    path.write_text(str(foreign.pid))
                    os._exit(2)
                except PermissionError:
                    pass
            enter(lent.work)
            there = Path("/proc/self/cgroup").read_text()
            status = 0 if there.strip().endswith("/paas-abcdef/_git/app") else 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(daemon, 0)[1]) == 0
    other.remove()
    assert cgroups.groups() == []


def read_usage(group):
    return int((group.view()[0][0] / "cpu.stat").read_text().split()[1])


def shim_is_charged(cgroups):
    group = cgroups.create("i1", Limits(cpu_millis=300))
    start(group, "while True: pass", shim=True)
    until(lambda: group.stats().cpu_usec > 50_000)
    until(lambda: group.stats().throttled_usec > 0)


def limits_change(cgroups):
    group = cgroups.create("i1", Limits(memory_bytes=64 * MIB))
    app = start(group, "x = bytearray(50 << 20); print(1, flush=True); import time; time.sleep(100)")
    app.stdout.readline()
    for amount in (256, 96, 400, 64):
        group.limit(Limits(memory_bytes=amount * MIB, swap_bytes=MIB))
    try:
        group.limit(Limits(memory_bytes=16 * MIB))
    except CgroupError as error:
        assert "in use" in str(error)
    else:
        raise AssertionError("a limit below what is in use was taken")
    assert app.poll() is None
    left = app
    again = cgroups.create("i1", Limits())
    assert left.wait(30) == -signal.SIGKILL
    assert again.pids() == []


class Box:
    """A child in its own network namespace that connects where it is told."""

    def __init__(self):
        self.ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.ours.close()
            try:
                self._child(theirs)
            finally:
                os._exit(1)
        theirs.close()
        assert self.ours.recv(1) == b"r"
        self.netns = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)

    def _child(self, told):
        assert ctypes.CDLL(None).unshare(NEWNET) == 0
        told.send(b"r")
        import pickle

        configure(pickle.loads(told.recv(65536)))
        listener = socket.create_server(("0.0.0.0", 5000))
        told.send(b"c")
        if os.fork() == 0:
            while True:
                listener.accept()[0].close()
        while words := told.recv(100).decode().split():
            with socket.socket() as sock:
                sock.settimeout(2)
                told.send(str(sock.connect_ex((words[0], int(words[1])))).encode())

    def configure(self, endpoint):
        import pickle

        self.ours.send(pickle.dumps(endpoint))
        assert self.ours.recv(1) == b"c"

    def connect(self, address, port):
        self.ours.send(f"{address} {port}".encode())
        return int(self.ours.recv(100))


def network(cgroups):
    made = Network(
        "abcdef",
        IPv4Network("10.199.16.0/20"),
        nameservers=(IPv4Address("192.0.2.53"),),
        state=Path("/run/paas/net"),
    )
    made.prepare()
    boxes, endpoints = [], []
    for name in ("i1", "i2"):
        boxes.append(Box())
        endpoints.append(made.allocate(name))
        made.attach(endpoints[-1], boxes[-1].netns)
        boxes[-1].configure(endpoints[-1])
    daemon = socket.create_server(("0.0.0.0", 8081))
    for endpoint in endpoints:
        socket.create_connection((str(endpoint.address), 5000), timeout=5).close()
    unreachable = 113
    seen = {}
    for state in ("rules", "flushed"):
        if state == "flushed":
            subprocess.run(["nft", "flush", "ruleset"], check=True)
        seen[state] = (
            boxes[0].connect(endpoints[1].address, 5000),
            boxes[0].connect(made.gateway, 8081),
            boxes[0].connect("169.254.169.254", 80),
        )
        assert seen[state] == (unreachable,) * 3, seen
    assert made.reapply() is True
    assert made.reapply() is False
    made.teardown()
    daemon.close()
    assert subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout == ""
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
    for box in boxes:
        os.kill(box.pid, signal.SIGKILL)
    return seen


def main():
    cgroups = detect("abcdef")
    checks = (
        version,
        memory,
        cpu,
        pids,
        kill_and_freeze,
        lent_group,
        shim_is_charged,
        limits_change,
        network,
    )
    for check in checks:
        try:
            told = {"ok": True, "detail": check(cgroups)}
        except BaseException:
            told = {"ok": False, "detail": traceback.format_exc()[-1500:]}
        print("PROBE " + json.dumps({"check": check.__name__, **told}), flush=True)
    for process in started:
        process.kill()
        process.wait()
    cgroups.remove()
    left = [path.name for path in Path("/sys/fs/cgroup").glob("paas-*")]
    print("PROBE " + json.dumps({"check": "nothing_left", "ok": not left, "detail": left}), flush=True)


main()
