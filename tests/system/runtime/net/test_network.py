"""What an instance reaches and what it does not: real links and rules in namespaces that the tests make."""

from __future__ import annotations

import ctypes
import os
import pickle
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from runtime.net import rules
from runtime.net.network import Endpoint, Network, NetworkError, drain

NEWNET = 0x40000000
ROOT = Path(__file__).parents[4]
BLOCK = IPv4Network("10.199.16.0/20")
OUTSIDE = "198.51.100.9"
UPLINK = "198.51.100.1"

_BOX = """
import ctypes, pickle, socket, subprocess, sys
ctypes.CDLL(None).unshare(0x40000000)
print("ready", flush=True)
from runtime.net.endpoint import configure
configure(pickle.loads(bytes.fromhex(sys.stdin.readline())))
print("configured", flush=True)
def connect(host, port, source_port=0):
    with socket.socket() as s:
        s.settimeout(1.5)
        if source_port: s.bind(("", source_port))
        try: s.connect((host, port)); return s.recv(100).decode()
        except OSError as e: return "timeout" if isinstance(e, TimeoutError) else e.strerror
def run(*words): return subprocess.run(words, capture_output=True, text=True).stdout
def serve(port, answer):
    import threading
    listener = socket.create_server(("0.0.0.0", port))
    def loop():
        while True:
            peer, address = listener.accept()
            peer.sendall((answer or address[0]).encode()); peer.close()
    threading.Thread(target=loop, daemon=True).start()
def flood(host, many):
    refused = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
        for port in range(20000, 20000 + many):
            try: s.sendto(b"x", (host, port))
            except OSError as e: refused += e.errno == 113
    return refused
seen = []
def grab():
    try:
        while True: seen.append(raw.recv(2000))
    except TimeoutError: return [socket.inet_ntoa(p[30:34]) for p in seen]
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""


class Box:
    """A network namespace with a Python inside that evaluates lines."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOX], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._line() == "ready"
        self.netns = os.open(f"/proc/{self.process.pid}/ns/net", os.O_RDONLY)

    def configure(self, endpoint: Endpoint | None) -> Box:
        self._send(pickle.dumps(endpoint).hex())
        assert self._line() == "configured"
        return self

    def eval(self, code: str) -> object:
        self._send(code)
        return eval(self._line())

    def connect(self, host: object, port: int) -> str:
        return str(self.eval(f"connect({str(host)!r}, {port})"))

    def serve(self, port: int, answer: str = "") -> None:
        self.eval(f"serve({port}, {answer!r})")

    def close(self) -> None:
        os.close(self.netns)
        self.process.kill()
        self.process.communicate()

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def nft(text: str) -> str:
    return subprocess.run(["nft", "-f", "-"], input=text, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def host() -> Iterator[None]:
    """The test itself moves into a network namespace that plays the host."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert libc.unshare(NEWNET) == 0
    ip("link", "set", "lo", "up")
    yield
    assert libc.setns(home, NEWNET) == 0
    os.close(home)


@pytest.fixture
def boxes() -> Iterator[list[Box]]:
    made: list[Box] = []
    yield made
    for box in made:
        box.close()


@pytest.fixture
def network(host: None, tmp_path: Path) -> Network:
    made = Network(secrets.token_hex(3), BLOCK, nameservers=(IPv4Address(OUTSIDE),), state=tmp_path)
    made.prepare()
    return made


def instance(network: Network, boxes: list[Box], name: str, *allow: str) -> tuple[Box, Endpoint]:
    box = Box()
    boxes.append(box)
    endpoint = network.allocate(name, allow)
    network.attach(endpoint, box.netns)
    return box.configure(endpoint), endpoint


@pytest.fixture
def outside(host: None, boxes: list[Box]) -> Box:
    """Somebody beyond the host's uplink, who has no route to instances."""
    box = Box()
    boxes.append(box)
    box.configure(None)
    ip(
        "link",
        "add",
        "up0",
        "mtu",
        "1400",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        str(box.process.pid),
    )
    ip("addr", "add", f"{UPLINK}/24", "dev", "up0")
    ip("link", "set", "up0", "up")
    ip("route", "add", "default", "via", OUTSIDE)
    box.eval(
        f"run('ip', 'addr', 'add', '{OUTSIDE}/24', 'dev', 'eth0'), run('ip', 'link', 'set', 'eth0', 'up')"
    )
    return box


class HostServer:
    """A daemon on every address of the host."""

    def __init__(self, port: int, answer: bytes = b"host") -> None:
        self._listener = socket.create_server(("0.0.0.0", port))
        self._answer = answer
        threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            peer.sendall(self._answer)
            peer.close()

    def close(self) -> None:
        self._listener.shutdown(
            socket.SHUT_RDWR
        )  # the thread must not go on accepting at a number used again
        self._listener.close()


@pytest.fixture
def daemon(host: None) -> Iterator[int]:
    server = HostServer(8081)
    yield 8081
    server.close()


def ask(address: object, port: int) -> bytes:
    with socket.create_connection((str(address), port), timeout=5) as peer:
        return peer.recv(100)


def test_the_host_reaches_an_instance_and_sees_nothing_else_change(
    network: Network, boxes: list[Box]
) -> None:
    box, endpoint = instance(network, boxes, "i1")
    box.serve(5000)
    assert ask(endpoint.address, 5000) == str(network.gateway).encode()
    assert network.instances() == {"i1": endpoint.address}


def test_an_instance_goes_out_with_the_hosts_address(
    outside: Box, network: Network, boxes: list[Box]
) -> None:
    outside.serve(443)
    box, _ = instance(network, boxes, "i1")
    assert box.connect(OUTSIDE, 443) == UPLINK
    assert "mtu 1400" in str(box.eval("run('ip', 'link', 'show', 'eth0')"))


COUNT = "int(open('/proc/sys/net/netfilter/nf_conntrack_count').read())"

# The kernel frees the entries of refused packets some time later, and the count holds them until then.
FREED_LATER = rules.MOST_CONNECTIONS // 2


@pytest.mark.parametrize("inner_wall", [True, False])
def test_an_instance_fills_no_table_of_connections(
    outside: Box, network: Network, boxes: list[Box], inner_wall: bool
) -> None:
    box, _ = instance(network, boxes, "i1")
    other, _ = instance(network, boxes, "i2")
    if not inner_wall:
        box.eval("run('nft', 'flush', 'chain', 'ip', 'paas', 'output')")
    many, others = 3 * rules.MOST_CONNECTIONS, _connections()
    refused = box.eval(f"flood('{OUTSIDE}', {many})")
    assert isinstance(refused, int) and refused > 0
    most = rules.MOST_CONNECTIONS + FREED_LATER
    assert rules.MOST_CONNECTIONS // 2 < _connections() < others + most
    box.eval(f"flood('127.0.0.1', {many})")
    inside = box.eval(COUNT)
    assert isinstance(inside, int)
    assert inside < (most if inner_wall else many + FREED_LATER)
    assert network.reapply() is False
    outside.serve(9000, "outside")
    assert other.connect(OUTSIDE, 9000) == "outside"


def _connections() -> int:
    """Entries of the host's table, which hold whatever else the machine does."""
    return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())


def test_what_is_sent_to_an_instance_that_is_gone_reaches_no_stranger(
    outside: Box, network: Network, boxes: list[Box]
) -> None:
    _, endpoint = instance(network, boxes, "i1")
    outside.eval(f"run('ip', 'addr', 'add', '{endpoint.address}/32', 'dev', 'eth0')")
    outside.serve(5000)
    network.detach("i1")
    with pytest.raises(ConnectionRefusedError):
        ask(endpoint.address, 5000)


def test_instances_do_not_reach_each_other(network: Network, boxes: list[Box]) -> None:
    a, _ = instance(network, boxes, "i1")
    b, other = instance(network, boxes, "i2")
    b.serve(5000)
    assert a.connect(other.address, 5000) == "No route to host"
    assert ask(other.address, 5000)


def test_the_host_and_its_daemons_are_out_of_reach(
    outside: Box, network: Network, boxes: list[Box], daemon: int
) -> None:
    network.reapply()
    box, _ = instance(network, boxes, "i1")
    assert ask("127.0.0.1", daemon) == b"host"
    for address in (network.gateway, UPLINK):
        assert box.connect(address, daemon) == "No route to host"
    assert box.connect("127.0.0.1", daemon) == "Connection refused"


@pytest.mark.parametrize("metadata", ["169.254.169.254", "100.100.100.200"])
def test_cloud_metadata_is_out_of_reach(
    outside: Box, network: Network, boxes: list[Box], metadata: str
) -> None:
    outside.serve(80, "secret")
    outside.eval(f"run('ip', 'addr', 'add', '{metadata}/32', 'dev', 'lo')")
    box, _ = instance(network, boxes, "i1")
    assert ask(OUTSIDE, 80) == b"secret"
    assert ask(metadata, 80) == b"secret"
    assert box.connect(metadata, 80) == "No route to host"


def test_two_platforms_on_a_machine_are_separate(network: Network, boxes: list[Box], tmp_path: Path) -> None:
    other = Network(secrets.token_hex(3), IPv4Network("10.199.32.0/20"), nameservers=(), state=tmp_path)
    other.prepare()
    a, _ = instance(network, boxes, "i1")
    b, endpoint = instance(other, boxes, "i1")
    b.serve(5000)
    assert a.connect(endpoint.address, 5000) == "No route to host"
    assert ask(endpoint.address, 5000)
    other.teardown()
    assert network.reapply() is False
    other.teardown()


def test_strangers_cannot_open_connections_to_instances(
    outside: Box, network: Network, boxes: list[Box]
) -> None:
    box, endpoint = instance(network, boxes, "i1")
    box.serve(5000)
    outside.eval(f"run('ip', 'route', 'add', '{BLOCK}', 'via', '{UPLINK}')")
    assert outside.connect(endpoint.address, 5000) in ("No route to host", "timeout")


def test_a_forged_source_address_gets_nowhere(outside: Box, network: Network, boxes: list[Box]) -> None:
    box, _ = instance(network, boxes, "i1")
    outside.serve(443)
    sniff = "__import__('socket').socket(17, 3, 0x0008)"
    outside.eval(f"globals().update(raw={sniff}), raw.settimeout(1)")
    forge = (
        "[s.sendto(b'forged', (%r, 9)) for s in [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]"
        " if not s.bind((%r, 0))]"
    )
    for source in ("10.199.16.77", "192.0.2.77"):
        box.eval(f"run('ip', 'addr', 'add', '{source}/32', 'dev', 'eth0')")
        box.eval("run('nft', 'flush', 'ruleset')")
        assert box.eval(forge % (OUTSIDE, source)) == [6]
    assert box.connect(OUTSIDE, 443) == UPLINK
    assert "198.51.100.9" in str(outside.eval("grab()")), "the sniffer sees nothing at all"
    assert "forged" not in str(outside.eval("seen"))


def test_allow_opens_exactly_one_port(network: Network, boxes: list[Box]) -> None:
    service, there = instance(network, boxes, "i1")
    service.serve(5432, "db")
    service.serve(5433, "db")
    client, _ = instance(network, boxes, "i2", f"{there.address}:5432")
    stranger, _ = instance(network, boxes, "i3")
    assert client.connect(there.address, 5432) == "db"
    assert client.connect(there.address, 5433) == "No route to host"
    assert stranger.connect(there.address, 5432) == "No route to host"
    network.detach("i2")
    assert client.connect(there.address, 5432) != "db"


def test_flushed_rules_come_back_and_the_inner_wall_holds_meanwhile(
    outside: Box, network: Network, boxes: list[Box], daemon: int
) -> None:
    network.reapply()
    a, _ = instance(network, boxes, "i1")
    b, other = instance(network, boxes, "i2")
    b.serve(5000)
    watch = network.watch()
    nft("flush ruleset\n")
    assert a.connect(other.address, 5000) == "No route to host"
    assert a.connect(UPLINK, daemon) == "No route to host"
    assert a.connect(network.gateway, daemon) == "No route to host"
    drain(watch)
    assert network.reapply() is True
    assert network.reapply() is False
    a.eval("run('nft', 'flush', 'ruleset')")
    assert a.connect(other.address, 5000) == "No route to host"
    assert a.connect(UPLINK, daemon) == "No route to host"
    watch.close()


@pytest.mark.parametrize("damage", ["flush chain inet {0} to_host", "delete table inet {0}"])
def test_partial_damage_to_the_rules_is_noticed(network: Network, damage: str) -> None:
    watch = network.watch()
    assert network.reapply() is False
    nft(damage.format(f"paas_{network.platform_id}") + "\n")
    assert watch.socket.recv(65536)
    assert network.reapply() is True
    watch.close()


def test_forwarding_is_put_back_by_the_last_platform(host: None, tmp_path: Path) -> None:
    setting = Path("/proc/sys/net/ipv4/ip_forward")
    setting.write_text("0")  # a new namespace begins with the machine's own value
    first = Network("aaaaaa", BLOCK, nameservers=(), state=tmp_path)
    second = Network("bbbbbb", IPv4Network("10.199.32.0/20"), nameservers=(), state=tmp_path)
    first.prepare()
    second.prepare()
    setting.write_text("0")
    first.reapply()
    assert setting.read_text() == "1\n"
    first.teardown()
    assert setting.read_text() == "1\n"
    second.teardown()
    assert setting.read_text() == "0\n"


def test_nothing_is_left_behind(network: Network, boxes: list[Box]) -> None:
    before = (ip("-o", "addr"), ip("route", "show", "table", "all"), ip("neigh"))
    instance(network, boxes, "i1")
    instance(network, boxes, "i2")
    network.detach("i1")
    network.teardown()
    after = (ip("-o", "addr"), ip("route", "show", "table", "all"), ip("neigh"))
    assert after == before
    assert subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout == ""


def test_a_new_spawner_finds_addresses_in_use(network: Network, boxes: list[Box], tmp_path: Path) -> None:
    _, endpoint = instance(network, boxes, "i1")
    again = Network(network.platform_id, BLOCK, nameservers=network.nameservers, state=tmp_path)
    again.prepare()
    assert again.instances() == {"i1": endpoint.address}
    assert {again.allocate(f"x{n}").address for n in range(50)} & {endpoint.address} == set()


def test_attaching_over_a_leftover_link_replaces_it(
    network: Network, boxes: list[Box], tmp_path: Path
) -> None:
    instance(network, boxes, "i1")
    again = Network(network.platform_id, BLOCK, nameservers=network.nameservers, state=tmp_path)
    box, endpoint = instance(again, boxes, "i1")
    box.serve(5000)
    assert ask(endpoint.address, 5000)


def test_a_full_block_says_so(host: None, tmp_path: Path) -> None:
    small = Network("cccccc", IPv4Network("10.199.48.0/29"), nameservers=(), state=tmp_path)
    assert len({small.allocate(f"i{n}").address for n in range(5)}) == 5
    with pytest.raises(NetworkError, match=r"in use"):
        small.allocate("i9")
    small.detach("i3")
    assert small.allocate("i9").address


def test_ipv6_is_off_inside(network: Network, boxes: list[Box]) -> None:
    box, _ = instance(network, boxes, "i1")
    assert box.eval("run('ip', '-6', 'addr')") == ""
    assert "inet6" not in ip("addr", "show", "dev", network.link_name(network.network[2]))


def test_the_name_server_on_the_gateway_is_the_only_door_to_the_host(
    host: None, boxes: list[Box], tmp_path: Path
) -> None:
    network = Network("dddddd", BLOCK, nameservers=(), state=tmp_path)
    network.prepare()
    box, endpoint = instance(network, boxes, "i1")
    assert endpoint.nameservers == (network.gateway,)
    servers = [HostServer(53, b"name"), HostServer(54)]
    assert box.connect(network.gateway, 53) == "name"
    assert box.connect(network.gateway, 54) == "No route to host"
    for server in servers:
        server.close()
