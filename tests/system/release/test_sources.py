"""What of a repository becomes an app: its root, its Procfile, without what it names in `.slugignore`."""

from __future__ import annotations

from harness.platform import Platform, commit

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
