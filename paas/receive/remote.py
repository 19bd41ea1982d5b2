"""Fetch one commit of a repository elsewhere: git's protocol, version 0, over HTTP(S) or git://, without git.

The connections are ours, so the address that is checked is the one that is connected to, every wait ends, and git gets
what came through a file, without a network (gitprotocol-http(5), gitprotocol-pack(5)). Nothing here is unpacked.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlsplit

from paas.nouns.errors import BadInput, NotFound, PaasError, Unavailable
from paas.nouns.names import OBJECT_ID
from paas.nouns.remoteurl import RemoteRepository
from paas.nouns.text import harmless, quoted
from paas.nouns.units import shown_memory
from paas.receive.limits import Limits
from runtime.image.errors import RegistryError
from runtime.image.exchange import request
from runtime.image.reach import Patience, Reach, connect

_REF_BYTES = 64 << 20
_SHALLOW = 64
"""Commits where history may end; one commit is asked for, so a server names one."""
_REDIRECTS = 4
_MOVED = (301, 302, 303, 307, 308)
_GIT_PORT = 9418
_PACKET_BYTES = 65520
_SERVICE = "git-upload-pack"
_ADVERTISEMENT = f"application/x-{_SERVICE}-advertisement"
_NO_REPOSITORY = "is no repository that git can fetch from"


@dataclass(frozen=True)
class Fetched:
    """The commit, an open file whose position is where the pack with it begins, and the commits where history ends."""

    commit: str
    pack: IO[bytes]
    shallow: tuple[str, ...]


class _TooLarge(Exception):
    pass


def fetch(
    remote: RemoteRepository, folder: Path, limits: Limits, reach: Reach, patience: Patience
) -> Fetched:
    """Fetch the commit without its history into an unnamed file in `folder`. Raises PaasError."""
    descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    pack = open(descriptor, "r+b", buffering=0)  # noqa: SIM115
    try:
        talk = _over_git if remote.url.startswith("git:") else _over_http
        commit = talk(remote, _Bounded(pack, limits.pack_bytes), reach, patience)
        with open(descriptor, "rb", closefd=False) as answer:
            answer.seek(0)
            shallow, begin = _read_until_pack(answer), answer.tell()
        pack.seek(begin)
        return Fetched(commit, pack, shallow)
    except _TooLarge:
        raise BadInput(
            f"{remote} is larger than {shown_memory(limits.pack_bytes)}.",
            "The operator may allow more: push_limit_bytes.",
            cause="too large",
        ) from None
    except RegistryError as error:
        raise _unreachable(remote, error) from None
    except (OSError, ValueError) as error:
        raise Unavailable(f"{remote} broke off: {harmless(str(error))[:200]}.", "Try again.") from error


class _Bounded:
    """A file to write to, up to a size."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._left = file, most

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise _TooLarge
        while data:
            data = data[self._file.write(data) :]


def _over_http(remote: RemoteRepository, out: _Bounded, reach: Reach, patience: Patience) -> str:
    refs = io.BytesIO()
    base, headers = remote.url, _headers(remote)
    for _ in range(_REDIRECTS):
        url = f"{base}/info/refs?service={_SERVICE}"
        found = request(
            reach, patience, "GET", url, headers, ok=(200,), take=_Bounded(refs, _REF_BYTES).write
        )
        if found.status not in _MOVED:
            break
        base, headers = _moved(remote, url, found.headers.get("Location", ""), headers)
    if found.status in (401, 403, 404):
        raise _not_shown(remote, found.status)
    if found.status != 200 or found.headers.get_content_type() != _ADVERTISEMENT:
        raise NotFound(f"{remote.url} {_NO_REPOSITORY}: it answers {found.status}.")
    refs.seek(0)
    if _packet(refs) != f"# service={_SERVICE}\n".encode() or _packet(refs) != b"":
        raise NotFound(f"{remote.url} {_NO_REPOSITORY}.")
    commit, asked = _choose(remote, refs)
    headers |= {
        "Content-Type": f"application/x-{_SERVICE}-request",
        "Accept": f"application/x-{_SERVICE}-result",
    }
    found = request(reach, patience, "POST", f"{base}/{_SERVICE}", headers, asked, ok=(200,), take=out.write)
    if found.status != 200:
        raise Unavailable(f"{remote} answers {found.status} instead of a pack.", "Try again.")
    return commit


def _over_git(remote: RemoteRepository, out: _Bounded, reach: Reach, patience: Patience) -> str:
    parts = urlsplit(remote.url)
    host, port = parts.hostname or "", parts.port or _GIT_PORT
    with connect(reach, patience, host, port, plain=True) as stream:
        stream.sendall(_line(f"{_SERVICE} {parts.path}\0host={parts.netloc}\0"))
        answers = stream.makefile("rb")
        commit, asked = _choose(remote, answers)
        stream.sendall(asked)
        while piece := answers.read(1 << 18):
            out.write(piece)
    return commit


def _headers(remote: RemoteRepository) -> dict[str, str]:
    headers = {"User-Agent": "git/paas", "Accept": "*/*"}
    if remote.username or remote.password:
        login = f"{remote.username}:{remote.password}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(login).decode()
    return headers


def _moved(
    remote: RemoteRepository, url: str, location: str, headers: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Where a redirect leads; another host does not learn the login."""
    new = urljoin(url, location)
    end = f"/info/refs?service={_SERVICE}"
    if not new.endswith(end):
        raise NotFound(f"{remote.url} {_NO_REPOSITORY}: it leads to {quoted(new.partition('?')[0])}.")
    if urlsplit(new)[:2] != urlsplit(url)[:2]:
        headers = {name: value for name, value in headers.items() if name != "Authorization"}
    return new.removesuffix(end), headers


def _not_shown(remote: RemoteRepository, status: int) -> PaasError:
    if remote.username or remote.password:
        return NotFound(f"{remote.url} does not show itself to this login (it answers {status}).")
    return NotFound(
        f"{remote.url} is not there, or wants a login (it answers {status}).",
        "A private one: https://USER:TOKEN@host/path, with a token that may read.",
    )


def _unreachable(remote: RemoteRepository, error: RegistryError) -> PaasError:
    words = str(error)
    private = "private network" in words or "over TLS only" in words
    hint = "The operator may allow networks: private_registries." if private else "Try again."
    kind = BadInput if private else Unavailable
    return kind(f"{remote} cannot be fetched: {words}.", hint, cause="not reachable")


def _packet(stream: IO[bytes]) -> bytes | None:
    """The next pkt-line; empty for a flush, None at the end. Raises ValueError."""
    head = stream.read(4)
    if not head:
        return None
    size = int(head, 16) if re.fullmatch(rb"[0-9a-fA-F]{4}", head) else -1
    if size in (0, 1, 2):
        return b""
    data = stream.read(size - 4) if 4 <= size <= _PACKET_BYTES else b""
    if size < 4 or len(data) != size - 4:
        raise ValueError("what came is not git's protocol")
    if data.startswith(b"ERR "):
        raise ValueError(f"it says {quoted(data[4:].decode('utf-8', 'replace').strip(), 200)}")
    return data


def _line(text: str) -> bytes:
    data = text.encode()
    return b"%04x%b" % (len(data) + 4, data)


def _refs(stream: IO[bytes], capabilities: set[str]) -> Iterator[tuple[str, str]]:
    """Names and object ids as the server tells them; what it can do comes with the first one."""
    read = 0
    while packet := _packet(stream):
        read += len(packet)
        if read > _REF_BYTES:
            raise _TooLarge
        text, _, more = packet.rstrip(b"\n").partition(b"\0")
        if read == len(packet):
            capabilities.update(more.decode("ascii", "replace").split())
        oid, _, name = text.decode("utf-8", "replace").partition(" ")
        if OBJECT_ID.fullmatch(oid) and name != "capabilities^{}":
            yield name, oid


def _choose(remote: RemoteRepository, stream: IO[bytes]) -> tuple[str, bytes]:
    """The commit that is meant, and the request for it."""
    capabilities: set[str] = set()
    ref = remote.ref
    names = [ref, f"refs/heads/{ref}", f"refs/tags/{ref}"] if ref else ["HEAD"]
    wanted = {name: "" for each in names for name in (each, f"{each}^{{}}")}
    at = last = ""
    for name, oid in _refs(stream, capabilities):
        last = last if name.endswith("^{}") else oid  # an annotated tag comes before what it points to
        at = last if oid == ref else at
        if name in wanted:
            wanted[name] = oid
    found = next((name for name in names if wanted[name]), "")
    any_commit = capabilities & {"allow-reachable-sha1-in-want", "allow-any-sha1-in-want"}
    if found:
        tip, commit = wanted[found], wanted[f"{found}^{{}}"] or wanted[found]
    elif at or (OBJECT_ID.fullmatch(ref) and any_commit):
        tip, commit = at or ref, ref
    else:
        raise _no_such(remote)
    shallow = "shallow" in capabilities
    asked = _line(f"want {tip} ofs-delta agent=git/paas\n")
    return commit, asked + (_line("deepen 1\n") if shallow else b"") + b"0000" + _line("done\n")


def _no_such(remote: RemoteRepository) -> PaasError:
    if not remote.ref:
        return NotFound(f"{remote.url} has no commits yet, or names no branch.", "Name one: URL#BRANCH")
    if OBJECT_ID.fullmatch(remote.ref):
        return NotFound(
            f"{remote.url} gives no commit {remote.ref[:10]} that no branch or tag is at.",
            "Name a branch or a tag.",
        )
    return NotFound(f"{remote.url} has no branch and no tag {quoted(remote.ref)}.")


def _read_until_pack(answer: IO[bytes]) -> tuple[str, ...]:
    """Read what comes before the pack: where the history is cut off, then NAK."""
    shallow = []
    while (packet := _packet(answer)) is not None:
        word, _, oid = packet.decode("ascii", "replace").strip().partition(" ")
        if word == "shallow" and OBJECT_ID.fullmatch(oid):
            shallow.append(oid)
            if len(shallow) > _SHALLOW:
                raise ValueError(f"its history is cut off at more than {_SHALLOW} commits")
        elif word == "NAK":
            return tuple(shallow)
    raise ValueError("no pack came")
