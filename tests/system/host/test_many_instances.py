"""A spawner with more containers, and with more layers, than its descriptors and answers once had room for."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator

import pytest
from harness.spawner import SpawnerUnderTest, wait_for

from runtime.spec import Limits

MANY = 400


@pytest.fixture
def spawner() -> Iterator[SpawnerUnderTest]:
    """Started with the soft limit of descriptors that shells and systemd give."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    running = SpawnerUnderTest()
    running.start()
    yield running
    running.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_layers_than_an_answer_holds_are_listed(spawner: SpawnerUnderTest) -> None:
    layers = [f"{number:064x}" for number in range(12_000)]
    for name in layers:
        (spawner.layout.layers / name).mkdir()
        described = {"digest": f"sha256:{name}", "size_bytes": 1 << 30, "files": 1, "unsynced_boot": None}
        (spawner.layout.layers / f"{name}.json").write_text(json.dumps(described))
    assert [layer.digest for layer in spawner.client.layers()] == [f"sha256:{name}" for name in layers]
    assert spawner.client.remove_layer(f"sha256:{layers[-1]}")
    assert len(spawner.client.layers()) == len(layers) - 1


@pytest.mark.long
def test_400_containers_are_listed_signalled_adopted_and_deleted(spawner: SpawnerUnderTest) -> None:
    cheap = Limits(memory_bytes=16 << 20, pids=8)
    ids = [spawner.start_container("/bin/sleep", "3600", resources=cheap)[0] for _ in range(MANY)]
    assert {seen.state for seen in spawner.client.list()} == {"running"}
    spawner.client.signal(ids[-1], "KILL")
    assert spawner.wait_exit(ids[-1]).signal == 9
    spawner.restart()
    adopted = {seen.id: seen.state for seen in spawner.client.list()}
    assert adopted == dict.fromkeys(ids[:-1], "running") | {ids[-1]: "exited"}
    spawner.client.signal(ids[-2], "KILL", all=True)
    wait_for(lambda: spawner.observed(ids[-2]).state == "exited", "the end of an adopted container")
    assert spawner.client.stats(ids[-3])["memory_bytes"] > 0
    assert spawner.run("/bin/echo", "one more")[1] == ["one more"]
    pid = spawner.process.pid if spawner.process else 0
    for instance_id in ids:
        spawner.client.delete(instance_id)
    assert spawner.client.list() == []
    assert spawner.process is not None and spawner.process.pid == pid and spawner.process.poll() is None
