"""Certificates for HTTPS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click

from paas.cli import output
from paas.cli.base import (
    APP_SENTENCE,
    Answer,
    alias,
    app_option,
    app_path,
    chosen_app,
    client,
    command,
    one_app,
)
from paas.cli.client import part
from paas.cli.inputs import read_file
from paas.nouns.errors import BadInput
from paas.nouns.names import both_forms, both_forms_of
from paas.nouns.text import quoted
from paas.nouns.units import DAY_S

_FILE_BYTES = 100_000


def owner_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-a APP` or `--platform`; the function passes both to `_owner`."""
    function = click.option("--platform", is_flag=True, help="For the apps' own addresses, all of them.")(
        function
    )
    return click.option("-a", "--app", metavar="APP", default="", help=APP_SENTENCE)(function)


def _owner(app: str, platform: bool) -> tuple[str, str]:
    """The owner of the certificates in words, and the path of them in the API."""
    if platform and app:
        raise BadInput("Both an app and --platform are named.", "Name one of them.")
    if platform:
        return "the platform", "/certs"
    name = chosen_app(app)
    return name, app_path(name, "certs")


@command("certs")
@click.argument("named", metavar="[APP]", required=False)
@owner_options
def certs(named: str | None, app: str, platform: bool) -> Answer:
    """List certificates: domain, issuer, end."""
    name, path = _owner(one_app(named, app), platform)
    found = client().get(path)["certificates"]
    yield found
    output.heading(f"{'Platform' if platform else name} Certificates")
    rows = [
        [both_forms(item["domain"]), item.get("issuer") or "-", _until(item), _source(item)] for item in found
    ]
    if rows:
        output.table([["DOMAIN", "ISSUER", "EXPIRES", "SOURCE"], *rows])
    elif not platform:
        output.note("No certificate: nothing answers over https. See: paas help certs:generate")
    for item in found:
        if item.get("error"):
            again = time.strftime("%Y/%m/%d %H:%M:%S %z", time.localtime(item["next_at"]))
            output.warn(
                f"{both_forms(item['domain'])}: {item['error']['message']} The next try is at {again}."
            )


alias("certs:list", certs)


def _until(item: dict[str, Any]) -> str:
    if item["source"] is None:
        return "-"
    days = (item["not_after"] - time.time()) / DAY_S
    left = f"in {days:.0f} days" if days >= 2 else f"in {max(0.0, days * 24):.0f} hours"
    date = time.strftime("%Y/%m/%d", time.localtime(item["not_after"]))
    return f"{date} ({left if days > 0 else 'EXPIRED'})"


def _source(item: dict[str, Any]) -> str:
    if item["auto"] and item["source"] != "acme":
        return "acme (being asked for)"
    return str(item["source"]) + (" (the platform's)" if item["platform"] else "")


@command("certs:add")
@click.argument("domain")
@click.option("--cert", "certificate", metavar="FILE", help="The certificate and its chain, in PEM form.")
@click.option("--key", metavar="FILE", help="Its private key, in PEM form, not encrypted.")
@owner_options
def certs_add(domain: str, certificate: str | None, key: str | None, app: str, platform: bool) -> Answer:
    """Use a certificate for a domain, in the place of the one it had. «-» reads both from standard input."""
    chain = read_pem(certificate, "--cert")
    private = chain if certificate == "-" and key is None else read_pem(key, "--key")
    name, path = _owner(app, platform)
    with output.Progress(f"Adding a certificate for {quoted(both_forms_of(domain))} to {name}"):
        body = {"domain": domain, "certificate": chain, "key": private}
        added = client().post(path, body)
    yield from _added(added)


def read_pem(file: str | None, option: str) -> str:
    """The text of a file, or of standard input. Raises BadInput, NotFound, UsageError."""
    if file is None:
        click.get_current_context().fail(f"{option} FILE is missing.")
    hint = "cat CHAIN.pem KEY.pem | ssh paas@HOST certs:add DOMAIN --cert -"
    return read_file(file, _FILE_BYTES, over_ssh_hint=hint).decode("ascii", "replace")


def _added(added: dict[str, Any]) -> Answer:
    for warning in added["warnings"]:
        output.warn(warning)
    yield {key: value for key, value in added.items() if key not in ("warnings", "applied")}
    output.pairs(
        {"Names": ", ".join(map(both_forms, added["names"])), "Issuer": added["issuer"], "Expires": _until(added),
         "Fingerprint": added["fingerprint"]}
    )  # fmt: skip


@command("certs:generate")
@click.argument("domain")
@app_option
def certs_generate(domain: str, app: str) -> Answer:
    """Make a certificate for development, signed by the platform's own authority (see certs:ca)."""
    with output.Progress(f"Making a certificate for {quoted(both_forms_of(domain))}"):
        added = client().post(app_path(app, "certs", "generate"), {"domain": domain})
    yield from _added(added)


@command("certs:ca")
def certs_ca() -> Answer:
    """Print the certificate of the platform's own authority, for curl --cacert or a browser."""
    answer = client().get("/certs/ca")
    yield answer
    output.result(answer["certificate"].rstrip())


@command("certs:remove")
@click.argument("domain")
@owner_options
def certs_remove(domain: str, app: str, platform: bool) -> Answer:
    """Remove a domain's certificate; an automatic one is not renewed."""
    name, path = _owner(app, platform)
    with output.Progress(f"Removing the certificate for {quoted(both_forms_of(domain))} from {name}"):
        answer = client().delete(f"{path}/{part(domain)}")
    yield answer


@command("certs:auto:enable")
@click.argument("domains", nargs=-1)
@app_option
def certs_auto_enable(domains: tuple[str, ...], app: str) -> Answer:
    """Have certificates issued and renewed by ACME for the named domains, or all that the app has."""
    yield from _automatic(app, domains, on=True)


def _automatic(app: str, domains: tuple[str, ...], *, on: bool) -> Answer:
    with output.Progress(f"Turning automatic certificates {'on' if on else 'off'} for {app}") as progress:
        answer = client().patch(app_path(app, "certs", "auto"), {"on": on, "domains": list(domains)})
        progress.done(f"done, asking {answer['directory']}" if on else "done")
    for warning in answer["warnings"]:
        output.warn(warning)
    yield answer
    for domain in answer["domains"]:
        output.result(both_forms(domain))


@command("certs:auto:disable")
@click.argument("domains", nargs=-1)
@app_option
def certs_auto_disable(domains: tuple[str, ...], app: str) -> Answer:
    """Stop obtaining certificates by ACME; present ones stay until they expire."""
    yield from _automatic(app, domains, on=False)
