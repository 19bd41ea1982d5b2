"""Advice for unknown commands: words of other platforms, and typing errors."""

from __future__ import annotations

from collections.abc import Collection

from paas.nouns.text import slip

PUSH = "Commit, then deploy with: git push paas main"
NO_SERVICES = "There are no add-ons. Run the service elsewhere and give its address: paas config:set NAME=URL"
NO_FILES = (
    "There is no storage that outlives a process; keep files in a service elsewhere, by: paas config:set"
)
NO_CLOCK = "Nothing is started by the clock. A scheduler elsewhere can: paas run -d -a APP -- COMMAND"
SCALE = "Say how many should run: paas scale web=2"
SEE = "See what runs: paas ps --stats; what the router does: paas router:top"
RUN = "Run a command in a new container: paas run -- bash"
LOGS = "See: paas logs -t"
REMOTE = "`paas create` adds the git remote; else: git remote add paas ssh://paas@HOST:PORT/APP"
PEOPLE = "An app has one owner; who may push: paas users, paas keys"
RELEASES = "See: paas releases, paas releases:info, paas rollback"

FOREIGN = {
    "addon": NO_SERVICES, "addons": NO_SERVICES, "services": NO_SERVICES, "service": NO_SERVICES, "plugin": NO_SERVICES,
    "pg": NO_SERVICES, "psql": NO_SERVICES, "postgres": NO_SERVICES, "postgresql": NO_SERVICES, "mysql": NO_SERVICES,
    "mariadb": NO_SERVICES, "mongo": NO_SERVICES, "redis": NO_SERVICES, "kafka": NO_SERVICES, "db": NO_SERVICES,
    "storage": NO_FILES, "volume": NO_FILES, "volumes": NO_FILES, "disk": NO_FILES, "mount": NO_FILES,
    "redeploy": PUSH, "push": PUSH, "release": PUSH, "publish": PUSH, "up": PUSH, "launch": PUSH,
    "ship": PUSH, "rebuild": "Build the same source again: paas ps:rebuild", "git": REMOTE, "remote": REMOTE,
    "init": "Make an app: paas create", "new": "Make an app: paas create",
    "top": SEE, "ps:top": SEE, "stats": SEE, "metrics": SEE, "status": SEE, "monitor": SEE, "health": SEE,
    "ps:report": SEE, "ps:inspect": SEE, "dyno": SCALE, "ps:type": SCALE, "ps:resize": "See: paas limits:set",
    "resize": "See: paas limits:set", "resource": "See: paas limits, paas limits:set", "start": SCALE, "ps:start": SCALE,
    "stop": "Stop processes: paas ps:stop; let none run: paas scale web=0",
    "kill": "Stop processes: paas ps:stop", "ps:kill": "Stop processes: paas ps:stop",
    "reload": "Restart processes: paas ps:restart", "reboot": "Restart processes: paas ps:restart",
    "enter": RUN, "exec": RUN, "ssh": RUN, "shell": RUN, "console": RUN, "bash": RUN, "ps:exec": RUN, "attach": RUN,
    "cron": NO_CLOCK, "scheduler": NO_CLOCK, "jobs": NO_CLOCK,
    "env": "Config vars: paas config, paas config:set", "vars": "Config vars: paas config, paas config:set",
    "secrets": "Config vars: paas config, paas config:set", "set": "Config vars: paas config:set NAME=VALUE",
    "unset": "Config vars: paas config:unset NAME", "get": "Config vars: paas config:get NAME",
    "log": LOGS, "tail": LOGS, "logs:tail": LOGS, "events": LOGS, "logs:failed": "See: paas builds:output",
    "list": "See: paas apps", "ls": "See: paas apps", "app": "See: paas apps, paas apps:info", "info": "See: paas apps:info",
    "apps:list": "See: paas apps",
    "rm": "Destroy an app: paas apps:destroy APP", "delete": "Destroy an app: paas apps:destroy APP",
    "remove": "Destroy an app: paas apps:destroy APP", "down": "Let none run: paas scale web=0",
    "domain": "See: paas domains, paas domains:add NAME", "proxy": "See: paas router:settings, paas router:set",
    "nginx": "See: paas router:settings, paas router:set", "ports": "The router gives the port: paas apps:info",
    "ssl": "See: paas certs, paas certs:auto:enable", "letsencrypt": "See: paas certs:auto:enable",
    "access": PEOPLE, "members": PEOPLE, "teams": PEOPLE, "sharing": PEOPLE, "ssh-keys": "See: paas keys, paas keys:add",
    "user": "See: paas users, paas users:add", "history": RELEASES, "rollbacks": RELEASES, "promote": "See: paas canary:promote",
    "pipelines": "There are no pipelines. Try a release beside the serving one: paas canary", "checks": "See docs/deployments.md: health checks are set in app.json.",
    "buildpacks": "The language is recognised; app.json may name `buildpacks`. See docs/buildpacks.md.",
    "update": "The server's own: pip install --upgrade, then start it again.", "version": "See: paas --version",
    "certs:auto": "See: paas certs, paas certs:auto:enable, paas certs:auto:disable", "drains": "There are no drains. Follow the lines: paas logs -t",
    "apps:transfer": PEOPLE, "rename": "See: paas apps:rename NAME", "apps:delete": "Destroy an app: paas apps:destroy APP",
    "config:edit": "Config vars: paas config:set NAME=VALUE", "container": "No containers are pushed. " + PUSH,
    "regions": "A platform is one machine: paas server:status",
    "auth:login": "See: paas login URL", "backup": "Stop the server and copy its home; see docs/operating.md.",
}  # fmt: skip
"""An unknown command, or the topic before its colon → the command to use."""

READING = frozenset(
    (
        "apps", "apps:info", "builds", "builds:info", "builds:output", "config", "config:get", "ps", "limits", "releases",
        "releases:info", "logs", "domains", "domains:list", "router", "router:top", "router:metrics", "router:settings",
        "auth", "allow", "errors", "certs", "certs:list", "certs:ca", "keys", "tokens", "users", "whoami", "stacks",
        "server:status", "server:unit", "doctor", "help", "open",
    )
)  # fmt: skip
"""Commands that change nothing, whatever words follow."""


def advice(word: str, commands: Collection[str]) -> str:
    """The suggestion for an unknown command; empty without a guess."""
    topic = word.partition(":")[0]
    near = nearest(word, commands)
    if word in FOREIGN or (topic in FOREIGN and not (near and near.startswith(f"{topic}s:"))):
        return FOREIGN.get(word) or FOREIGN[topic]
    return f"Perhaps you mean {near}." if near else ""


def nearest(word: str, commands: Collection[str]) -> str | None:
    """The most similar command: one that only reads, or one that differs by one typing error in each part.

    A guess must not lead to a command that destroys: `deploy` is not `destroy`, and `allow:remve` is not `allow`.
    """
    import difflib

    typed = {name: slips for name in commands if (slips := _slips(word, name)) is not None}
    if typed:
        return min(typed, key=typed.__getitem__)
    found = difflib.get_close_matches(word, [name for name in commands if name in READING], 1, 0.6)
    return found[0] if found else None


def _slips(word: str, name: str) -> int | None:
    """How many of topic and verb have a typing error, if they begin alike and none has more than one."""
    parts, others = word.split(":"), name.split(":")
    pairs = list(zip(parts, others, strict=False))
    if len(parts) != len(others) or not all(
        one[:1] == other[:1] and slip(one, other) for one, other in pairs
    ):
        return None
    return sum(one != other for one, other in pairs)
