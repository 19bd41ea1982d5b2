"""What tenant code gets when it reaches for the kernel, the host or its neighbours.

Tests bear the ids E1… of the threat table: each attempt must fail with one of a few errors, and the probe's wanted calls must work.
All of it is tried by an app's process and by a build that is root inside.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness.spawner import ENV, SpawnerUnderTest, wait_for

from runtime.client import SpawnerError
from runtime.kernel import caps
from runtime.spec import Mount

AS_APP: dict[str, Any] = {}
AS_ROOT: dict[str, Any] = {"type": "build", "user": 0, "group": 0, "root": True}
EITHER = pytest.mark.parametrize("who", [AS_APP, AS_ROOT], ids=["app", "root"])
PROBE = Path(__file__).parents[3] / "data" / "probe.py"
GONE = {"ENOENT", "ENXIO", "EACCES", "EPERM"}
SHUT = {"EACCES", "EROFS", "ENOENT", "EPERM"}


@pytest.fixture(scope="module", params=[AS_APP, AS_ROOT], ids=["app", "root"])
def probe(request: pytest.FixtureRequest, spawner: SpawnerUnderTest) -> dict[str, Any]:
    def devices(folder: Path) -> None:
        """A layer that carries device nodes, which ours never do."""
        os.mknod(folder / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(folder / "mem", stat.S_IFCHR | 0o666, os.makedev(1, 1))

    layers = (*spawner.run_layers, spawner.layer(devices))
    instance_id, _ = spawner.start_container(
        "python3", "-c", PROBE.read_text(), "/null", "/mem", layers=layers, network=True, **request.param
    )
    spawner.wait_exit(instance_id)
    text = "".join(spawner.messages(instance_id))
    spawner.client.delete(instance_id)
    found: dict[str, Any] = json.loads(text)
    return {**found, "root": request.param is AS_ROOT}


def test_the_probe_notices_what_the_filter_would_have_stopped() -> None:
    """The same probe without a container, as nobody: what only the filter closes must be found open."""
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c", PROBE.read_text()],
        capture_output=True, text=True, cwd="/", timeout=120, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["E2"]["unshare"] == "OK"
    # a new process says so too, where calling the kernel behind the library's back made one
    assert found["E2"]["clone"].startswith("OK") and found["E3"]["clone3"].startswith("OK")
    assert found["E4"]["i386 getpid"] == "OK"
    assert found["E16"]["personality"] == "OK"
    assert found["E17"]["VSOCK"] == "OK"
    assert found["E18"]["kcmp"] != "EPERM" or found["E22"]["Seccomp"] == "0"


def all_in(found: dict[str, Any], allowed: set[str]) -> bool:
    wrong = {attempt: answer for attempt, answer in found.items() if answer not in allowed}
    assert not wrong, wrong
    return True


def test_E1_no_mounts(probe: dict[str, Any]) -> None:
    assert all_in(probe["E1"], {"EPERM"})


def test_E2_no_user_namespace(probe: dict[str, Any]) -> None:
    assert all_in(probe["E2"], {"EPERM"})


def test_E3_clone3_sends_libraries_back_to_clone(probe: dict[str, Any]) -> None:
    assert all_in(probe["E3"], {"ENOSYS"})


def test_E4_no_other_calling_convention(probe: dict[str, Any]) -> None:
    assert all_in(probe["E4"], {"EPERM", "KILLED 31"})


def test_E5_no_foreign_namespace(probe: dict[str, Any]) -> None:
    assert all_in(probe["E5"], {"EPERM", "EACCES"})
    assert all_in(
        {name: answer for name, answer in probe["E5"].items() if name.startswith("setns")}, {"EPERM"}
    )


def test_E6_no_devices_of_the_host(probe: dict[str, Any]) -> None:
    assert all_in(probe["E6"], GONE)
    assert set(probe["E6 masked"].values()) <= {0, "ENOENT"}
    assert probe["E6 masked"]["/proc/keys"] == 0


def test_E7_no_kernel_settings(probe: dict[str, Any]) -> None:
    assert all_in(probe["E7"], SHUT)


def test_E8_no_control_group_can_be_written(probe: dict[str, Any]) -> None:
    assert len(probe["E8"]) >= 3
    assert all_in(probe["E8"], SHUT)
    assert all_in(probe["E8 mkdir"], SHUT)


def test_E9_no_priority_over_others(probe: dict[str, Any]) -> None:
    assert all_in(probe["E9"], {"EACCES", "EPERM"})


def test_E10_programs_of_the_host_cannot_be_written(probe: dict[str, Any]) -> None:
    assert all_in(probe["E10"], {"EACCES", "ETXTBSY"})


def test_E11_no_device_nodes(probe: dict[str, Any]) -> None:
    assert all_in(probe["E11"], {"EPERM", "EACCES"})
    assert {"/null", "/mem"} <= set(probe["E11"])


def test_E12_no_file_handles(probe: dict[str, Any]) -> None:
    assert all_in(probe["E12"], {"EPERM"})


def test_E13_no_machine_wide_calls(probe: dict[str, Any]) -> None:
    assert all_in(probe["E13"], {"EPERM"})


def test_E14_no_programs_in_the_kernel(probe: dict[str, Any]) -> None:
    assert all_in(probe["E14"], {"EPERM"})


def test_E15_no_keyrings(probe: dict[str, Any]) -> None:
    assert all_in(probe["E15"], {"EPERM"})


def test_E16_no_rarely_used_machinery(probe: dict[str, Any]) -> None:
    assert all_in(probe["E16"], {"EPERM"})


def test_E17_only_ordinary_sockets(probe: dict[str, Any]) -> None:
    assert all_in(probe["E17"], {"EPERM", "EAFNOSUPPORT"})
    assert all_in(probe["E17 wanted"], {"OK"})


def test_E18_no_other_processes(probe: dict[str, Any]) -> None:
    assert all_in(probe["E18"], {"ESRCH", "EPERM"})
    assert all_in(probe["E18 pid 1"], {"EACCES", "EPERM"})


def test_E19_no_signal_leaves_the_container(probe: dict[str, Any]) -> None:
    assert probe["E19"] == {"kill": "ESRCH", "pids seen": 1}


def test_E20_nobody_else_can_be_become(probe: dict[str, Any]) -> None:
    assert all_in(probe["E20"], {"OK"} if probe["root"] else {"EPERM"})
    assert all_in(probe["E20 outside"], {"EPERM", "EINVAL", "EROFS"})
    assert all_in(probe["E20 attributes"], {"EPERM", "EOPNOTSUPP"})
    assert probe["E20 attributes"]["security.capability"] == "EPERM"
    assert probe["E20 su"]["nosuid"] is True


def test_N5_the_network_cannot_be_set(probe: dict[str, Any]) -> None:
    assert all_in(probe["N5"], {"EPERM"})


@EITHER
def test_E20_a_setuid_program_gains_nothing(spawner: SpawnerUnderTest, who: dict[str, Any]) -> None:
    def setuid(folder: Path) -> None:
        program = folder / "id"
        program.write_bytes(Path("/usr/bin/id").read_bytes())
        program.chmod(0o6755)

    layers = (*spawner.run_layers, spawner.layer(setuid))
    as_app = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups") if who else ()
    _, lines = spawner.run(*as_app, "/id", "-u", layers=layers, **who)
    assert lines == ["1000"]


def test_E21_no_typing_into_terminals(probe: dict[str, Any]) -> None:
    assert all_in(probe["E21"], {"EPERM"})


def test_E22_nothing_is_inherited(probe: dict[str, Any]) -> None:
    state = probe["E22"]
    held = {name: state[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")}
    none, kept = "0" * 16, f"{caps.ROOT_BUILD:016x}"
    assert (
        held == {"CapEff": kept, "CapPrm": kept, "CapBnd": kept, "CapInh": none, "CapAmb": none}
        if probe["root"]
        else dict.fromkeys(held, none)
    )
    assert (state["NoNewPrivs"], state["Seccomp"], state["Groups"]) == ("1", "2", "")
    assert state["fds"] == [0, 1, 2]
    assert state["cwd"] == "/app"
    assert set(state["env"]) == set(ENV)


@EITHER
def test_E23_neighbours_are_out_of_reach(spawner: SpawnerUnderTest, who: dict[str, Any]) -> None:
    """Two apps with a range each: even a path that leaks is closed by its owner's id."""
    secret, other = spawner.id_base, spawner.id_base + 65536
    mounts = (Mount("volume", "shared/leak", "/data"),)
    spawner.run("/bin/sh", "-c", "umask 077; echo secret > /data/file", id_base=secret, mounts=mounts)
    _, lines = spawner.run(
        "/bin/sh", "-c", "cat /data/file 2>&1; ls /data 2>&1; ls /dev/shm; ipcs -m 2>/dev/null | grep -c 0x; ls /proc | grep -c '^[0-9]'",
        id_base=other, mounts=mounts, **who,
    )  # fmt: skip
    assert "Permission denied" in lines[0] and "Permission denied" in lines[1]
    assert "secret" not in "".join(lines)
    owner = os.stat(spawner.layout.volumes / "shared" / "leak" / "file").st_uid
    assert owner == secret + 1000


def test_E23_shared_memory_and_abstract_sockets_are_private(spawner: SpawnerUnderTest) -> None:
    holder = (
        "import socket, time, os\n"
        "s = socket.socket(socket.AF_UNIX); s.bind('\\0paas-probe'); s.listen()\n"
        "open('/dev/shm/mark', 'w').write('x'); print('ready', flush=True); time.sleep(60)"
    )
    instance_id, _ = spawner.start_container("python3", "-c", holder)
    wait_for(lambda: spawner.messages(instance_id), "the holder")
    probe = (
        "import socket, os\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "print(s.connect_ex('\\0paas-probe'), os.listdir('/dev/shm'))"
    )
    _, lines = spawner.run("python3", "-c", probe)
    assert lines == ["111 []"]
    spawner.client.delete(instance_id)


def test_E24_calls_newer_than_the_table_do_not_exist(probe: dict[str, Any]) -> None:
    assert all_in(probe["E24"], {"ENOSYS"})


def test_E25_little_is_told_of_the_machine(probe: dict[str, Any]) -> None:
    told = dict(probe["E25"])
    assert told.pop("core limit") == [0, 0]
    assert told.pop("dmesg") == "EPERM"
    assert set(told.values()) <= {0, "ENOENT", "EACCES"}, told


def test_only_a_build_may_be_root_inside(spawner: SpawnerUnderTest) -> None:
    for other in ({"type": "web"}, {"release": 1}, {"user": 1000}):
        with pytest.raises(SpawnerError) as refused:
            spawner.start_container("/bin/true", **{**AS_ROOT, **other})
        assert refused.value.code == "bad_request"
        assert "only user 0 of a build may be root inside" in refused.value.message
    _, lines = spawner.run("grep", "-h", "^Cap", "/proc/self/status", user=0, group=0)
    assert len(lines) == 5 and all(line.endswith("\t" + "0" * 16) for line in lines)


@EITHER
def test_E10_host_programs_are_unchanged_after_all_of_this(
    spawner: SpawnerUnderTest, who: dict[str, Any]
) -> None:
    paths = [Path(os.path.realpath(program)) for program in ("/usr/bin/python3", "/bin/sh")]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    script = (
        "import os\n"
        "for n in range(2000):\n"
        "    for p in ('/proc/1/exe', '/proc/self/exe'):\n"
        "        try:\n"
        "            fd = os.open(p, os.O_WRONLY); os.write(fd, b'#!'); print('written')\n"
        "        except OSError: pass\n"
    )
    _, lines = spawner.run("python3", "-c", script, **who)
    assert lines == []
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == before
