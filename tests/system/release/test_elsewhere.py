"""Sources from a repository elsewhere: asked for by a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.git_http import LOGIN, Forge
from harness.platform import Platform, commit, git

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
