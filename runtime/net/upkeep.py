"""Keeps a platform's network working while its spawner runs: restores the packet rules, restarts the DNS relay."""

from __future__ import annotations

import pwd
import select
import sys

from runtime.net import dns
from runtime.net.network import Network, RulesError, drain
from runtime.reactor import Reactor

_SETTLE_S = 0.3
_LOOK_EVERY_S = 60.0
_RELAY_PAUSE_S = 1.0
_RELAY_USER = "nobody"


def keep_rules(reactor: Reactor, network: Network) -> None:
    """Restore the rules soon after anyone changes them; check once a minute in any case."""
    watch = network.watch()
    due: list[bool] = []

    def reapply() -> None:
        due.clear()
        try:
            if network.reapply():
                _say("network rules restored")
        except (RulesError, OSError) as error:
            _say(f"network rules not restored: {error}")

    def changed(_: int) -> None:
        drain(watch)
        if not due:
            due.append(True)
            reactor.later(_SETTLE_S, reapply)

    def periodic() -> None:
        reapply()
        reactor.later(_LOOK_EVERY_S, periodic)

    reactor.watch(watch.fileno(), changed)
    reactor.later(_LOOK_EVERY_S, periodic)


def keep_relay(reactor: Reactor, network: Network) -> None:
    """Run a relay where instances cannot reach the host's name servers; restart it when it ends."""
    if not network.needs_relay:
        return
    account = pwd.getpwnam(_RELAY_USER)

    def start() -> None:
        try:
            relay = dns.start(network.gateway, uid=account.pw_uid, gid=account.pw_gid)
        except OSError as error:
            _say(f"no name server for instances: {error}")
            reactor.later(_RELAY_PAUSE_S, start)
            return
        pipe = relay.stdin
        assert pipe is not None

        def ended(_: int) -> None:
            reactor.forget(pipe.fileno())
            pipe.close()
            relay.kill()
            relay.wait()
            reactor.later(_RELAY_PAUSE_S, start)

        reactor.watch(pipe.fileno(), ended, select.EPOLLERR)

    start()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
