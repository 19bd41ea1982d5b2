"""What runs: list, scale, restart, stop; and the limits of each process type."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import click

from paas.cli import output
from paas.cli.base import (
    Answer,
    about_app,
    alias,
    app_option,
    app_path,
    client,
    command,
    restarting,
    run_stream,
)
from paas.nouns.errors import BadInput
from paas.nouns.names import LIMITS, ProcessType, ScaleWord, limit_word, shown_limit
from paas.nouns.text import one_line, quoted


@command("ps")
@about_app
@click.option("--stats", is_flag=True, help="Also show memory, cpu time and processes.")
def ps(app: str, stats: bool) -> Answer:
    """List what runs."""
    api = client()
    found = api.get(app_path(app, "instances"), stats=stats or None)["instances"]
    yield found
    if not found:
        output.note(f"Nothing runs in {app}.")
    formation = api.get(app_path(app, "formation"))["formation"]
    for line in ps_lines(found, time.time(), stats=stats, formation=formation):
        output.result(line)


def ps_lines(
    found: list[dict[str, Any]],
    now: float,
    *,
    stats: bool = False,
    formation: Iterable[dict[str, Any]] = (),
) -> list[str]:
    """The listing, grouped by type in the order given; then the types of the formation of which none should run."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for item in found:
        groups.setdefault((item["kind"], item["type"]), []).append(item)
    lines: list[str] = []
    for (kind, type), members in groups.items():
        if lines:
            lines.append("")
        lines += [f"=== {_group_title(kind, type, members)}", ""]
        lines += [_instance_line(kind, item, now, stats) for item in members]
    for entry in formation:
        if not entry["quantity"] and ("process", entry["type"]) not in groups:
            lines += [""] if lines else []
            lines.append(f"=== {_group_title('process', entry['type'], [], entry)}")
    return lines


def _group_title(
    kind: str, type: str, members: list[dict[str, Any]], entry: dict[str, Any] | None = None
) -> str:
    if kind == "run":
        return f"run: one-off processes ({len(members)})"
    first = entry or members[0]
    limits = first["limits"]
    memory, cpu = (
        shown_limit("memory_bytes", limits["memory_bytes"]),
        shown_limit("cpu_millis", limits["cpu_millis"]),
    )
    count = len({item["name"] for item in members})
    return f"{type} ({memory}, {cpu} cpu): {one_line(first['command'])} ({count})"


def _instance_line(kind: str, item: dict[str, Any], now: float, stats: bool) -> str:
    line = f"{item['name']}: {item['state']} {output.moment(item['since'], now)}"
    if kind == "run":
        line += f": {one_line(item['command'])}"
    if item.get("release"):
        line += f", v{item['release']}"
    if item.get("restarts"):
        line += f", {item['restarts']} restart{'s' if item['restarts'] > 1 else ''}"
    if item.get("cause"):
        line += f", {item['cause']}"
    used = item.get("stats")
    if stats and used:
        memory = (
            f"{used['memory_bytes'] / (1 << 20):.1f} MiB (peak {used['peak_memory_bytes'] / (1 << 20):.1f})"
        )
        line += f"  {memory}, cpu {used['cpu_usec'] / 1e6:.1f} s, {used['pids']} pids"
    return line


@command("scale")
@click.argument("words", metavar="[TYPE=N|TYPE+N|TYPE-N]...", nargs=-1)
@app_option
def scale(words: tuple[str, ...], app: str) -> Answer:
    """Set how many of each process should run; without arguments, show it."""
    api = client()
    if not words:
        formation = api.get(app_path(app, "formation"))["formation"]
        yield formation
        return output.result(" ".join(f"{item['type']}={item['quantity']}" for item in formation))
    changes = {}
    for word in words:
        parsed = ScaleWord.parse(word)
        if parsed.type in changes:
            raise BadInput(f"{parsed.type} is given twice.")
        changes[parsed.type] = {"delta" if parsed.delta else "quantity": parsed.amount}
    with output.Progress(f"Scaling {app}") as progress:
        messages = api.stream("PATCH", app_path(app, "formation"), {"changes": changes})
        formation = run_stream(progress, messages)["formation"]
        now = [f"{item['type']} at {item['quantity']}" for item in formation if item["type"] in changes]
        progress.done(f"done, now running {', '.join(now)}")
    yield formation


alias("ps:scale", scale)


@command("ps:restart")
@click.argument("which", metavar="[TYPE|web.1]", required=False)
@app_option
def ps_restart(which: str | None, app: str) -> Answer:
    """Restart all processes, those of a type, or one; stopped ones start again."""
    yield _act(app, "restart", "Restarting", which)


alias("restart", ps_restart)


@command("ps:stop")
@click.argument("which", metavar="[TYPE|run.1]", required=False)
@app_option
def ps_stop(which: str | None, app: str) -> Answer:
    """Stop processes until they are scaled or restarted; or end one run."""
    yield _act(app, "stop", "Stopping", which)


def _act(app: str, verb: str, doing: str, which: str | None) -> Any:
    body = {} if which is None else {"name" if "." in which else "type": which}
    what = f"{quoted(which)} of {app}" if which else app
    with output.Progress(f"{doing} {what}") as progress:
        messages = client().stream("POST", app_path(app, verb), body)
        formation = run_stream(progress, messages)["formation"]
        meant = [item for item in formation if "type" not in body or item["type"] == body["type"]]
        idle = not ("name" in body or any(item["quantity"] for item in meant))
        progress.done("done: nothing runs, all is scaled to 0; see: paas scale" if idle else "done")
    return formation


@command("limits")
@about_app
def limits(app: str) -> Answer:
    """Show memory, cpu and process limits of each type."""
    found = client().get(app_path(app, "limits"))["limits"]
    yield found
    output.heading(f"{app} Limits")
    output.table([type, *limit_words(values)] for type, values in found.items())


def limit_words(values: dict[str, int]) -> list[str]:
    """`memory=512M`, `cpu=1`, `pids=256`: as `limits:set` takes them."""
    return [
        f"{word}={shown_limit(key, values[key])}" for key, (_, _, word, _) in LIMITS.items() if key in values
    ]


@command("limits:set")
@click.argument("type")
@click.argument("words", metavar="[memory=256M] [cpu=0.5] [pids=100]", nargs=-1)
@app_option
def limits_set(type: str, words: tuple[str, ...], app: str) -> Answer:
    """Limit a process type: one new release, one rolling restart."""
    changes = dict(limit_word(word) for word in words or (type,))
    api, type = client(), ProcessType.parse(type)
    with output.Progress(f"Setting {type} limits {restarting(api, app)}") as progress:
        messages = api.stream("PATCH", app_path(app, "limits"), {type: changes})
        result = run_stream(progress, messages)
        progress.done(f"done, {result['release']['version']}" if "release" in result else "done")
    now = result.get("limits", {}).get(type, changes)
    yield {type: now}
    output.result(" ".join([type, *limit_words(now)]))
