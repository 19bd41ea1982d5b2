"""Nothing is left behind: not by a destroyed app, a failed build, a cancelled push, nor by many releases."""

from __future__ import annotations

from pathlib import Path

from harness.platform import Platform, commit, traces, wait_for


def _kernel_objects(platform: Platform) -> dict[str, set[str]]:
    """Everything of this platform's instances that the kernel or the disk still holds."""
    hierarchies = Path("/sys/fs/cgroup").glob(f"**/paas-{platform.id}")
    return {
        "links": {
            path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(f"p{platform.id}-")
        },
        "cgroups": {path for top in hierarchies for path in traces(top, "i")},
        "instances": {path.name for path in (platform.run_folder / "instances").iterdir()},
        "uppers": {path.name for path in (platform.home / "instances").iterdir() if path.name[0] != "."},
        "mounts": {
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if str(platform.home) in line
        },
    }


def _settled(platform: Platform, wanted: dict[str, set[str]]) -> bool:
    return _kernel_objects(platform) == wanted


def test_a_destroyed_app_leaves_nothing(platform: Platform) -> None:
    before = _kernel_objects(platform)
    platform.deploy("examples/hello", "doomed")
    platform.paas("scale", "web=2", "-a", "doomed")
    identity = platform.json("apps:info", "-a", "doomed")["id"]
    assert traces(platform.home, identity)
    platform.paas("apps:destroy", "-a", "doomed", "--confirm", "doomed")
    wait_for(lambda: _settled(platform, before))
    wait_for(lambda: not traces(platform.home, identity))


def test_a_name_used_again_finds_nothing_of_its_predecessor(platform: Platform) -> None:
    platform.deploy({"index.html": "old"}, "reborn")
    platform.paas("config:set", "SECRET=old", "-a", "reborn")
    platform.paas("apps:destroy", "-a", "reborn", "--confirm", "reborn")
    wait_for(lambda: "reborn" not in {item["name"] for item in platform.json("apps")})
    platform.paas("create", "reborn", cwd=platform.folder)
    assert platform.json("config", "-a", "reborn") == {}
    assert "old" not in platform.paas("logs", "-a", "reborn").stdout
    assert platform.get("reborn").status in (404, 503)


def test_a_failed_build_leaves_nothing(platform: Platform) -> None:
    before = _kernel_objects(platform)
    done = platform.push(platform.repository({"requirements.txt": "no-such-thing-anywhere==1\n"}), "failing")
    assert done.returncode == 1
    wait_for(lambda: _settled(platform, before))


def test_old_releases_images_and_layers_are_collected(stacks: str) -> None:
    thrifty = Platform(keep_releases="2")
    try:
        thrifty.start()
        thrifty.make_key()
        repository = thrifty.deploy({"index.html": "0"}, "many")
        for number in range(1, 6):
            commit(repository, f"Version {number}", **{"index.html": str(number)})
            assert thrifty.push(repository, "many").returncode == 0
        wait_for(lambda: len([p for p in (thrifty.home / "layers").iterdir() if len(p.name) == 64]) <= 3, 90)
        assert thrifty.get("many").text == "5"
        assert thrifty.paas("rollback", "-a", "many").returncode == 0
        assert thrifty.get("many").text == "4"
    finally:
        thrifty.close()
