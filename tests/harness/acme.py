"""Let's Encrypt's pebble: a real ACME server for tests, with its DNS server, on free ports."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import urllib.request
from pathlib import Path

from harness.platform import free_port, wait_for
from paas.tls import x509


class Pebble:
    """Issues certificates that live `validity_s`; every name leads to this machine, where it looks at `http_port`.

    It rejects one nonce in five: clients must be used to it.
    """

    def __init__(self, folder: Path, http_port: int, *, validity_s: int = 3600) -> None:
        folder.mkdir(mode=0o755)
        self._folder = folder
        port, self._management, dns, self._dns_control = (free_port() for _ in range(4))
        self.directory = f"https://localhost:{port}/dir"
        self.ca_file = folder / "ca.pem"
        now = x509.utc_now()
        ca = x509.make_ca("pebble's own HTTPS", now)
        self.ca_file.write_bytes(ca.chain_pem)
        own = x509.issue(ca, "localhost", now)
        (folder / "chain.pem").write_bytes(own.chain_pem)
        (folder / "key.pem").write_bytes(x509.key_pem(own.key))
        config = {
            "listenAddress": f"127.0.0.1:{port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(folder / "chain.pem"),
            "privateKey": str(folder / "key.pem"),
            "httpPort": http_port,
            "tlsPort": http_port,
            "certificateValidityPeriod": validity_s,
        }
        (folder / "config.json").write_text(json.dumps({"pebble": config}))
        environ = {
            **os.environ,
            "PEBBLE_VA_NOSLEEP": "1",
            "PEBBLE_AUTHZREUSE": "0",
            "PEBBLE_WFE_NONCEREJECT": "20",
        }
        servers = [
            ["pebble-challtestsrv", "-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{self._dns_control}",
             "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""],
            ["pebble", "-strict", "-config", str(folder / "config.json"), "-dnsserver", f"127.0.0.1:{dns}"],
        ]  # fmt: skip
        with (folder / "log").open("ab") as log:
            self._servers = [
                subprocess.Popen(words, env=environ, stdout=log, stderr=log, cwd=folder) for words in servers
            ]
        wait_for(lambda: self._answers(port))

    def _answers(self, port: int) -> bool:
        assert all(server.poll() is None for server in self._servers), (self._folder / "log").read_text()
        try:
            return bool(self._get(f"https://localhost:{port}/dir"))
        except OSError:
            return False

    def _get(self, url: str, data: bytes | None = None) -> bytes:
        context = ssl.create_default_context(cafile=self.ca_file) if url.startswith("https") else None
        with urllib.request.urlopen(url, data, timeout=10, context=context) as answer:
            return bytes(answer.read())

    def root(self) -> str:
        """The certificate that visitors must trust."""
        return self._get(f"https://localhost:{self._management}/roots/0").decode()

    def lead_elsewhere(self, host: str, address: str) -> None:
        """Give a name another address in pebble's DNS."""
        data = json.dumps({"host": f"{host}.", "addresses": [address]}).encode()
        for verb in ("clear-a", "add-a"):
            self._get(f"http://127.0.0.1:{self._dns_control}/{verb}", data)

    def close(self) -> None:
        for server in self._servers:
            server.terminate()
            server.wait(10)
