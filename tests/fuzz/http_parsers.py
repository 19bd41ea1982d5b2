"""Coverage-guided fuzzing of the head and chunk parsers, judged by a second, slow and plain reading of the same rules.

    python tests/fuzz/http_parsers.py [--seconds 60] [FOLDER]

The corpus `tests/data/http` gives the seeds; FOLDER keeps what was found and is where a failing input is written. Each input is read as a
request, its rest as a chunked body, and the whole as a response. What the parsers accept the second reading must accept too and understand
the same way; they may raise nothing but BadHead and BadChunk; how a body is split over reads must not matter.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

with atheris.instrument_imports(include=["router"]):
    from router.wire import request, response
    from router.wire.chunked import BadChunk, ChunkReader, encode, encode_end
    from router.wire.heads import BadHead, HeadMemory

from harness.corpus import INVALID, VALID, after_chunks, unescape  # noqa: E402  # after the path and the instrumentation

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
MAX_BYTES = 8192


class Disagreement(Exception):
    """The parser took what the second reading does not, or understood it otherwise."""


def plain_lines(block: bytes) -> dict[bytes, list[bytes]]:
    """Header lines by lower-case name. Raises Disagreement for anything that is not strictly `name: value`."""
    found: dict[bytes, list[bytes]] = {}
    for line in block.split(b"\r\n") if block else []:
        name, colon, value = line.partition(b":")
        if not colon or NAME.fullmatch(name) is None:
            raise Disagreement(f"accepted the line {line!r}")
        if any((byte < 32 and byte != 9) or byte == 127 for byte in value):
            raise Disagreement(f"accepted control characters in {line!r}")
        found.setdefault(name.lower(), []).append(value.strip(b" \t"))
    return found


def plain_length(found: dict[bytes, list[bytes]]) -> int | None:
    """The length of the body, -1 for chunked, None when nothing is said. Raises Disagreement if that is open."""
    lengths, codings = found.get(b"content-length", []), found.get(b"transfer-encoding", [])
    if len(lengths) + len(codings) > 1:
        raise Disagreement(f"accepted the framing {lengths} {codings}")
    if codings:
        if codings[0].lower() != b"chunked":
            raise Disagreement(f"accepted the coding {codings}")
        return -1
    if not lengths:
        return None
    if not lengths[0] or lengths[0].strip(b"0123456789"):
        raise Disagreement(f"accepted the length {lengths}")
    return int(lengths[0])


def read_request(data: bytes, end: int) -> None:
    line_end = data.find(b"\r\n")
    block = data[line_end + 2 : end] if line_end < end else b""
    try:
        method, target, minor = request.parse_request_line(data, line_end)
        meaning = request.reader().read(block)
    except BadHead:
        return
    if data[:line_end] != b"%b %b HTTP/1.%d" % (method, target, minor) or NAME.fullmatch(method) is None:
        raise Disagreement(f"accepted the request line {data[:line_end]!r}")
    if any(byte <= 32 or byte == 127 for byte in target):
        raise Disagreement(f"accepted the target {target!r}")
    found = plain_lines(block)
    if meaning.length != (plain_length(found) or 0):
        raise Disagreement(f"length {meaning.length} of {block!r}")
    hosts = found.get(b"host", [])
    if len(hosts) > 1 or (meaning.host is None) != (not hosts):
        raise Disagreement(f"accepted the hosts {hosts}")
    if hosts and not hosts[0].lower().startswith(meaning.host or b"?"):
        raise Disagreement(f"host {meaning.host!r} of {hosts}")


def read_response(data: bytes, end: int) -> None:
    line_end = data.find(b"\r\n")
    block = data[line_end + 2 : end] if line_end < end else b""
    try:
        status = response.parse_status_line(data[:line_end])
        meaning = response.reader().read(block)
    except BadHead:
        return
    if not data.startswith(b"HTTP/1.%d %d" % (status.minor, status.code)) or not 100 <= status.code <= 999:
        raise Disagreement(f"accepted the status line {data[:line_end]!r}")
    length = plain_length(plain_lines(block))
    expected = {None: response.UNTIL_CLOSE, -1: response.CHUNKED}.get(length, length)
    if meaning.length != expected:
        raise Disagreement(f"length {meaning.length} of {block!r}")


def heads_like(block: bytes, data: bytes) -> list[bytes]:
    """The header lines, and the same with the bytes of one line, or of its value, replaced by others of the input."""
    lines = block.split(b"\r\n")
    seed = zlib.crc32(data)
    at, cut = seed % len(lines), seed // 7 % (len(data) + 1)
    name, colon, value = lines[at].partition(b":")
    texts = [
        name + colon + value + b"1",
        name + colon + data[cut : cut + 20],
        data[cut : cut + 30],
        name + b"x" + colon + value,
    ]
    return [block, *(b"\r\n".join([*lines[:at], text, *lines[at + 1 :]]) for text in texts), block]


def understood(read: Callable[[], Any]) -> Any:
    """Everything that a meaning says, or the status of a refusal."""
    try:
        meaning = read()
    except BadHead as error:
        return error.status
    return {name: getattr(meaning, name) for name in meaning.__slots__}


def read_one_after_the_other(data: bytes, end: int) -> None:
    """A connection's memory of its heads must not change what they mean."""
    line_end = data.find(b"\r\n")
    if line_end >= end:
        return
    for room in (request, response):
        memory = HeadMemory(room.reader())
        for block in heads_like(data[line_end + 2 : end], data):
            if b"\r\n\r\n" in block or block.startswith(b"\r\n"):
                continue
            head = block + b"\r\n" if block else b""
            remembered = understood(
                lambda memory=memory, head=head: memory.read(b"..." + head + b"..", 3, 3 + len(head))
            )
            fresh = understood(lambda room=room, block=block: room.reader().read(block))
            if remembered != fresh:
                raise Disagreement(f"after others {block!r} means {remembered}, alone {fresh}")


def feed(pieces: list[bytes]) -> tuple[bytes, bytes, bytes] | None:
    """Body, trailers and rest of a chunked body; None when it is bad or not all there."""
    reader, body, rest = ChunkReader(), b"", b""
    try:
        for piece in pieces:
            if reader.done:
                rest += piece
            else:
                body += reader.feed(piece)
    except BadChunk:
        return None
    return (body, reader.trailers, reader.leftover + rest) if reader.done else None


def plain_body(data: bytes) -> tuple[bytes, bytes]:
    """Body and rest of a chunked body that is all there, with extensions. Raises Disagreement."""
    body = b""
    while True:
        line, _, data = data.partition(b"\r\n")
        digits = line.partition(b";")[0].rstrip(b" \t")
        if not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise Disagreement(f"accepted the chunk line {line!r}")
        size = int(digits, 16)
        if not size:
            return body, (b"\r\n" + data).partition(b"\r\n\r\n")[2]
        if data[size : size + 2] != b"\r\n":
            raise Disagreement("accepted a chunk without its end")
        body, data = body + data[:size], data[size + 2 :]


def read_chunks(data: bytes) -> None:
    whole = feed([data])
    at = zlib.crc32(data) % (len(data) + 1)
    if feed([data[:at], data[at:]]) != whole or feed([data[n : n + 1] for n in range(len(data))]) != whole:
        raise Disagreement("the body depends on how it is split over reads")
    if whole is None:
        return
    body, trailers, rest = whole
    plain_lines(trailers[:-2])
    if plain_body(data) != (body, rest):
        raise Disagreement("another reading finds another body, or another end of it")
    if after_chunks(encode(body) + encode_end(trailers) + b"next") != b"next":
        raise Disagreement("what is written does not end where it should")


def one(data: bytes) -> None:
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        read_request(data, end)
        read_response(data, end)
        read_one_after_the_other(data, end)
    read_chunks(data[end + 4 :] if end >= 0 else data)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("folder", nargs="?", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    seeds = folder / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    for path in [*VALID, *INVALID]:
        data = unescape(path.read_bytes())
        if len(data) <= MAX_BYTES:
            (seeds / f"{path.parent.name}-{path.stem}").write_bytes(data)
    limits = [f"-max_total_time={arguments.seconds}", f"-max_len={MAX_BYTES}", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(seeds)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
