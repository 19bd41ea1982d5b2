"""The answers of the router itself: the status, H-code and sentence of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus


@dataclass(frozen=True)
class OwnAnswer:
    """`code` is a well-known H-code, empty for the client's own errors; `log` is the description in the access
    log, `text` the sentence on the page."""

    status: int
    code: str
    log: str
    text: str

    def because(self, reason: object) -> OwnAnswer:
        """The same with a reason for the log, which must not contain text from a client or a backend."""
        return replace(self, log=f"{self.log}: {reason}")


_APP = "The application could not answer."

ANSWERS: dict[str, OwnAnswer] = {
    "crashed": OwnAnswer(503, "H10", "App crashed", "The application has crashed."),
    "first-byte": OwnAnswer(503, "H12", "Request timeout", "The application took too long to answer."),
    "backlog": OwnAnswer(
        503, "H11", "Backlog too deep", "Too many requests are waiting for the application."
    ),
    "no-response": OwnAnswer(503, "H13", "Connection closed without response", _APP),
    "no-web": OwnAnswer(503, "H14", "No web processes running", "The application is not running."),
    "idle": OwnAnswer(503, "H15", "Idle connection", "The connection was idle for too long."),
    "bad-response": OwnAnswer(502, "H17", "Poorly formatted HTTP response", _APP),
    "interrupted": OwnAnswer(503, "H18", "Server Request Interrupted", _APP),
    "connect-timeout": OwnAnswer(503, "H19", "Backend connection timeout", _APP),
    "booting": OwnAnswer(503, "H20", "App boot timeout", "The application is still starting."),
    "refused": OwnAnswer(503, "H21", "Backend connection refused", _APP),
    "client-gone": OwnAnswer(499, "H27", "Client Request Interrupted", "The client went away."),
    "maintenance": OwnAnswer(503, "H80", "Maintenance mode", "The application is down for maintenance."),
    "blank": OwnAnswer(503, "H81", "Blank app", "Nothing has been deployed to this application yet."),
    "platform": OwnAnswer(500, "H99", "Platform error", "Something went wrong on our side."),
    "unknown-host": OwnAnswer(404, "", "No such app", "There is no application at this address."),
    "moved-permanently": OwnAnswer(301, "", "Moved", "This address has moved."),
    "moved-same-method": OwnAnswer(308, "", "Moved", "This address has moved."),
    "unauthorized": OwnAnswer(401, "", "Unauthorized", "A name and a password are needed."),
    "forbidden": OwnAnswer(403, "", "Forbidden", "This address may not be asked from where you are."),
    "bad-request": OwnAnswer(400, "", "Bad request", "The request could not be understood."),
    "bad-method": OwnAnswer(405, "", "Method not allowed", "This method is not offered."),
    "slow-request": OwnAnswer(408, "", "Request timeout", "The request took too long to arrive."),
    "too-large": OwnAnswer(413, "", "Content too large", "The request body is too large."),
    "long-target": OwnAnswer(414, "", "URI too long", "The address is too long."),
    "expectation": OwnAnswer(417, "", "Expectation failed", "The expectation cannot be met."),
    "long-head": OwnAnswer(431, "", "Header fields too large", "The request head is too large."),
    "coding": OwnAnswer(501, "", "Not implemented", "This transfer coding is not offered."),
    "version": OwnAnswer(505, "", "Version not supported", "Only HTTP/1.0 and HTTP/1.1 are spoken here."),
}

BY_CODE = {own_answer.code: own_answer for own_answer in ANSWERS.values() if own_answer.code}
"""H-code to answer, for routes whose flags name one."""

_BY_STATUS = {f.status: f for f in ANSWERS.values() if not f.code}


def of_status(status: int) -> OwnAnswer:
    """The answer to a refused request head."""
    return _BY_STATUS.get(status, ANSWERS["bad-request"])


def reason(status: int) -> str:
    """The reason phrase of a status."""
    return "Client Closed Request" if status == 499 else HTTPStatus(status).phrase
