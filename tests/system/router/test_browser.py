"""A browser in front of the running platform: WebSocket, server-sent events, large uploads and downloads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.browser import Browser
from harness.platform import Platform

ECHO = """await new Promise((resolve, reject) => {
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/echo'), heard = [];
  socket.binaryType = 'arraybuffer';
  const sizes = [0, 1, 125, 126, 65535, 65536, 1000000];
  socket.onopen = () => { socket.send('grüße'); sizes.forEach(n => socket.send(new Uint8Array(n).fill(n % 251))); };
  socket.onerror = reject;
  socket.onmessage = ({data}) => {
    heard.push(typeof data === 'string' ? data : [data.byteLength, new Set(new Uint8Array(data)).size]);
    if (heard.length === sizes.length + 1) { socket.onclose = event => resolve([heard, event.wasClean]); socket.close(1000); }
  };
})"""
EVENTS = """await new Promise((resolve, reject) => {
  const source = new EventSource('/events?count=6&pause=0.2'), times = [], heard = [];
  source.onmessage = event => { times.push(performance.now()); heard.push(event.data);
    if (heard.length === 6) { source.close(); resolve([heard, times[5] - times[0]]); } };
  source.onerror = reject;
})"""
UPLOAD = """await (async () => {
  const body = new Uint8Array(32 * 1024 * 1024);
  for (let at = 0; at < body.length; at += 65536) crypto.getRandomValues(body.subarray(at, at + 65536));
  const answer = await (await fetch('/upload', {method: 'POST', body})).json();
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', body));
  return [answer, Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('')];
})()"""
DOWNLOAD = """await (async () => {
  const reader = (await fetch('/download?blocks=800' + '%s')).body.getReader();
  let size = 0, right = true;
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return [size, right];
    for (let at = 0; at < value.length; at += 4099) right &&= value[at] === (size + at) %% 256;
    size += value.length;
  }
})()"""


# a browser drops its requests when any link of the machine comes or goes (ERR_NETWORK_CHANGED), as containers' do
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def app(platform: Platform) -> str:
    platform.deploy("tests/apps/real-time", "live")
    platform.paas("certs:generate", "live.localhost", "-a", "live")
    return "live.localhost"


@pytest.fixture(scope="module", params=["http", "https"])
def browser(platform: Platform, app: str, request: pytest.FixtureRequest) -> Iterator[Browser]:
    with Browser() as running:
        running.open(f"{request.param}://{app}:{getattr(platform, request.param)}/")
        yield running


def test_a_page_over_tls_speaks_http_2(browser: Browser) -> None:
    protocol = browser.run("performance.getEntriesByType('navigation')[0].nextHopProtocol")
    assert protocol == ("h2" if browser.run("location.protocol") == "https:" else "http/1.1")


def test_a_websocket_echoes_messages_of_all_sizes_and_closes_cleanly(browser: Browser) -> None:
    heard, clean = browser.run(ECHO)
    assert heard[0] == "grüße"
    assert [size for size, _ in heard[1:]] == [0, 1, 125, 126, 65535, 65536, 1000000]
    assert all(values <= 1 for _, values in heard[1:])
    assert clean


def test_server_sent_events_arrive_one_by_one(browser: Browser) -> None:
    heard, span_ms = browser.run(EVENTS)
    assert heard == [f"tick {number}" for number in range(6)]
    assert span_ms > 500, "they came all at once, so something held them back"


def test_a_large_upload_arrives_whole(browser: Browser) -> None:
    answer, digest = browser.run(UPLOAD)
    assert answer["size"] == 32 * 1024 * 1024
    assert answer["sha256"] == digest


@pytest.mark.parametrize("kind", ["", "&chunked=1"], ids=["length", "chunked"])
def test_a_large_download_arrives_whole(browser: Browser, kind: str) -> None:
    size, right = browser.run(DOWNLOAD % kind)
    assert size == 800 * 65536
    assert right


def test_a_page_asks_for_forty_things_at_once(browser: Browser) -> None:
    sizes = browser.run(
        "await Promise.all([...Array(40).keys()].map(async n =>"
        " (await (await fetch('/download?blocks=2&n=' + n)).arrayBuffer()).byteLength))"
    )
    assert sizes == [2 * 65536] * 40
