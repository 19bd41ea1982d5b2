"""What forges send to a hook: whether it is theirs, and which branch was pushed. GitHub, Gitea, Forgejo, GitLab. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from paas.nouns.errors import BadInput
from paas.nouns.names import OBJECT_ID

FORM = "application/x-www-form-urlencoded"
_SIGNATURES = {"x-hub-signature-256": "sha256=", "x-gitea-signature": "", "x-forgejo-signature": ""}
_TOKEN = "x-gitlab-token"
_EVENTS = ("x-github-event", "x-gitea-event", "x-forgejo-event", "x-gitlab-event")
_PUSH = frozenset(("push", "Push Hook"))
_PING = frozenset(("ping",))
_BRANCH = re.compile(r"refs/heads/([A-Za-z0-9._/+@-]{1,250})")


@dataclass(frozen=True)
class Delivery:
    """`kind` is push, ping, deleted or other; `branch` and `commit` are those of a push."""

    kind: str
    branch: str = ""
    commit: str = ""


def is_signed(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Whether the sender knows the secret: the body's HMAC, or GitLab's token, compared in constant time.

    The names of `headers` are in lower case.
    """
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = {name: headers.get(name, "") for name in (*_SIGNATURES, _TOKEN)}
    good = [_same(given[name], prefix + digest) for name, prefix in _SIGNATURES.items() if given[name]]
    good += [_same(given[_TOKEN], secret)] if given[_TOKEN] else []
    return bool(good) and all(good)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def parse_delivery(headers: Mapping[str, str], content_type: str, body: bytes) -> Delivery:
    """The names of `headers` are in lower case. Raises BadInput for a push that does not say what was pushed."""
    event = next((headers[name] for name in _EVENTS if headers.get(name)), "")
    if event in _PING:
        return Delivery("ping")
    if event not in _PUSH:
        return Delivery("other")
    try:
        text = parse_qs(body.decode(), max_num_fields=4)["payload"][0] if content_type == FORM else body
        data = json.loads(text)
        ref, after, deleted = data["ref"], data["after"], data.get("deleted") is True
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise BadInput(
            "This is no push that can be understood.", "Send JSON, as GitHub, Gitea or GitLab do."
        ) from None
    branch = _BRANCH.fullmatch(ref) if isinstance(ref, str) else None
    if branch is None or not isinstance(after, str) or not OBJECT_ID.fullmatch(after):
        return Delivery("other")
    if deleted or not after.strip("0"):
        return Delivery("deleted", branch[1])
    return Delivery("push", branch[1], after)
