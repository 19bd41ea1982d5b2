"""A client of OCI registries (distribution-spec 1.1): manifests and blobs, read and written.

One connection a request. Every answer is bounded and every wait ends; a blob is hashed as it comes. Credentials go to the
registry and to the token server that it names, never to where an answer redirects. The standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import urlencode, urljoin

from runtime.image.distribution import (
    ACCEPTED,
    Blob,
    Manifest,
    Reference,
    parse_challenges,
    parse_errors,
    parse_manifest,
)
from runtime.image.errors import Damaged, RegistryError
from runtime.image.exchange import Answer, Body, origin, request, split
from runtime.image.names import digest_hex
from runtime.image.ocilayout import MANIFEST
from runtime.image.reach import Patience, Reach

_REDIRECTS = 5
_TRIES = 5
CHUNK = 64 * 1024 * 1024
"""A larger blob is sent in pieces of this size: some registries and proxies refuse longer bodies."""
_MOVED = (301, 302, 303, 307, 308)
_TOKEN = re.compile(r"[!-~]{1,16384}")


@dataclass(frozen=True)
class Login:
    """A user name and its password or token; neither is ever printed."""

    username: str = ""
    password: str = field(default="", repr=False)

    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Registry:
    """One repository of a registry. Methods raise RegistryError, Damaged for bytes that are not what their digest says."""

    def __init__(
        self,
        reference: Reference,
        *,
        reach: Reach,
        patience: Patience,
        login: Login | None = None,
        chunk_bytes: int = CHUNK,
    ) -> None:
        self._reference, self._reach, self._patience = reference, reach, patience
        self._login, self._chunk = login, chunk_bytes
        self._origin = f"{'http' if reference.plain else 'https'}://{reference.registry}"
        self._base = f"{self._origin}/v2/{reference.repository}"
        self._authorization = ""

    def read_manifest(self, name: str, architecture: str) -> tuple[str, Manifest]:
        """The manifest of a tag or digest, of an index the one for `architecture`; with its own digest."""
        for _ in range(2):
            answer = self._ask("GET", f"{self._base}/manifests/{name}", {"Accept": ACCEPTED}, ok=(200,))
            digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
            if name.startswith("sha256:") and name != digest:
                raise Damaged(f"{self._reference.registry} sent another manifest than {name}")
            found = parse_manifest(answer.body, architecture)
            if isinstance(found, Manifest):
                return digest, found
            name = found
        raise RegistryError("an index of images leads to another index")

    def write_manifest(self, name: str, data: bytes) -> str:
        """Store a manifest under a tag or digest; its digest."""
        headers = {"Content-Type": MANIFEST}
        self._ask("PUT", f"{self._base}/manifests/{name}", headers, data, ok=(201,), push=True)
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def has(self, blob: Blob) -> bool:
        """Whether the repository has the blob."""
        answer = self._ask("HEAD", f"{self._base}/blobs/{blob.digest}", ok=(200, 404), push=True)
        return answer.status == 200

    def read_blob(self, blob: Blob, write: Callable[[bytes], object]) -> None:
        """Pass the bytes of a blob on as they come; the rest of one whose connection breaks is asked for.

        What was passed on counts only if this returns.
        """
        digest, left = hashlib.sha256(), blob.size

        def take(piece: bytes) -> None:
            nonlocal left
            left -= len(piece)
            if left < 0:
                raise Damaged(f"blob {blob.digest} is longer than its manifest says")
            digest.update(piece)
            write(piece)

        for _ in range(_TRIES):
            before, rest = left, {"Range": f"bytes={blob.size - left}-"} if left < blob.size else {}
            try:
                url = f"{self._base}/blobs/{blob.digest}"
                self._ask("GET", url, rest, ok=(206,) if rest else (200,), take=take)
            except RegistryError:
                if not rest and left == before:
                    raise
                self._patience.left()
            if not left or left == before:
                break
        if left:
            sent = f"{blob.size - left} of the {blob.size} bytes"
            raise Damaged(f"{self._reference.registry} sent {sent} of blob {blob.digest}")
        if digest.hexdigest() != digest_hex(blob.digest):
            raise Damaged(f"{self._reference.registry} sent other bytes than blob {blob.digest}")

    def mount(self, blob: Blob, repository: str) -> bool:
        """Take the blob over from another repository of the registry, if it is there and may be read."""
        words = urlencode({"mount": blob.digest, "from": repository})
        url = f"{self._base}/blobs/uploads/?{words}"
        scope = f"repository:{repository}:pull"
        answer = self._ask("POST", url, ok=(201, 202, 401, 403, 404), push=True, scope=scope)
        if answer.status == 202:
            self._ask("DELETE", self._location(answer), ok=range(200, 500), push=True)
        return answer.status == 201

    def upload(self, blob: Blob, file: BinaryIO) -> None:
        """Send the blob, which `file` holds from its beginning."""
        answer = self._ask("POST", f"{self._base}/blobs/uploads/", ok=(202,), push=True)
        location, sent = self._location(answer), 0
        chunk = max(self._chunk, _number(answer.headers.get("OCI-Chunk-Min-Length", "")))
        file.seek(0)
        while blob.size - sent > chunk:
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{sent}-{sent + chunk - 1}",
            }
            answer = self._ask("PATCH", location, headers, Body(file, sent, chunk), ok=(202,), push=True)
            location, sent = self._location(answer), sent + chunk
        last = f"{location}{'&' if split(location).query else '?'}{urlencode({'digest': blob.digest})}"
        headers = {"Content-Type": "application/octet-stream"}
        if sent:
            headers["Content-Range"] = f"{sent}-{blob.size - 1}"
        self._ask("PUT", last, headers, Body(file, sent, blob.size - sent), ok=(201,), push=True)

    def _location(self, answer: Answer) -> str:
        location = answer.headers.get("Location", "")
        if not location:
            raise RegistryError("the registry does not say where an upload goes", answer.status)
        try:
            return urljoin(answer.url, location)
        except ValueError:
            raise RegistryError("the registry leads to an address that is none", answer.status) from None

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Body = b"",
        *,
        ok: tuple[int, ...] | range,
        take: Callable[[bytes], None] | None = None,
        push: bool = False,
        scope: str = "",
    ) -> Answer:
        """One request with all that it takes: a login when asked for, redirects of reads. `take` gets a good answer's body."""
        asked = False
        for _ in range(_REDIRECTS):
            answer = self._exchange(method, url, headers or {}, body, ok, take)
            if answer.status == 401 and not asked and self._is_registry(url):
                asked = True
                if self._log_in(answer, push=push, scope=scope):
                    continue
            if answer.status in _MOVED and method in ("GET", "HEAD"):
                url = self._location(answer)
                continue
            if answer.status in ok:
                return answer
            raise self._refused(answer)
        raise RegistryError(f"{self._reference.registry} redirects more than {_REDIRECTS} times")

    def _refused(self, answer: Answer) -> RegistryError:
        login = self._login or Login()
        secrets = (login.password, login.basic().split()[-1], self._authorization.partition(" ")[2])
        return _refusal(self._reference, answer, secrets, logged_in=self._login is not None)

    def _is_registry(self, url: str) -> bool:
        """Whether an address is the registry's own; nothing else learns an authorization."""
        return origin(split(url)) == origin(split(self._origin))

    def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Body,
        ok: tuple[int, ...] | range,
        take: Callable[[bytes], None] | None,
    ) -> Answer:
        sent = {"User-Agent": "paas", **headers}
        if self._authorization and self._is_registry(url):
            sent["Authorization"] = self._authorization
        return request(self._reach, self._patience, method, url, sent, body, ok=ok, take=take)

    def _log_in(self, answer: Answer, *, push: bool, scope: str) -> bool:
        """Answer a challenge; False if there is no answer to it."""
        challenges = parse_challenges(", ".join(answer.headers.get_all("WWW-Authenticate") or []))
        if "bearer" in challenges:
            self._authorization = f"Bearer {self._token(challenges['bearer'], push=push, scope=scope)}"
            return True
        if "basic" in challenges and self._login is not None:
            self._authorization = self._login.basic()
            return True
        return False

    def _token(self, challenge: Mapping[str, str], *, push: bool, scope: str) -> str:
        """A token from the server that a challenge names (distribution's token authentication)."""
        realm = challenge.get("realm", "")
        if split(realm).scheme not in ("https", "http" if self._reference.plain else "https"):
            raise RegistryError("the registry names a token server without TLS")
        actions = "pull,push" if push else "pull"
        scopes = [f"repository:{self._reference.repository}:{actions}", *([scope] if scope else [])]
        words: list[tuple[str, str]] = [("scope", text) for text in scopes]
        words += [("service", challenge["service"])] if "service" in challenge else []
        url = f"{realm}{'&' if split(realm).query else '?'}{urlencode(words)}"
        headers = {"User-Agent": "paas"} | ({"Authorization": self._login.basic()} if self._login else {})
        answer = request(self._reach, self._patience, "GET", url, headers)
        if answer.status != 200:
            raise self._refused(answer)
        try:
            value: Any = json.loads(answer.body)
            token = value.get("token") or value.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise RegistryError("the token server answers without a token")
        return token


def _number(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else 0


def _refusal(
    reference: Reference, answer: Answer, secrets: Sequence[str], *, logged_in: bool
) -> RegistryError:
    """The error for an answer that is not the hoped-for one, with the registry's own words but no secret."""
    said = parse_errors(answer.body, secrets)
    status = answer.status
    if status in (401, 403):
        what = "does not take this login" if logged_in else "wants a login"
        message = f"{reference.registry} {what} for {reference.repository}"
    elif status == 404:
        message = f"{reference.registry} has no {reference}"
    elif status == 429:
        message = f"{reference.registry} takes no more requests for now"
    else:
        message = f"{reference.registry} answers {status}"
    return RegistryError(f"{message} ({said})" if said else message, status)
