"""A container made, run to its end and removed without a spawner; and what a failure halfway leaves: nothing.

Its root is one empty layer, so its program is missing, and says so.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from harness.engine import BASE, children, descriptors

from runtime import frames
from runtime.container import create, records
from runtime.container.engine import ContainerError, Engine
from runtime.kernel.poll import readable
from runtime.spec import Box, Mount, Order, Process, Terminal

DIGEST = "sha256:" + "a" * 64
ORDER = Order("i1", "app1", "worker", 2)
BOX = Box((DIGEST,), Process(("no-such-program", "x"), cwd="/"), BASE, network=False)


@pytest.fixture
def stocked(engine: Engine) -> Engine:
    """An engine whose home has the empty layer."""
    (engine.layout.layers / ("a" * 64)).mkdir(mode=0o755)
    return engine


def leftovers(engine: Engine) -> list[str]:
    instances = [path for path in os.listdir(engine.layout.instances) if path != ".trash"]
    return [*instances, *os.listdir(engine.layout.run_instances), *engine.cgroups.groups()]


def to_its_end(engine: Engine, instance: records.Instance) -> None:
    assert instance.pidfd is not None and instance.shim_pidfd is not None
    assert readable(instance.pidfd, 30) and readable(instance.shim_pidfd, 30)
    os.waitpid(instance.shim.pid, 0)
    instance.close()


def test_a_container_runs_logs_ends_and_is_removed(stocked: Engine) -> None:
    before = descriptors()
    instance = create.create(stocked, ORDER, BOX)
    assert records.Instance.from_json(instance.to_json()) == instance and instance.address is None
    to_its_end(stocked, instance)
    record = records.read_exit(stocked, "i1")
    assert record is not None and (record.status, record.signal, record.wall_exceeded) == (127, None, False)
    log = (stocked.layout.logs / "app1/i1.0.log").read_text()
    assert log.endswith("+00:00 app[worker.2]: bash: no-such-program: command not found\n")
    assert log.count("\n") == 1
    adopted = records.adopt(stocked, stocked.run_folder("i1"))
    assert adopted == instance and not adopted.alive()
    assert descriptors() <= before | {str(stocked.userns.get(BASE))}, (
        "the spawner keeps nothing of the shim's"
    )
    create.remove(stocked, "i1")
    create.remove(stocked, "i1")  # of what is gone
    assert leftovers(stocked) == []
    assert os.listdir(stocked.layout.instances / ".trash") == ["i1.0"]


@pytest.mark.parametrize("terminal", [None, Terminal()])
def test_a_client_that_comes_late_gets_the_output_and_the_status(
    stocked: Engine, terminal: Terminal | None
) -> None:
    box = replace(BOX, process=replace(BOX.process, attach=True, terminal=terminal))
    instance = create.create(stocked, ORDER, box)
    assert instance.pidfd is not None and readable(instance.pidfd, 30)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(stocked.run_folder("i1") / "attach.sock"))
        decoder, found = frames.FrameDecoder(), []
        while data := client.recv(65536):
            found += decoder.feed(data)
    end = b"\r\n" if terminal else b"\n"
    channel = frames.STDOUT if terminal else frames.STDERR
    assert found == [
        (channel, b"bash: no-such-program: command not found" + end),
        (frames.EXIT, b'{"status": 127}'),
    ]
    to_its_end(stocked, instance)
    create.remove(stocked, "i1")


def test_an_id_is_used_once_and_what_has_it_is_left_alone(stocked: Engine) -> None:
    folder = stocked.run_folder("i1")
    folder.mkdir()
    (folder / "state.json").write_text("of another")
    with pytest.raises(ContainerError) as refused:
        create.create(stocked, ORDER, BOX)
    assert (refused.value.code, refused.value.message) == ("exists", "there is an instance i1 already")
    assert (folder / "state.json").read_text() == "of another"
    create.remove(stocked, "i1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ("sha256:" + "b" * 64,)}, "i1 cannot be made: layer sha256:" + "b" * 64 + " is not here"),
        ({"mounts": (Mount("host", "/etc", "/x"),)}, "i1 cannot be made: mount /etc: "),
        (
            {"process": Process(("x",), cwd="/app/none")},
            "the container cannot start: shim: RuntimeError: [Errno 2] No such file",
        ),
        ({"hostname": "h" * 65}, "the container cannot start: shim: "),
    ],
    ids=["layer", "mount", "folder", "hostname"],
)
def test_a_container_that_cannot_be_made_says_why_and_leaves_nothing(
    stocked: Engine, change: dict[str, object], message: str
) -> None:
    stocked.userns.get(BASE)
    before, running = descriptors(), children()
    with pytest.raises(ContainerError) as refused:
        create.create(stocked, ORDER, replace(BOX, **change))  # type: ignore[arg-type]
    assert refused.value.code == "container_failed" and refused.value.message.startswith(message)
    assert leftovers(stocked) == [] and descriptors() == before
    assert children() == running, "the shim too is gone"


def test_a_run_folder_is_recognised_until_its_last_file_is_gone(engine: Engine) -> None:
    for number in range(12):  # a disk lists names in an order of its own
        folder = engine.run_folder(f"i{number}")
        folder.mkdir()
        (folder / "state.json").touch()
        (folder / f"stuck-{number}").mkdir()  # which cannot be unlinked: the removal stops there
        with pytest.raises(OSError):
            create.remove(engine, folder.name)
        assert (folder / "state.json").exists()
        (folder / f"stuck-{number}").rmdir()
        create.remove(engine, folder.name)
        assert not folder.exists()
