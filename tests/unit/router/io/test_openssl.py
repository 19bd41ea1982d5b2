"""The private layout behind session ticket keys: these fail when a Python or an OpenSSL has another shape."""

from __future__ import annotations

import os
import ssl

import pytest

from router.io import openssl


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_first_field_of_a_context_is_openssl_s(version: ssl.TLSVersion) -> None:
    """Tried in a child: elsewhere it would crash."""
    assert openssl.works()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    assert openssl.max_version(context) == version


def test_the_keys_of_a_context_are_its_own() -> None:
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2)]
    keys = [os.urandom(openssl.KEY_BYTES) for _ in contexts]
    for context, key in zip(contexts, keys, strict=True):
        assert len(openssl.ticket_keys(context)) == openssl.KEY_BYTES
        assert openssl.set_ticket_keys(context, key)
    assert [openssl.ticket_keys(context) for context in contexts] == keys


def test_where_there_is_no_context_it_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "_address", lambda context: 8)
    assert not openssl.works()
