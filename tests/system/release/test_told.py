"""What a push tells: an app that answers with an error, warnings once, a failed build's output once. Advice is followed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from harness.platform import Platform, commit, git

APP = """import os, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.path == '/up' or not os.environ.get('STATUS')
        self.send_response(200 if good else int(os.environ['STATUS'])); self.end_headers()
http.server.HTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
"""
FILES = {"requirements.txt": "", "app.py": APP, "Procfile": "web: python app.py\n"}


def sentences(printed: str) -> str:
    """The lines of a push without what stands before them, joined."""
    return " ".join(re.sub(r"(?m)^remote:\s*!?", "", printed).split())


@pytest.fixture(scope="module")
def platform(stacks: str) -> Iterator[Platform]:
    """A platform that gives instances little time to become healthy."""
    running = Platform(boot_timeout_s="4")
    try:
        running.start()
        running.make_key()
        yield running
    finally:
        running.close()


def test_a_site_without_a_page_is_refused_and_the_advised_check_lets_it_pass(platform: Platform) -> None:
    repository = platform.repository({"Staticfile": "root: files\n", "files/a.txt": "a"})
    refused = platform.push(repository, "pageless")
    assert refused.returncode == 1
    assert "GET / answered 403: the folder that is served has no index.html" in sentences(refused.stdout)
    commit(
        repository,
        "Check another path",
        **{"app.json": json.dumps({"healthchecks": {"web": [{"path": "/a.txt"}]}})},
    )
    assert platform.push(repository, "pageless").returncode == 0


def test_a_push_that_answers_503_fails_and_one_that_answers_500_is_not_called_live(
    platform: Platform,
) -> None:
    repository = platform.repository({**FILES, "Procfile": "web: env STATUS=503 python app.py\n"})
    refused = platform.push(repository, "ailing")
    assert refused.returncode == 1
    assert "Health check answered 503" in refused.stdout
    commit(repository, "Answer 500", Procfile="web: env STATUS=500 python app.py\n")
    done = platform.push(repository, "ailing")
    assert done.returncode == 0, done.stdout
    assert "serves v2, but GET / answered 500" in done.stdout
    assert "is live" not in done.stdout


def test_a_warning_is_told_with_a_failure_and_then_once(platform: Platform) -> None:
    relaxed = '{\n  // for people\n  "colour": "red",\n}'
    repository = platform.repository(
        {"requirements.txt": "", "tools/answer.py": APP, "app.json": relaxed, "Procfile.dev": "web: x"}
    )
    refused = platform.push(repository, "warned")
    assert refused.returncode == 1
    assert "says nothing about what to run" in refused.stdout
    for words in ("colour is not a known key", "Procfile.dev is not read"):
        assert words in refused.stdout
    commit(repository, "Say what to run", Procfile="web: python tools/answer.py\n")
    assert "colour is not a known key" in platform.push(repository, "warned").stdout
    commit(repository, "Change something else", **{"note.txt": "1"})
    done = platform.push(repository, "warned")
    assert done.returncode == 0
    assert "colour" not in done.stdout
    commit(repository, "Change app.json", **{"app.json": relaxed.replace("colour", "shape")})
    assert "shape is not a known key" in platform.push(repository, "warned").stdout


def test_a_failed_step_prints_its_last_lines_once_and_names_the_host(platform: Platform) -> None:
    package = {"scripts": {"build": "node build.js", "start": "node build.js"}}
    script = "require('dns').lookup('no-such-host.invalid', error => { throw error })"
    repository = platform.repository({"package.json": json.dumps(package), "build.js": script})
    refused = platform.push(repository, "unreachable")
    assert refused.returncode == 1
    assert "the host no-such-host.invalid was not found" in sentences(refused.stdout)
    assert refused.stdout.count("getaddrinfo ENOTFOUND") == 1
    assert "your machine" not in refused.stdout


def test_a_script_that_cannot_run_is_named_with_its_mode_and_its_interpreter(platform: Platform) -> None:
    repository = platform.repository(
        {**FILES, "Procfile": "web: ./serve\n", "serve": "#!/opt/none/python2\n"}
    )
    assert "/app/serve is not executable (mode 644)" in platform.push(repository, "script").stdout.replace(
        "./serve", "/app/serve"
    )
    git(repository, "update-index", "--chmod=+x", "serve")
    (repository / "serve").chmod(0o755)
    git(repository, "commit", "-q", "-m", "The advice")
    refused = sentences(platform.push(repository, "script").stdout)
    assert "names the interpreter /opt/none/python2, which does not exist" in refused
    commit(repository, "The next advice", serve="#!/usr/bin/env bash\nexec python app.py\n")
    assert platform.push(repository, "script").returncode == 0


def test_a_worker_that_fails_a_push_can_be_left_out_as_advised(platform: Platform) -> None:
    platform.deploy({**FILES, "Procfile": "web: python app.py\nworker: sleep 1000\n"}, "staff")
    platform.paas("scale", "worker=1", "-a", "staff")
    repository = platform.repository({**FILES, "Procfile": "web: python app.py\nworker: no-such-worker\n"})
    refused = platform.push(repository, "staff", "+main")
    assert refused.returncode == 1
    assert "To push without it: paas scale worker=0 -a staff" in refused.stdout
    platform.paas("scale", "worker=0", "-a", "staff")
    assert platform.push(repository, "staff", "+main").returncode == 0
    failed = platform.paas("scale", "worker=1", "-a", "staff", check=False)
    assert failed.returncode == 1
    commit(repository, "After the failed scale", **{"note.txt": "1"})
    assert platform.push(repository, "staff", "+main").returncode == 0
