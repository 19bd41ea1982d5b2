"""Runs inside an instance, as its main program: tries what a tenant might, prints what happened as one JSON line.

Each answer is `OK` (the attempt succeeded), the name of the errno, or `KILLED`. x86_64 only, like the numbers.
"""

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NEWNS, NEWUSER, NEWNET, NEWCGROUP, NEWPID = 0x20000, 0x10000000, 0x40000000, 0x2000000, 0x20000000
results = {}


def name(number):
    return errno.errorcode.get(number, str(number))


def attempt(action):
    """In a child of its own, so that neither a kill nor a change of this process spoils the next attempt."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            action()
            answer = "OK"
        except OSError as error:
            answer = name(error.errno)
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    answer = os.read(read, 4096).decode()
    os.close(read)
    _, status = os.waitpid(pid, 0)
    return answer or f"KILLED {os.WTERMSIG(status) if os.WIFSIGNALED(status) else status}"


def syscall(number, *arguments):
    def action():
        converted = [
            a if isinstance(a, (bytes, ctypes.Array, ctypes.Structure)) or a is None else ctypes.c_long(a)
            for a in arguments
        ]
        result = libc.syscall(ctypes.c_long(number), *converted)
        if result < 0:
            raise OSError(ctypes.get_errno(), "")

    return attempt(action)


def opening(path, flags=os.O_RDONLY, data=None):
    def action():
        fd = os.open(path, flags)
        if data is not None:
            os.write(fd, data)

    return attempt(action)


def read(path):
    with open(path) as file:
        return file.read()


def content(path):
    try:
        with open(path, "rb") as file:
            return len(file.read(65536))
    except OSError as error:
        return name(error.errno)


def listing(path):
    try:
        return len(os.listdir(path))
    except OSError as error:
        return name(error.errno)


def in_32_bits(number, first):
    """The i386 entry: `int 0x80` run from a page of our own machine code."""
    import mmap

    code = bytes(
        [
            0x53,
            0xB8,
            *struct.pack("<I", number),
            0xBB,
            *struct.pack("<I", first),
            0x31,
            0xC9,
            0x31,
            0xD2,
            0xCD,
            0x80,
            0x5B,
            0xC3,
        ]
    )

    def action():
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        result = ctypes.c_int(ctypes.CFUNCTYPE(ctypes.c_int)(address)()).value
        if result < 0:
            raise OSError(-result, "")

    return attempt(action)


def e1():
    r = results["E1"] = {}
    r["mount tmpfs"] = syscall(165, b"none", b"/tmp", b"tmpfs", 0, None)
    r["mount proc"] = syscall(165, b"none", b"/tmp", b"proc", 0, None)
    r["remount /"] = syscall(165, None, b"/", None, 0x1020, None)
    r["remount /proc/sys"] = syscall(165, None, b"/proc/sys", None, 0x1020, None)
    r["umount mask"] = syscall(166, b"/proc/kcore", 2)
    for word, number in {
        "fsopen": 430,
        "open_tree": 428,
        "move_mount": 429,
        "fsconfig": 431,
        "fsmount": 432,
        "fspick": 433,
        "mount_setattr": 442,
        "pivot_root": 155,
        "chroot": 161,
    }.items():
        r[word] = syscall(number, b"/", b"/", 0, 0, 0)


def e2_to_e5():
    results["E2"] = {"unshare": syscall(272, NEWUSER), "clone": syscall(56, NEWUSER | 17, 0, 0, 0, 0)}
    results["E3"] = {
        "clone3": syscall(435, ctypes.create_string_buffer(struct.pack("11Q", NEWUSER, *([0] * 10))), 88)
    }
    results["E4"] = {
        "i386 unshare": in_32_bits(310, NEWUSER),
        "i386 getpid": in_32_bits(20, 0),
        "i386 socketcall": in_32_bits(102, 1),
        "x32 unshare": syscall(0x40000000 + 272, NEWUSER),
        "x32 getpid": syscall(0x40000000 + 39),
    }
    r = results["E5"] = {
        word: syscall(272, flag)
        for word, flag in (("NEWNS", NEWNS), ("NEWNET", NEWNET), ("NEWCGROUP", NEWCGROUP), ("NEWPID", NEWPID))
    }
    for kind in ("mnt", "net", "user", "pid", "cgroup"):

        def join(kind=kind):
            fd = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY)
            if libc.setns(fd, 0) < 0:
                raise OSError(ctypes.get_errno(), "")

        r[f"setns {kind}"] = attempt(join)
        r[f"open {kind} of pid 1"] = opening(f"/proc/1/ns/{kind}")


def e6_to_e8():
    results["E6"] = {
        path: opening(path)
        for path in (
            "/dev/mem",
            "/dev/kmsg",
            "/dev/vda",
            "/dev/sda",
            "/dev/kvm",
            "/dev/fuse",
            "/dev/loop-control",
            "/dev/net/tun",
            "/dev/console",
        )
    }
    results["E6 masked"] = {
        path: content(path)
        for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/kernel/vmcoreinfo")
    } | {"/sys/firmware": listing("/sys/firmware")}
    write = os.O_WRONLY
    results["E7"] = {
        path: opening(path, write, b"0")
        for path in (
            "/proc/sys/kernel/core_pattern",
            "/proc/sysrq-trigger",
            "/proc/sys/vm/drop_caches",
            "/proc/sys/kernel/modprobe",
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/sys/kernel/uevent_helper",
            "/proc/sys/fs/binfmt_misc/register",
            "/proc/sys/kernel/hostname",
            "/proc/irq/default_smp_affinity",
            "/proc/sys/net/ipv4/ip_forward",
        )
    }
    found = {}
    for base, _, files in os.walk("/sys/fs/cgroup"):
        for file in files:
            if file in (
                "release_agent",
                "notify_on_release",
                "devices.allow",
                "memory.limit_in_bytes",
                "cgroup.procs",
                "tasks",
                "memory.max",
                "cgroup.subtree_control",
                "cpu.cfs_quota_us",
                "pids.max",
            ):
                found[os.path.join(base, file)] = opening(os.path.join(base, file), write, b"0")
    results["E8"] = found
    results["E8 mkdir"] = {
        base: attempt(lambda base=base: os.mkdir(base + "/x"))
        for base in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids")
    }


def e9_to_e12():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    results["E9"] = {
        "oom_score_adj": opening("/proc/self/oom_score_adj", os.O_WRONLY, b"-1000"),
        "setrlimit": attempt(lambda: _raise_limit(hard)),
        "SCHED_FIFO": attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))),
        "nice": attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)),
    }
    results["E10"] = {path: opening(path, os.O_WRONLY) for path in ("/proc/1/exe", "/proc/self/exe")}
    results["E11"] = {
        "mknod c": attempt(lambda: os.mknod("/tmp/c", 0o20666, os.makedev(1, 3))),
        "mknod b": attempt(lambda: os.mknod("/tmp/b", 0o60666, os.makedev(254, 0))),
    }
    for path in sys.argv[1:]:
        results["E11"][path] = opening(path)
    results["E12"] = {"open_by_handle_at": syscall(304, -100, b"\0" * 128, 0)}


def _raise_limit(hard):
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard + 1))
    except ValueError as error:
        raise OSError(errno.EPERM, "") from error


def e13_to_e16():
    results["E13"] = {
        word: syscall(number, 0, 0, 0, 0, 0)
        for word, number in {
            "init_module": 175,
            "finit_module": 313,
            "delete_module": 176,
            "kexec_load": 246,
            "reboot": 169,
            "swapon": 167,
            "iopl": 172,
            "ioperm": 173,
            "syslog": 103,
            "acct": 163,
            "quotactl": 179,
            "clock_settime": 227,
            "settimeofday": 164,
        }.items()
    }
    results["E13"]["sethostname"] = syscall(170, b"x", 1)
    results["E14"] = {
        word: syscall(number, 0, 0, 0, 0, 0)
        for word, number in {"bpf": 321, "perf_event_open": 298, "fanotify_init": 300}.items()
    }
    results["E15"] = {
        word: syscall(number, 0, 0, 0, 0, 0)
        for word, number in {"keyctl": 250, "add_key": 248, "request_key": 249}.items()
    }
    results["E16"] = {
        "io_uring_setup": syscall(425, 1, b"\0" * 120),
        "userfaultfd": syscall(323, 1),
        "personality": syscall(135, 0x40000),
        "modify_ldt": syscall(154, 0, 0, 0),
    }


def e17_to_e20():
    kinds = {
        "VSOCK": (40, 1, 0),
        "ALG": (38, 5, 0),
        "PACKET": (17, 3, 0),
        "INET RAW": (2, 3, 1),
        "INET6 RAW": (10, 3, 58),
        "KEY": (15, 3, 2),
        "TIPC": (30, 1, 0),
        "NETLINK AUDIT": (16, 3, 9),
        "NETLINK NETFILTER": (16, 3, 12),
        "XDP": (44, 3, 0),
    }
    results["E17"] = {word: attempt(lambda kind=kind: socket.socket(*kind)) for word, kind in kinds.items()}
    results["E17 wanted"] = {
        word: attempt(lambda kind=kind: socket.socket(*kind))
        for word, kind in {
            "UNIX": (1, 1, 0),
            "INET": (2, 1, 0),
            "UDP": (2, 2, 0),
            "NETLINK ROUTE": (16, 3, 0),
        }.items()
    }
    space = ctypes.create_string_buffer(8)
    vector = struct.pack("QQ", ctypes.addressof(space), 8)
    results["E18"] = {
        "ptrace host": syscall(101, 16, 999999, 0, 0),
        "process_vm_readv": syscall(310, 999999, vector, 1, vector, 1, 0),
        "pidfd_getfd": syscall(438, 0, 0, 0),
        "kcmp": syscall(312, os.getpid(), 1, 0, 0, 0),
        "ptrace pid 1": syscall(101, 16, 1, 0, 0),
        "process_vm_readv pid 1": syscall(310, 1, vector, 1, vector, 1, 0),
    }
    results["E18 pid 1"] = {
        path: opening(path, os.O_RDWR if path.endswith("mem") else os.O_RDONLY)
        for path in ("/proc/1/mem", "/proc/1/fd/3", "/proc/1/root/etc", "/proc/1/map_files")
    }
    results["E19"] = {
        "kill": attempt(lambda: os.kill(999999, signal.SIGKILL)),
        "pids seen": sorted(int(p) for p in os.listdir("/proc") if p.isdigit())[0],
    }
    results["E20"] = {
        "setuid": attempt(lambda: os.setuid(0)),
        "setgroups": attempt(lambda: os.setgroups([0])),
        "setgid": attempt(lambda: os.setgid(0)),
    }
    open("/tmp/file", "w").close()
    results["E20 outside"] = {
        "setuid": attempt(lambda: os.setuid(65536)),
        "setgroups": attempt(lambda: os.setgroups([65536])),
        "chown": attempt(lambda: os.chown("/tmp/file", 65536, 65536)),
        "chown of the machine's": attempt(lambda: os.chown("/proc/uptime", 0, 0)),
        "chmod of a device": attempt(lambda: os.chmod("/dev/null", 0o777)),
    }
    results["E20 attributes"] = {
        word: attempt(lambda word=word: os.setxattr("/tmp/file", word, b"\1\0\0\2" + b"\xff" * 16))
        for word in ("security.capability", "security.ima", "trusted.overlay.opaque")
    }
    results["N5"] = {
        word: attempt(lambda call=call: fcntl.ioctl(socket.socket(), call, struct.pack("16sH14x", b"lo", 0)))
        for word, call in {"SIOCSIFFLAGS": 0x8914, "SIOCSIFADDR": 0x8916, "SIOCADDRT": 0x890B}.items()
    }
    results["E20 su"] = {
        "nosuid": any(" / " in line and "nosuid" in line for line in read("/proc/mounts").splitlines())
    }


def e21_to_e25():
    def push():
        _, slave = os.openpty()
        fcntl.ioctl(slave, 0x5412, b"x")

    def console():
        _, slave = os.openpty()
        fcntl.ioctl(slave, 0x541C, b"\x03")

    results["E21"] = {"TIOCSTI": attempt(push), "TIOCLINUX": attempt(console)}
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)
    results["E22"] = {
        key: status[key].strip()
        for key in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Groups")
    }
    results["E22"]["fds"] = sorted(
        int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
    )
    results["E22"]["cwd"] = os.getcwd()
    results["E22"]["env"] = sorted(os.environ)
    results["E24"] = {"9999": syscall(9999), "463": syscall(463)}
    results["E25"] = {
        path: content(path) for path in ("/proc/sched_debug", "/proc/kallsyms", "/proc/modules")
    }
    results["E25"]["/sys/devices/virtual/powercap"] = listing("/sys/devices/virtual/powercap")
    results["E25"]["/sys/kernel/slab"] = listing("/sys/kernel/slab")
    results["E25"]["dmesg"] = syscall(103, 3, 0, 0)
    results["E25"]["core limit"] = list(resource.getrlimit(resource.RLIMIT_CORE))


for step in (e1, e2_to_e5, e6_to_e8, e9_to_e12, e13_to_e16, e17_to_e20, e21_to_e25):
    step()
print(json.dumps(results))
