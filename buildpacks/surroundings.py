"""What programs print when a build's surroundings fail them, whatever the tool: names, the network, memory, disk. Pure."""

from __future__ import annotations

from buildpacks.failurehint import FailureHint as Hint

_REACH = (
    "Check the name; if it is right, the server itself must reach it: paas doctor. When only this step asks for it, leave the"
    " request out of the build."
)

NETWORK = (
    Hint(
        r"getaddrinfo (?:ENOTFOUND|EAI_AGAIN|ETIMEOUT) (?P<host>[\w.-]+)",
        "the host {host} was not found",
        _REACH,
    ),
    Hint(
        r"connect (?P<why>ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH) (?P<host>[\w.:\[\]-]+)",
        "{host} cannot be reached ({why})",
        _REACH,
    ),
    Hint(
        r"Could not reach host (?P<host>[\w-]+(?:\.[\w-]+)*)|Failed to (?:fetch|download) https?://(?P<name>[^/\s:@]+)[/:]",
        "{host}{name} cannot be reached",
        _REACH,
    ),
    Hint(
        r"Could not resolve host:? '?(?P<host>[\w.-]+)|unable to resolve host address [‘'](?P<name>[\w.-]+)|Failed to resolve '(?P<third>[\w.-]+)'",
        "the host {host}{name}{third} was not found",
        _REACH,
    ),
    Hint(
        r"Failed to connect to (?P<host>[\w.-]+) port (?P<port>\d+)|Connection to (?P<name>[\w.-]+) timed out",
        "{host}{name} cannot be reached",
        _REACH,
    ),
    Hint(
        r"dial tcp: lookup (?P<host>[\w.-]+)",
        "the host {host} was not found",
        _REACH,
    ),
    Hint(
        r"Temporary failure in name resolution|Name or service not known|nodename nor servname",
        "a host was not found",
        _REACH,
    ),
)
SURROUNDINGS = (
    *NETWORK,
    Hint(
        r"No space left on device|ENOSPC|Disk quota exceeded",
        "the build ran out of disk",
        "Install less, or free disk on the server: paas doctor",
    ),
    Hint(
        r"^(?:bash|sh|/bin/sh|/bin/bash): (?:line )?(?:\d+: )?(?P<name>[\w./+-]+): (?:command )?not found",
        "command not found: {name}",
        "Name a program that the stack or the app's own packages bring.",
    ),
    Hint(
        r"[Rr]esource temporarily unavailable|can't start new thread|Cannot fork|fork: retry",
        "the build has too many processes",
        "Have it run fewer at once, or raise builds.pids in paas.yml.",
    ),
)
"""Read after a step's own hints, which know more."""
