"""The exception family: every error that a user can see has a message, a cause class and a hint."""

from __future__ import annotations

import errno
import os
from typing import Any


class PaasError(Exception):
    """An error for people. `code` is stable, `message` is one sentence, `hint` says what to do about it.

    `lines` is evidence (log lines) printed below. Rendered in three places only: CLI, API, git side band.
    """

    code = "error"
    http_status = 400
    exit_status = 1

    def __init__(self, message: str, hint: str = "", *, cause: str = "", lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.cause = cause
        self.lines = lines

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "cause": self.cause,
            "lines": list(self.lines),
        }


class BadInput(PaasError):
    """A value breaks a rule; the message names the value and the rule."""

    code = "bad_input"
    http_status = 422


class NotFound(PaasError):
    code = "not_found"
    http_status = 404


class Forbidden(PaasError):
    code = "forbidden"
    http_status = 403


class Unauthorized(PaasError):
    code = "unauthorized"
    http_status = 401


class Conflict(PaasError):
    """Something with this name exists, or another deployment is under way."""

    code = "conflict"
    http_status = 409


class TooMany(PaasError):
    """Too many requests in too short a time; the hint says when to try again."""

    code = "too_many"
    http_status = 429


class BuildFailed(PaasError):
    """A build ended without an image; `cause` is the class (out of memory, build command failed …)."""

    code = "build_failed"
    http_status = 422


class DeployFailed(PaasError):
    """A release never became healthy; the old one serves on."""

    code = "deploy_failed"
    http_status = 422


class Cancelled(PaasError):
    code = "cancelled"
    http_status = 409
    exit_status = 130


class Unavailable(PaasError):
    """A part of the platform does not answer (yet)."""

    code = "unavailable"
    http_status = 503


class RegistryRefused(PaasError):
    """A registry of images refuses, or does not answer."""

    code = "registry_refused"
    http_status = 502


_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))
_FILES = _DISK | {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EMFILE, errno.ENFILE}


def of_files(error: BaseException) -> Unavailable | None:
    """The error to show when the platform cannot read or write its files; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _FILES:
        return None
    if error.filename is None and error.errno not in _DISK:
        return None
    place = "its disk" if error.filename is None else os.path.dirname(os.fsdecode(error.filename))
    return Unavailable(
        f"The platform cannot use {place}: {error.strerror}.",
        "Its operator finds the cause with: paas doctor",
        cause="files",
    )


def from_json(data: dict[str, Any], http_status: int = 400) -> PaasError:
    """The error that `to_json` described, with the class of its code."""
    for kind in _all(PaasError):
        if kind.code == data.get("code"):
            break
    else:
        kind = PaasError
    error = kind(
        str(data.get("message", "unknown error")),
        str(data.get("hint", "")),
        cause=str(data.get("cause", "")),
        lines=tuple(str(line) for line in data.get("lines", ())),
    )
    error.http_status = http_status
    return error


def _all(kind: type[PaasError]) -> list[type[PaasError]]:
    return [kind] + [sub for child in kind.__subclasses__() for sub in _all(child)]
