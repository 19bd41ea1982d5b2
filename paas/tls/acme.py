"""`python -P -m paas.tls.acme --settings FILE`: ask the ACME directory for the certificates that are due (RFC 8555).

Converge starts it; it does what is due and ends, so its libraries cost no memory in between. It may be killed at any
point: an attempt is recorded before it begins, and the next one finds the order and its key again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from acme import challenges as kinds
from acme import errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import DeserializationError
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from paas import logs
from paas.daemon.journal import log_to_stderr
from paas.nouns.certificates import LAST_RETRY_S, AutoCertificate, Challenge, due_at, retry_s
from paas.nouns.errors import PaasError, Unavailable
from paas.nouns.settings import Settings
from paas.routing import applied
from paas.store import Store, certificates, events, poke
from paas.tls import x509
from paas.tls.development_ca import secrets_folder
from paas.tls.install import install, write
from runtime.kernel import files, syscalls

log = logging.getLogger("acme")

NETWORK_S = 30
DECISION_S = 90.0
NONCES = 4
ROUTED_S = 30.0
_HINTS = {
    "dns": "Its A record must hold the address of this server; AAAA only if it listens there, too.",
    "connection": "Port 80 of the domain's address must reach the router; see `http` in the settings.",
    "unauthorized": "Something else answers at the domain's address: a proxy, or another server.",
    "caa": "The domain's CAA records name other authorities.",
    "rateLimited": "The authority has had too many requests; asking again only makes it worse.",
    "rejectedIdentifier": "The authority does not issue for this domain at all.",
    "externalAccountRequired": "This authority serves accounts made beforehand only; the platform makes its own.",
}


class Network(ClientNetwork):
    """Retries badNonce up to NONCES times; the library does so once (some authorities forget their nonces early)."""

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(NONCES):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


class Authority:
    """The directory, with this platform's account at it."""

    def __init__(self, settings: Settings, secrets: Path, on_retry_after: Callable[[float], None]) -> None:
        self.name = urlsplit(settings.acme_directory).netloc
        name = hashlib.sha256(settings.acme_directory.encode()).hexdigest()[:16]
        self._account_file = secrets / f"account-{name}.json"
        self._email, self._on_retry_after = settings.acme_email, on_retry_after
        self.key = JWKEC(key=_private_key(secrets / f"account-{name}.pem"))
        net = Network(self.key, alg=ES256, user_agent="paas", timeout=NETWORK_S)
        net.verify_ssl = str(settings.acme_ca) if settings.acme_ca else True  # type: ignore[assignment]
        net.session.hooks["response"].append(self._read_retry_after)
        self.client = ClientV2(ClientV2.get_directory(settings.acme_directory, net), net)
        net.account = self._account()

    def _read_retry_after(self, response: requests.Response, *_: object, **__: object) -> None:
        """Pass on how long a refusal asks to wait (RFC 8555, section 6.6)."""
        if response.status_code >= 400:
            until = ClientV2.retry_after(response, 0)
            self._on_retry_after(max(0.0, (until - datetime.now()).total_seconds()))

    def _account(self) -> messages.RegistrationResource:
        """The account, made at the first use of this directory."""
        with suppress(OSError, ValueError, KeyError):
            uri = json.loads(self._account_file.read_text())["uri"]
            return messages.RegistrationResource(body=messages.Registration(), uri=uri)
        wanted = messages.NewRegistration.from_data(email=self._email or None, terms_of_service_agreed=True)
        try:
            uri = self.client.new_account(wanted).uri
        except errors.ConflictError as error:
            uri = error.location
        files.create(self._account_file, json.dumps({"uri": uri}), mode=0o600)
        return messages.RegistrationResource(body=messages.Registration(), uri=uri)

    def forget_account(self) -> None:
        """Make a new account next time: the authority no longer knows this one."""
        self._account_file.unlink(missing_ok=True)

    def order(self, request: bytes, url: str | None) -> messages.OrderResource:
        """The order at `url` unless it is invalid or gone, else a new one."""
        if url is not None:
            with suppress(messages.Error, errors.ClientError):
                body = messages.Order.from_json(self._fetch(url))
                if body.status != messages.STATUS_INVALID:
                    proofs = tuple(self._proof(item) for item in body.authorizations)
                    return messages.OrderResource(body=body, uri=url, authorizations=proofs, csr_pem=request)
        return self.client.new_order(request)

    def _fetch(self, url: str) -> object:
        return self.client.net.post(url, None, new_nonce_url=self.client.directory["newNonce"]).json()

    def _proof(self, url: str) -> messages.AuthorizationResource:
        return messages.AuthorizationResource(
            body=messages.Authorization.from_json(self._fetch(url)), uri=url
        )


class Attempts:
    """Obtains the certificates that are due, one domain after the other."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store, self._layout = settings, store, settings.layout()
        self._secrets = secrets_folder(self._layout)
        self._authority: Authority | None = None
        self._order_url: str | None = None
        self._retry_after_s = 0.0

    def run(self) -> None:
        """Attempt everything that is due now."""
        with self._store.read() as tx:
            wanted = certificates.wanted(tx)
            present = {(item.app_id, item.domain): item for item in certificates.all(tx)}
        for left in set(self._secrets.glob("order-*.pem")) - {self._key_file(auto) for auto in wanted}:
            left.unlink(missing_ok=True)
        for auto in wanted:
            if due_at(auto, present.get((auto.app_id, auto.domain))) <= time.time():
                self._attempt(auto)

    def _attempt(self, auto: AutoCertificate) -> None:
        auto = replace(auto, failures=auto.failures + 1)
        self._note(auto, retry_s(auto.failures))
        self._retry_after_s = 0.0
        try:
            self._obtain(auto)
        except (PaasError, errors.Error, requests.RequestException, DeserializationError, OSError) as error:
            log.warning("domain=%s failures=%d reason=%r", auto.domain, auto.failures, error)
            self._failed(auto, error)
        finally:
            with self._store.write() as tx:
                certificates.remove_challenges(tx, auto.domain)
            poke(self._layout.converge_socket)

    def _set_retry_after(self, seconds: float) -> None:
        self._retry_after_s = seconds

    def _key_file(self, auto: AutoCertificate) -> Path:
        """The private key of an order that is under way."""
        name = hashlib.sha256(f"{auto.app_id} {auto.domain}".encode()).hexdigest()
        return self._secrets / f"order-{name[:32]}.pem"

    def _failed(self, auto: AutoCertificate, error: Exception) -> None:
        shown = self._explained(auto, error)
        over = isinstance(error, errors.ValidationError | errors.IssuanceError | messages.Error)
        url = None if over else self._order_url
        auto = replace(auto, error=shown.to_json(), order_url=url)
        self._note(auto, max(retry_s(auto.failures), min(LAST_RETRY_S, self._retry_after_s)))
        self._say(auto, f"No certificate for {auto.domain}: {shown.message} {shown.hint}".rstrip())

    def _note(self, auto: AutoCertificate, delay_s: float) -> None:
        """Record the attempt first: however it ends, the next one comes no sooner than in `delay_s`."""
        self._order_url = auto.order_url
        with self._store.write() as tx:
            certificates.attempted(tx, replace(auto, next_at=time.time() + delay_s))

    def _obtain(self, auto: AutoCertificate) -> None:
        """One certificate, from the order to its place in the store."""
        if self._authority is None:
            self._authority = Authority(self._settings, self._secrets, self._set_retry_after)
        authority, domain = self._authority, auto.domain
        key_file = self._key_file(auto)
        key = _private_key(key_file)
        order = authority.order(x509.request(key, domain), auto.order_url)
        self._note(replace(auto, order_url=order.uri), retry_s(auto.failures))
        deadline = datetime.now() + timedelta(seconds=DECISION_S)
        for proof in order.authorizations:
            if proof.body.status == messages.STATUS_PENDING:
                self._answer(authority, auto, proof)
        order = authority.client.poll_authorizations(order, deadline)
        order = authority.client.finalize_order(order, deadline)
        pair = x509.check(order.fullchain_pem.encode(), x509.key_pem(key), domain, x509.utc_now())
        self._keep(auto, pair)
        key_file.unlink(missing_ok=True)

    def _answer(
        self, authority: Authority, auto: AutoCertificate, proof: messages.AuthorizationResource
    ) -> None:
        """Wait until every router worker has the answer, then ask the authority to fetch it."""
        offered = [item for item in proof.body.challenges if isinstance(item.chall, kinds.HTTP01)]
        if not offered:
            raise PaasError(f"{authority.name} offers no proof over HTTP for {auto.domain}.")
        response, answer = offered[0].chall.response_and_validation(authority.key)
        token = offered[0].chall.encode("token")
        with self._store.write() as tx:
            certificates.add_challenge(tx, Challenge(auto.domain, token, answer))
            seq = events.add(tx, auto.app_id, "paas", "certificate.challenge", {"domain": auto.domain})
        poke(self._layout.converge_socket)
        if not applied.wait(self._layout, seq, timeout_s=ROUTED_S):
            raise Unavailable(
                "The router's workers do not all have the answer yet.", "See: paas server:status"
            )
        authority.client.answer_challenge(offered[0], response)

    def _keep(self, auto: AutoCertificate, pair: x509.Pair) -> None:
        row = write(self._layout, pair, auto.app_id, auto.domain, "acme")
        with self._store.write() as tx:
            if not any(item.domain == auto.domain for item in certificates.wanted(tx, auto.app_id)):
                return  # somebody turned it off meanwhile
            certificates.attempted(tx, AutoCertificate(auto.app_id, auto.domain))
            install(tx, row, "paas")
        end = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(row.not_after))
        self._say(auto, f"Add a certificate for {auto.domain} (acme, by {row.issuer}), good until {end}")
        log.info("domain=%s issuer=%r fingerprint=%s", auto.domain, row.issuer, row.fingerprint)

    def _say(self, auto: AutoCertificate, text: str) -> None:
        logs.platform_line(self._layout, auto.app_id, "certs", text)

    def _explained(self, auto: AutoCertificate, error: Exception) -> PaasError:
        """The failure as an error for people."""
        name = urlsplit(self._settings.acme_directory).netloc
        if isinstance(error, PaasError):
            return error
        if isinstance(error, errors.ValidationError):
            found = [c.error for proof in error.failed_authzrs for c in proof.body.challenges if c.error]
            said = _detail(found[0])
            return PaasError(f"{name} could not see that {auto.domain} leads here: {said}", _hint(found[0]))
        refusal = error.error if isinstance(error, errors.IssuanceError) else error
        if isinstance(refusal, messages.Error):
            if refusal.code == "accountDoesNotExist" and self._authority is not None:
                self._authority.forget_account()
                self._authority = None
            return PaasError(f"{name} refused: {_detail(refusal)}", _hint(refusal))
        if isinstance(error, errors.TimeoutError):
            return PaasError(f"{name} did not come to a decision within {DECISION_S:.0f} s.")
        if isinstance(error, requests.exceptions.SSLError):
            return PaasError(
                f"The certificate of {name} itself is not trusted here.",
                "For a private authority, set acme_ca to a file with its root certificate.",
            )
        if isinstance(error, requests.RequestException):
            return PaasError(f"{name} does not answer.", "Check acme_directory and the network.")
        if isinstance(error, OSError):
            return PaasError(f"This machine could not do it: {error}.", "Check acme_ca and the disk.")
        return PaasError(f"{name} gave an answer that makes no sense: {str(error).splitlines()[0][:200]}")


def _detail(error: messages.Error) -> str:
    text = error.detail or error.description or error.typ
    return " ".join(str(text).split())[:500].rstrip(".") + "."


def _hint(error: messages.Error) -> str:
    return _HINTS.get(error.code or "", "")


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in the file, made if there is none."""
    if not path.exists():
        files.create(path, x509.key_pem(x509.new_key()), mode=0o600)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m paas.tls.acme", description=__doc__)
    parser.add_argument("--settings", required=True, metavar="FILE", help="what the server wrote")
    parent = os.getppid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    settings = Settings.read(parser.parse_args().settings)
    if os.getppid() != parent:
        return 1
    log_to_stderr()
    store = Store(settings.layout().database)
    Attempts(settings, store).run()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
