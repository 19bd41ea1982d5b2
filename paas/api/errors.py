"""Every error of the API becomes one JSON object; a bug is logged with its traceback and shown as an id."""

from __future__ import annotations

import logging
import secrets

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from paas.nouns.errors import PaasError, of_files

_log = logging.getLogger("paas.api")

_SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The body is too large.",
}


class InternalError(PaasError):
    """A bug: the traceback is in the daemon's log under the id in the message."""

    code = "internal"
    http_status = 500


def internal_error(error: BaseException) -> PaasError:
    """Log the traceback under a new id; the error to show: a file's or disk's failure in words, else the id."""
    number = secrets.token_hex(4)
    _log.error("event=internal_error id=%s", number, exc_info=error)
    return of_files(error) or InternalError(
        f"Internal error {number}.", "The server's log tells more under this number."
    )


def register(app: Flask) -> None:
    """The one error handler."""
    app.register_error_handler(Exception, _handle)


def _handle(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        status = error.code or 500
        shown = PaasError(_SENTENCES.get(status, f"{error.name}."))
        shown.http_status = status
        shown.code = {404: "not_found", 413: "too_large"}.get(status, "bad_request")
    elif isinstance(error, PaasError):
        shown = error
    else:
        shown = internal_error(error)
    response = jsonify(error=shown.to_json())
    response.status_code = shown.http_status
    if shown.http_status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
