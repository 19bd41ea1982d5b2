"""Addresses of git repositories elsewhere, as people type them: `https://host/path.git#branch`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from paas.nouns.errors import BadInput
from paas.nouns.text import quoted

SCHEMES = ("https", "http", "git")
_MOST_CHARACTERS = 2000
_REF = re.compile(r"(?!-)[A-Za-z0-9._/+@-]{1,250}")
_HINT = "For example: https://host/team/app.git#main (also http:// and git:// where the operator allows it)."


@dataclass(frozen=True)
class RemoteRepository:
    """`url` without a login; `ref` is a branch, a tag or a commit, empty for the branch that the repository names."""

    url: str
    ref: str = ""
    username: str = ""
    password: str = ""

    @classmethod
    def parse(cls, text: str) -> RemoteRepository:
        """Raises BadInput: paths of this machine and ssh are no addresses here."""
        address, _, ref = text.partition("#")
        try:
            parts = urlsplit(address)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise _refused(address) from None
        wrong = parts.scheme not in SCHEMES or not host or not parts.path.strip("/") or parts.query
        if (
            wrong
            or len(text) > _MOST_CHARACTERS
            or not (address.isascii() and address.isprintable())
            or " " in address
        ):
            raise _refused(address)
        if ref and not _REF.fullmatch(ref):
            raise BadInput(f"{quoted(ref)} is no branch, tag or commit.", _HINT)
        name = f"[{host}]" if ":" in host else host
        place = f"{name}:{port}" if port is not None else name
        url = SplitResult(parts.scheme, place, parts.path.rstrip("/"), "", "").geturl()
        return cls(url, ref, unquote(parts.username or ""), unquote(parts.password or ""))

    def __str__(self) -> str:
        """As it may be shown: without a login."""
        return f"{self.url}#{self.ref}" if self.ref else self.url


def _refused(address: str) -> BadInput:
    shown = re.sub(r"//[^/@]*@", "//", address)
    return BadInput(f"{quoted(shown)} is not the address of a repository that can be fetched.", _HINT)
