"""`python -m runtime`: containers without a platform. `serve` is the spawner, the other verbs talk to it.

python -m runtime serve --home /var/lib/box --stacks /var/cache/paas/stacks &
python -m runtime run --home /var/lib/box -- bash -c 'id; hostname'
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import struct
import sys
import termios
import tty
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runtime import frames
from runtime.client import Spawner, SpawnerError
from runtime.home import Layout
from runtime.kernel.files import write_all
from runtime.spawner import server
from runtime.spec import Box, Limits, Order, Process, SpecError, Terminal, parse
from runtime.stack import build

_STACKS = Path("/var/cache/paas/stacks")
_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/app"}


def main(words: list[str] | None = None) -> int:
    """The command line; the exit status, for `run` that of the command."""
    arguments = _parser().parse_args(words)
    try:
        status: int = arguments.action(arguments)
        return status
    except SpawnerError as error:
        print(f"{error.message}\n{error.hint}".rstrip(), file=sys.stderr)
    except (SpecError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runtime", description="Run containers.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, action: object, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.add_argument("--home", type=Path, default=Path("/var/lib/paas"), help="folder of the platform")
        added.add_argument("--stacks", type=Path, default=_STACKS, help="folder of base layers")
        added.set_defaults(action=action)
        return added

    verb("serve", _serve, "Be the spawner of a home, made if it is missing.")
    run = verb("run", _run, "Run a command in a new container, wait for it and remove the container.")
    run.add_argument("--stack", default="debian-12", help="whose run layers are the root")
    run.add_argument(
        "--spec", type=Path, help='a file {"order": …, "box": …} instead; - reads standard input'
    )
    run.add_argument("--memory-mib", type=int, default=512)
    run.add_argument("--cpu-millis", type=int, default=1000)
    run.add_argument("--no-network", action="store_true")
    run.add_argument("--detach", action="store_true", help="leave it running and print its id")
    run.add_argument("argv", nargs="*", metavar="WORD")
    verb("list", _list, "Show the containers.")
    kill = verb("kill", _kill, "Send a signal to a container's main process.")
    kill.add_argument("id")
    kill.add_argument("signal", nargs="?", default="TERM")
    verb("delete", _delete, "End a container and remove everything of it.").add_argument("id")
    verb("stats", _stats, "Show what a container uses.").add_argument("id")
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    home = arguments.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "id").exists():
        (home / "id").write_text(secrets.token_hex(3) + "\n")
    return server.main(["--home", str(home), "--stacks", str(arguments.stacks)])


def _layout(arguments: argparse.Namespace) -> Layout:
    return Layout(arguments.home, arguments.stacks, (arguments.home / "id").read_text().strip())


def _client(arguments: argparse.Namespace) -> Spawner:
    return Spawner(_layout(arguments).spawner_socket)


def _spec(arguments: argparse.Namespace, client: Spawner) -> tuple[Order, Box]:
    if arguments.spec is not None:
        text = sys.stdin.read() if str(arguments.spec) == "-" else arguments.spec.read_text()
        spec = json.loads(text)
        if not isinstance(spec, dict):
            raise SpecError("the specification is not an object")
        return parse(Order, spec.get("order"), "order"), parse(Box, spec.get("box"), "box")
    if not arguments.argv:
        raise ValueError("what is to be run? Give a command after --")
    found = build.load(arguments.stacks, arguments.stack)
    if found is None:
        raise ValueError(f"there is no stack {arguments.stack} in {arguments.stacks}")
    return Order(f"run-{secrets.token_hex(4)}", "runtime", "run"), Box(
        layers=tuple(found.run),
        process=Process(tuple(arguments.argv), _ENV | {"TERM": os.environ.get("TERM", "dumb")}),
        id_base=client.info()["block"]["id_base"],
        network=not arguments.no_network,
        resources=Limits(memory_bytes=arguments.memory_mib << 20, cpu_millis=arguments.cpu_millis),
    )


def _run(arguments: argparse.Namespace) -> int:
    client = _client(arguments)
    order, box = _spec(arguments, client)
    if arguments.detach:
        client.create(order, box)
        print(order.id)
        return 0
    process = replace(box.process, attach=True)
    if os.isatty(0) and os.isatty(1):
        size = shutil.get_terminal_size()
        process = replace(process, terminal=Terminal(size.lines, size.columns))
    client.create(order, replace(box, process=process))
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(_layout(arguments).run_instances / order.id / "attach.sock"))
            with _raw() if process.terminal else contextlib.nullcontext():
                return _relay(sock)
    finally:
        client.delete(order.id)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """The terminal passes every key on; it is set back at the end."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _relay(sock: socket.socket) -> int:
    """Copy between our standard streams and the container's until the exit frame."""
    decoder = frames.FrameDecoder()
    poll = select.poll()
    for fd in (sock.fileno(), 0):
        poll.register(fd, select.POLLIN)

    def resize(*_: object) -> None:
        size = shutil.get_terminal_size()
        sock.sendall(frames.encode_frame(frames.RESIZE, struct.pack(">HH", size.lines, size.columns)))

    signal.signal(signal.SIGWINCH, resize)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if 0 in ready:
            data = os.read(0, 32768)
            sock.sendall(frames.encode_frame(frames.STDIN, data))
            if not data:
                poll.unregister(0)
        if sock.fileno() in ready:
            received = sock.recv(65536)
            if not received:
                return 1
            for channel, payload in decoder.feed(received):
                if channel == frames.EXIT:
                    return int(json.loads(payload)["status"])
                write_all(2 if channel == frames.STDERR else 1, payload)


def _list(arguments: argparse.Namespace) -> int:
    for item in _client(arguments).list():
        how = f"status {item.exit.status}" if item.exit else f"pid {item.pid}"
        print(f"{item.id:<20} {item.state:<8} {item.address or '-':<15} {how}")
    return 0


def _kill(arguments: argparse.Namespace) -> int:
    _client(arguments).signal(arguments.id, arguments.signal.upper().removeprefix("SIG"))
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    _client(arguments).delete(arguments.id)
    return 0


def _stats(arguments: argparse.Namespace) -> int:
    print(json.dumps(_client(arguments).stats(arguments.id), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
