"""Sources from a repository elsewhere: asked for by a command, and told of by a forge."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.deliveries import FORGES, Delivery, github
from harness.git_http import LOGIN, Forge
from harness.platform import Platform, commit, git, wait_for

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def platform(stacks: str) -> Iterator[Platform]:
    """One whose operator allows repositories on loopback."""
    made = Platform(private_registries="127.0.0.0/8")
    try:
        made.start()
        made.make_key()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    made = Forge(tmp_path_factory.mktemp("forge"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def repository(platform: Platform) -> Path:
    return platform.repository({"index.html": "<p>one</p>"}, "site")


def test_a_commit_of_a_repository_elsewhere_is_deployed(
    platform: Platform, forge: Forge, repository: Path
) -> None:
    url = forge.publish(repository, "site").replace(forge.url, f"{forge.url}/private")
    platform.paas("create", "site", "--no-remote")
    known = url.replace("://", f"://{LOGIN}@")
    done = platform.paas("deploy", "site", "--from-git", known)
    tip = git(repository, "rev-parse", "HEAD")
    assert f"-----> Fetching {url}" in done.stderr and f"Building site from {tip[:7]} of {url}" in done.stderr
    assert "done, v1" in done.stderr and "one" in platform.get("site").text
    release = platform.json("releases:info", "-a", "site")
    assert (release["commit"], release["origin"]) == (tip, url)

    commit(repository, "Two", **{"index.html": "<p>two</p>"})
    git(repository, "branch", "next")
    git(repository, "reset", "-q", "--hard", tip)
    forge.publish(repository, "site")
    platform.paas("deploy", "site", "--from-git", f"{known}#next")
    assert "two" in platform.get("site").text

    # the app's own repository knows nothing of it, and a push is compared with what was pushed
    assert platform.push(repository, "site").returncode == 0
    assert "one" in platform.get("site").text
    refused = platform.paas("deploy", "site", "--from-git", url, check=False)
    assert refused.returncode == 1 and "wants a login" in refused.stderr
    secret = LOGIN.partition(":")[2]
    log = (
        platform.log_path.read_text()
        + platform.paas("logs", "-a", "site").stdout
        + platform.paas("builds:output", "-a", "site").stdout
    )
    assert secret not in log + done.stderr
    assert secret not in str(platform.json("releases", "-a", "site")) + str(
        platform.json("builds", "-a", "site")
    )


def told(platform: Platform, address: str, delivery: Delivery) -> tuple[int, str]:
    """What a forge is answered."""
    headers, body = delivery
    connection = http.client.HTTPConnection("127.0.0.1", platform.api, timeout=30)
    connection.request("POST", address.partition(f":{platform.api}")[2], body, headers)
    with connection.getresponse() as answer:
        data = json.loads(answer.read())
    connection.close()
    return answer.status, str(data.get("message") or data["error"]["message"])


def test_each_push_that_a_forge_tells_of_is_deployed(
    platform: Platform, forge: Forge, repository: Path
) -> None:
    platform.paas("create", "told", "--no-remote")
    url = forge.publish(repository, "told").replace("://", f"://{LOGIN}@")
    made = platform.json("hooks:create", url.replace("/told.git", "/private/told.git"), "-a", "told")
    address, secret = made["address"], made["secret"]
    assert told(platform, address, github(secret, event="ping")) == (200, "pong")
    assert told(platform, address, github("wrong"))[0] == 401
    for number, make in enumerate(FORGES.values(), 1):
        tip = commit(repository, f"Push {number}", **{"index.html": f"<p>push {number}</p>"})
        forge.publish(repository, "told")
        status, said = told(platform, address, make(secret, after=tip))
        assert (status, said) == (202, f"main is at {tip[:7]}: it will be built")
        wait_for(lambda said=f"v{number} serves": platform.json("hooks", "told")[0]["said"] == said, 60)
        assert f"push {number}" in platform.get("told").text
    release, build = platform.json("releases", "told")[0], platform.json("builds", "told")[0]
    assert release["commit"] == build["commit"] == tip and build["status"] == "succeeded"
    assert release["origin"].endswith("/private/told.git#main") and release["actor"].startswith("hook:")
    assert f"Building told from {tip[:7]}" in platform.paas("builds:output", "-a", "told").stdout

    # what cannot be fetched is a failed build; the release that serves stays
    assert told(platform, address, github(secret, ref="refs/heads/other"))[0] == 200
    (forge.folder / "told.git").rename(forge.folder / "gone.git")
    assert told(platform, address, github(secret))[0] == 202
    wait_for(lambda: "failed" in platform.json("hooks", "told")[0]["said"])
    assert platform.json("builds", "told")[0]["status"] == "failed"
    assert "push 3" in platform.get("told").text

    listed = platform.paas("hooks", "told").stdout + platform.log_path.read_text()
    listed += platform.paas("logs", "-a", "told", "-n", "100").stdout
    assert made["id"] in listed and secret not in listed and LOGIN.partition(":")[2] not in listed
    platform.paas("hooks:remove", made["id"], "-a", "told")
    assert told(platform, address, github(secret))[0] == 404
