"""What of a repository becomes an app: its root, its Procfile, without what it names in `.slugignore`."""

from __future__ import annotations

import os
import subprocess

from harness.platform import Platform, commit, git

MONOREPO = {
    "README.md": "Two apps.\n",
    "shop/index.html": "<p>shop</p>",
    "shop/.slugignore": "*.psd\n",
    "shop/art/logo.psd": "much",
    "shop/deploy/Procfile": "worker: sleep infinity\n",
    "blog/index.html": "<p>blog</p>",
}


def test_two_apps_live_in_one_repository(platform: Platform) -> None:
    repository = platform.repository(MONOREPO)
    platform.paas("create", "shop", "--no-remote")
    platform.paas("create", "blog", "--no-remote")
    platform.paas("builds:set", "root=shop", "procfile=deploy/Procfile", "-a", "shop")
    platform.paas("builds:set", "root=blogs", "-a", "blog")
    shop = platform.push(repository, "shop")
    assert shop.returncode == 0, shop.stdout
    assert "Leaving out 1 file that .slugignore names" in shop.stdout
    assert "Procfile declares types -> worker" in shop.stdout
    assert "shop" in platform.get("shop").text
    assert platform.get("shop", "/art/logo.psd").status == platform.get("shop", "/README.md").status == 404
    refused = platform.push(repository, "blog")
    assert refused.returncode == 1
    assert "no folder blogs" in refused.stdout and "blog, shop" in refused.stdout, refused.stdout
    platform.paas("builds:set", "root=blog", "-a", "blog")
    assert platform.push(repository, "blog").returncode == 0
    assert "blog" in platform.get("blog").text

    # a change of the settings, without a push
    platform.paas("builds:set", "procfile=", "-a", "shop")
    built = platform.paas("build", "-a", "shop")
    assert platform.json("builds", "-a", "shop")[0]["image"] == built.stdout.strip()
    assert platform.json("apps:info", "-a", "shop")["release"] == 1
    rebuilt = platform.paas("ps:rebuild", "-a", "shop")
    assert "done, v2" in rebuilt.stderr and "Release v2" in rebuilt.stderr, rebuilt.stderr
    assert [item["type"] for item in platform.json("apps:info", "-a", "shop")["processes"]] == ["web"]
    assert platform.json("releases", "-a", "shop")[0]["description"].startswith("Rebuild ")
    assert "shop" in platform.get("shop").text

    commit(repository, "Change the other app", **{"shop/index.html": "<p>sale</p>"})
    unchanged = platform.push(repository, "blog")
    assert unchanged.returncode == 0, unchanged.stdout
    assert "(0 new," in unchanged.stdout, unchanged.stdout


def test_an_archive_is_deployed_as_a_push_is_and_leaves_the_branch(platform: Platform) -> None:
    repository = platform.deploy({"index.html": "<p>one</p>", "art/logo.psd": "much"}, "packed")
    url = f"ssh://paas@127.0.0.1:{platform.ssh}/packed"
    pushed = git(repository, "rev-parse", "HEAD")
    commit(repository, "Two", **{"index.html": "<p>two</p>", ".slugignore": "*.psd\n"})
    git(repository, "archive", "--prefix=packed-2.0/", "-o", f"{platform.folder}/two.tgz", "HEAD")
    done = platform.paas("deploy", "packed", "--archive", "two.tgz")
    assert "Building packed from two.tgz" in done.stderr and "done, v2" in done.stderr, done.stderr
    assert "Leaving out 1 file that .slugignore names" in done.stderr
    assert "two" in platform.get("packed").text
    assert platform.get("packed", "/art/logo.psd").status == 404

    release = platform.json("releases:info", "v2", "-a", "packed")
    told = (release["description"], release["commit"], release["origin"], release["actor"])
    assert told == ("Deploy two.tgz", None, "two.tgz", "root")
    refs = subprocess.run(["git", "ls-remote", url], env=platform.environ(), capture_output=True, text=True)
    assert f"{pushed}\trefs/heads/main" in refs.stdout

    # the same files again need no new layer; an archive without a client comes through ssh
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=repository, capture_output=True).stdout
    words = [*platform.ssh_words(), "-p", str(platform.ssh), "paas@127.0.0.1"]
    again = subprocess.run([*words, "deploy", "packed", "--archive", "-"], input=archive, capture_output=True)
    assert again.returncode == 0 and b"(0 new," in again.stderr, again.stderr
    (repository / "large.bin").write_bytes(
        os.urandom(3 << 20)
    )  # more than ssh keeps of other commands' input
    large = ["git", "archive", "--add-file=large.bin", "HEAD"]
    archive = subprocess.run(large, cwd=repository, capture_output=True).stdout
    again = subprocess.run([*words, "deploy", "packed", "--archive", "-"], input=archive, capture_output=True)
    assert again.returncode == 0 and b"(1 new," in again.stderr, again.stderr
    (repository / "large.bin").unlink()

    # a push needs no --force, whether it contains what the archive held or not
    git(repository, "reset", "-q", "--hard", pushed)
    commit(repository, "Three", **{"index.html": "<p>three</p>"})
    push = platform.push(repository, "packed")
    assert push.returncode == 0 and "main -> main" in push.stdout, push.stdout
    assert "three" in platform.get("packed").text


def test_an_archive_that_cannot_be_an_app_changes_nothing(platform: Platform) -> None:
    platform.paas("create", "broken", "--no-remote")
    (platform.folder / "broken.tgz").write_bytes(b"no archive")
    refused = platform.paas("deploy", "broken", "--archive", "broken.tgz", check=False)
    assert refused.returncode == 1 and "no archive that can be read" in refused.stderr
    assert platform.json("builds", "broken") == [] == list((platform.home / "sources").iterdir())
