"""Mutations of requests and answers sent through a router, and what must hold of whatever comes out of it.

    python tests/harness/fuzz.py --seconds 60 [--seed N]

A found case is printed as a literal; add it to `tests/data/http` once it is understood.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import re
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from harness.corpus import ANSWER, INVALID, VALID, after_chunks, unescape
from harness.router import Rig

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
LINE = re.compile(rb"(" + TOKEN + rb"):[\t\x20-\x7e\x80-\xff]*")
REQUEST = re.compile(TOKEN + rb" (\*|/[\x21\x22\x24-\x7e]*) HTTP/1\.1")
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"0",
    b"5",
    b"-1",
    b"Content-Length: 5\r\n",
    b"\r\n\r\n",
    b"\x0b",
]
PIECES += [
    b"Transfer-Encoding: chunked\r\n",
    b"Host: app.test\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b";x",
    b"HTTP/1.0",
]
PIECES += [
    b"Connection: close, host\r\n",
    b"GET / HTTP/1.1\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n",
]
SEEDS = [data for path in [*VALID, *INVALID] if len(data := unescape(path.read_bytes())) < 3000]


class Broken(AssertionError):
    """What came out of the router is not what must come out."""


ANSWERS = [
    ANSWER,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nSet-Cookie: a=b\r\nContent-Length: 10\r\n\r\n0123456789",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end",
]


def mutate(rng: random.Random, seeds: list[bytes], most: int) -> list[bytes]:
    """A byte stream near some of the seeds, cut into a few reads."""
    data = bytearray(b"".join(rng.choice(seeds) for _ in range(rng.randint(1, most))))
    for _ in range(rng.randint(0, 6)):
        at = rng.randint(0, len(data))
        kind = rng.randint(0, 4)
        if kind == 0:
            data[at:at] = rng.choice(PIECES)
        elif kind == 1:
            del data[at : at + rng.randint(1, 8)]
        elif kind == 2 and at < len(data):
            data[at] = rng.randint(0, 255)
        elif kind == 3:
            other = rng.randint(0, len(data))
            data[at:at] = data[other : other + rng.randint(1, 60)]
        else:
            data[at : at + rng.randint(0, 4)] = rng.choice(PIECES)
    places = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(0, 3)))
    edges = [0, *places, len(data)]
    return [bytes(data[a:b]) for a, b in itertools.pairwise(edges) if b > a]


def check_head(head: bytes) -> dict[bytes, list[bytes]]:
    """The lines of a request head by lower-case name, all of it in strict order. Raises Broken."""
    start, *lines = head.split(b"\r\n")
    if REQUEST.fullmatch(start) is None:
        raise Broken(f"request line {start!r}")
    found: dict[bytes, list[bytes]] = {}
    for line in lines:
        match = LINE.fullmatch(line)
        if match is None:
            raise Broken(f"line {line!r}")
        found.setdefault(match[1].lower(), []).append(line.partition(b":")[2].strip(b" \t"))
    if any(b"_" in name for name in found):
        raise Broken("an underscore in a name")
    for name in (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id", b"x-request-start"):
        if len(found.get(name, ())) != 1:
            raise Broken(f"{len(found.get(name, ()))} lines {name!r}")
    return found


def check_backend(data: bytes) -> int:
    """How many whole requests these bytes are, read by a parser of its own. Raises Broken where one is doubtful."""
    count = 0
    while (end := data.find(b"\r\n\r\n")) >= 0:
        found = check_head(data[:end])
        data = data[end + 4 :]
        lengths, codings = found.get(b"content-length", []), found.get(b"transfer-encoding", [])
        if len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]):
            raise Broken(f"framing {lengths} {codings}")
        if codings:
            rest = after_chunks(data)
            if rest is None:
                return count
            data = rest
        elif lengths:
            if re.fullmatch(rb"0|[1-9][0-9]*", lengths[0]) is None:
                raise Broken(f"length {lengths}")
            if len(data) < int(lengths[0]):
                return count
            data = data[int(lengths[0]) :]
        count += 1
    return count


def run(pieces: list[bytes]) -> None:
    """Send a stream; every backend gets clean requests, the client proper answers. Raises Broken."""
    rig = Rig()
    bugs: list[int] = []
    rig.shared.loop.on_bug = bugs.append
    try:
        client = rig.client()
        asked = 0
        for piece in pieces:
            if client.closed:
                break
            try:
                client.send(piece)
            except OSError:
                break
            working = True
            while working:
                working = False
                for end in rig.dialled:
                    if not end.closed and end.read() and check_backend(end.got):
                        asked += 1
                        end.got = b""
                        end.send(ANSWER)
                        working = True
            client.read()
        for end in rig.dialled:
            check_backend(end.read())
        if bugs:
            raise Broken("a handler raised")
        if client.read().count(b"HTTP/1.1 200 OK\r\n") != asked:
            raise Broken("an answer got lost")
    finally:
        rig.close()


STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) [\t\x20-\x7e\x80-\xff]*")


def check_client(data: bytes, *, closed: bool) -> int:
    """How many final answers a client finds in these bytes. Raises Broken where one is no proper HTTP/1.1, or where
    the last one is not whole though the connection stays open."""
    count = 0
    while data:
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank:
            break
        start, *lines = head.split(b"\r\n")
        status = STATUS.fullmatch(start)
        if status is None or not all(LINE.fullmatch(line) for line in lines):
            raise Broken(f"head of an answer {head!r}")
        names = [line.partition(b":")[0].lower() for line in lines]
        lengths = [
            line.partition(b":")[2].strip() for line in lines if line.lower().startswith(b"content-length:")
        ]
        chunked = names.count(b"transfer-encoding")
        if len(lengths) + chunked > 1:
            raise Broken(f"framing {head!r}")
        code = int(status[1])
        if code < 200 or code in (204, 304):
            count += code >= 200
            data = rest
        elif chunked:
            after = after_chunks(rest)
            if after is None:
                break
            count, data = count + 1, after
        elif not lengths or re.fullmatch(rb"[0-9]{1,18}", lengths[0]) is None:
            raise Broken(f"no length {head!r}")
        elif len(rest) < int(lengths[0]):
            break
        else:
            count, data = count + 1, rest[int(lengths[0]) :]
    if data and not closed:
        raise Broken(f"an answer without an end {data[:200]!r}")
    return count


def run_answer(pieces: list[bytes]) -> None:
    """Answer a request with a stream that then ends; the client must get one proper answer or be cut off, the next
    request an answer of its own. Raises Broken."""
    rig = Rig()
    bugs: list[int] = []
    rig.shared.loop.on_bug = bugs.append
    try:
        client = rig.client()
        client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        first = rig.backend
        for piece in pieces:
            with contextlib.suppress(OSError):
                first.send(piece)
        with contextlib.suppress(OSError):
            first.close()
        if len(rig.dialled) > 1:  # it was asked again, over a connection that is still open
            rig.backend.send(ANSWER)
        client.read()
        if not client.closed:
            if check_client(client.got, closed=False) != 1:
                raise Broken(f"not one answer: {client.got!r}")
            client.take()
            client.send(b"GET /2 HTTP/1.1\r\nHost: app.test\r\n\r\n")
            rig.backend.send(ANSWER)
            if not client.take().endswith(b"\r\n\r\nok"):
                raise Broken("the next answer is another one's")
        check_client(client.got, closed=True)
        if bugs:
            raise Broken("a handler raised")
    finally:
        rig.close()


def fuzz(seed: int, *, seconds: float = 1e9, cases: int = 1 << 60) -> int:
    """Run mutations until the time or the number is up; how many there were. Raises Broken."""
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    done = 0
    while done < cases and time.monotonic() < end:
        answers, what = (True, "answer") if done % 3 == 2 else (False, "request")
        pieces = mutate(rng, ANSWERS, 2) if answers else mutate(rng, SEEDS, 3)
        try:
            run_answer(pieces) if answers else run(pieces)
        except Broken as error:
            raise Broken(f"{error}\nseed {seed} case {done} ({what}): {pieces!r}") from error
        done += 1
    return done


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    try:
        print(f"seed {arguments.seed}: {fuzz(arguments.seed, seconds=arguments.seconds)} cases in order")
    except Broken as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
