"""What the spawner does for each verb of its protocol: checked requests in, answers out."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from runtime.container import create, processes, sources, usage
from runtime.container.engine import ContainerError, Engine
from runtime.image import layerstore, make
from runtime.image.newblob import link_stack_blobs, used_since
from runtime.kernel import syscalls as sc
from runtime.kernel.process import signal_all, signal_pidfd
from runtime.protocol import Exit, Layer, StoredLayer
from runtime.reactor import Reactor
from runtime.spawner import listening
from runtime.spawner.idblocks import Block
from runtime.spawner.instances import Instances
from runtime.spawner.jobs import Jobs, Work, failure
from runtime.spec import APP_ID, DIGEST, INSTANCE_ID, Box, Order, parse, parse_limits

Request = dict[str, Any]
Answer = dict[str, Any]
Reply = Callable[[Answer], None]

_INSTANCE_ID, _APP_ID, _DIGEST = re.compile(INSTANCE_ID), re.compile(APP_ID), re.compile(DIGEST)
_STACK = re.compile(r"[a-z0-9][a-z0-9.-]{0,31}")
_SIGNALS = processes.SIGNALS | {"WINCH"}
_LAYER_S = 900.0
_LAYERS_AT_ONCE = 5000
_SYNC_DELAY_S = 10.0
_REMOVE_S = 3600.0
_STACK_S = 3600.0


class BadRequest(ContainerError):
    """The request is not one of the protocol."""

    def __init__(self, message: str) -> None:
        super().__init__("bad_request", message)


class Verbs:
    """`handle` calls the method named after the verb; every answer goes through `reply`, maybe later."""

    def __init__(
        self, engine: Engine, instances: Instances, jobs: Jobs, block: Block, reactor: Reactor
    ) -> None:
        self._engine = engine
        self._reactor = reactor
        self._instances = instances
        self._jobs = jobs
        self._block = block
        self._emptying = False
        self._more_trash = False
        self._repairing: list[Callable[[], None]] | None = None
        self._sync_planned = False

    def handle(self, request: object, reply: Reply) -> None:
        """Raises ContainerError, SpecError or OSError if it cannot be done."""
        if not isinstance(request, dict) or not isinstance(request.get("verb"), str):
            raise BadRequest("a request is an object with a verb")
        method = getattr(self, f"_do_{request['verb']}", None)
        if method is None:
            raise BadRequest(f"there is no verb {request['verb'][:40]!r}")
        answer = method(request, reply)
        if answer is not None:
            reply({"ok": True, **answer})

    # containers

    def _do_create(self, request: Request, reply: Reply) -> Answer:
        order = parse(Order, request.get("order"), "order")
        box = parse(Box, request.get("box"), "box")
        if not self._block.id_base <= box.id_base < self._block.id_base + self._block.id_count:
            raise BadRequest(f"id_base: {box.id_base} is not in the block of this platform")
        if box.process.root and (order.type, order.release, box.process.user) != ("build", None, 0):
            raise BadRequest("root: only user 0 of a build may be root inside: type build, without a release")
        instance = create.create(self._engine, order, box)
        self._instances.add(instance)
        return vars(instance.started())

    def _do_signal(self, request: Request, reply: Reply) -> Answer:
        instance = self._instances.running(_id(request))
        name = request.get("signal")
        if name not in _SIGNALS:
            raise BadRequest(f"signal: {str(name)[:20]!r} is not one that can be sent")
        number = int(getattr(signal, f"SIG{name}"))
        if request.get("all"):
            if instance.shim_pidfd is not None:
                signal_pidfd(instance.shim_pidfd, processes.STOPPING)
            group = self._engine.cgroups.group(instance.id)
            signal_all(group.pids, number, but=instance.process.pid)
        elif instance.pidfd is not None:
            signal_pidfd(instance.pidfd, number)
        return {}

    def _do_kill(self, request: Request, reply: Reply) -> Answer:
        self._instances.kill(self._instances.get(_id(request)))
        return {}

    def _do_limit(self, request: Request, reply: Reply) -> Answer:
        instance = self._instances.running(_id(request))
        self._engine.cgroups.group(instance.id).limit(parse_limits(request.get("limits")))
        return {}

    def _do_delete(self, request: Request, reply: Reply) -> None:
        def done(record: Exit | None) -> None:
            reply({"ok": True, "exit": None if record is None else vars(record)})
            self.empty_trash()

        self._instances.delete(_id(request), done)

    def _do_list(self, request: Request, reply: Reply) -> Answer:
        return {"instances": [self._instances.observed(instance) for instance in self._instances]}

    def _do_sockets(self, request: Request, reply: Reply) -> Answer:
        instance = self._instances.running(_id(request))
        return {"sockets": listening.listening(Path("/proc") / str(instance.process.pid) / "net")}

    def _do_stats(self, request: Request, reply: Reply) -> Answer:
        group = self._engine.cgroups.group(self._instances.get(_id(request)).id)
        return {**vars(group.stats()), "processes": group.pids()}

    def _do_disk(self, request: Request, reply: Reply) -> None:
        """How much a build has written, and how much its app's cache holds. It stands still meanwhile."""
        instance = self._instances.get(_id(request))
        size, files = request.get("most_bytes"), request.get("most_files")
        if not isinstance(size, int) or not isinstance(files, int):
            raise BadRequest("most_bytes, most_files: not numbers")
        most, layout, app_id = usage.Usage(size, files), self._engine.layout, instance.order.app
        group = self._engine.cgroups.group(instance.id)

        def work() -> Answer:
            top, cache = layout.instances / instance.id / "upper", layout.caches / app_id
            gone = usage.unlinked(group.pids(), (top, cache), most)
            usage.give_up_rights()
            upper = usage.measure(top, most)
            upper = usage.Usage(upper.bytes + gone.bytes, upper.files + gone.files)
            return {"upper": vars(upper), "cache": vars(usage.measure(cache, most))}

        def done(answer: Answer) -> None:
            group.set_frozen(False)
            reply(answer)

        group.set_frozen(True)
        self._jobs.start("disk", work, done, timeout_s=_LAYER_S)

    # layers and folders

    def _do_snapshot(self, request: Request, reply: Reply) -> None:
        instance = self._instances.get(_id(request))
        if instance.alive():
            raise ContainerError("running", f"instance {instance.id} still runs")
        paths: Any = request.get("paths")
        without: Any = request.get("without", [])
        for name, value in (("paths", paths), ("without", without)):
            if not isinstance(value, list) or not all(isinstance(path, str) for path in value):
                raise BadRequest(f"{name}: not a list of text")
        layout, layers, base = self._engine.layout, instance.layers, instance.id_base

        def prepare() -> tuple[Work, tuple[int, ...]]:
            userns = self._engine.userns.get(base)

            def work() -> Answer:
                reader = make.owners_reader(base, userns)
                return _layer(make.run_snapshot(layout, instance.id, paths, layers, reader, without=without))

            return work, (userns,)

        self._start_layer_job("snapshot", prepare, reply)

    def _do_unpack(self, request: Request, reply: Reply) -> None:
        tar, image = request.get("tar"), request.get("image") is True
        if not isinstance(tar, str):
            raise BadRequest("tar: not the name of a file")
        layout = self._engine.layout

        def work() -> Answer:
            reader = make.owners_reader() if image else make.box_reader()
            return _layer(make.run_unpack(layout, tar, reader, image=image))

        self._layer_job("unpack", work, reply)

    def _do_layers(self, request: Request, reply: Reply) -> None:
        """Some at once; with `more`, ask again for those `after` the last."""
        layout, after = self._engine.layout, request.get("after", "")
        if not isinstance(after, str) or (after and not _DIGEST.fullmatch(after)):
            raise BadRequest("after: not sha256 and 64 hexadecimal digits")

        def work() -> Answer:
            found = make.layer_store(layout).all(after=after, most=_LAYERS_AT_ONCE)
            layers = [vars(StoredLayer(one.digest, one.size_bytes)) for one in found]
            return {"layers": layers, "more": len(layers) == _LAYERS_AT_ONCE}

        self._layer_job("layers", work, reply)

    def _do_layer_remove(self, request: Request, reply: Reply) -> None:
        """Nothing happens to a layer that a build made or took up at `unused_since` (unix seconds) or later."""
        digest, since = request.get("digest"), request.get("unused_since")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise BadRequest("digest: not sha256 and 64 hexadecimal digits")
        if since is not None and not isinstance(since, int | float):
            raise BadRequest("unused_since: not a number")
        for instance in self._instances:
            if digest in instance.layers:
                raise ContainerError("in_use", f"layer {digest} is in use by {instance.id}")
        layout = self._engine.layout

        def wanted() -> bool:
            return since is not None and used_since(layout.images, digest, since)

        def work() -> Answer:
            return {"removed": make.layer_store(layout).remove(digest, wanted)}

        self._layer_job("layer_remove", work, reply)

    def _do_app_create(self, request: Request, reply: Reply) -> Answer:
        app_id = _app_id(request)
        sources.make_log_folder(self._engine, app_id)
        for top in (self._engine.layout.volumes, self._engine.layout.caches):
            (top / app_id).mkdir(mode=0o700, exist_ok=True)
        return {}

    def _do_app_remove(self, request: Request, reply: Reply) -> Answer:
        app_id = _app_id(request)
        layout = self._engine.layout
        for top in (layout.logs, layout.volumes, layout.caches):
            with suppress(FileNotFoundError):
                sources.trash(top, top / app_id)
        self.empty_trash()
        return {}

    def _do_cache_empty(self, request: Request, reply: Reply) -> Answer:
        """Builds under way keep what they have; the next one finds nothing."""
        top = self._engine.layout.caches
        with suppress(FileNotFoundError):
            sources.trash(top, top / _app_id(request))
        self.empty_trash()
        return {}

    def repair_layers(self) -> None:
        """After a start: sweep the layer store, make damaged layers again, bring new ones to the disk."""
        layout = self._engine.layout

        def work() -> Answer:
            make.run_repair(layout, make.owners_reader())
            return {}

        def done(answer: Answer) -> None:
            waiting, self._repairing = self._repairing or [], None
            for start in waiting:
                start()

        self._repairing = []
        self._jobs.start("repair", work, done, timeout_s=_REMOVE_S)

    def _layer_job(self, name: str, work: Work, reply: Reply) -> None:
        self._start_layer_job(name, lambda: (work, ()), reply)

    def _start_layer_job(
        self, name: str, prepare: Callable[[], tuple[Work, tuple[int, ...]]], reply: Reply
    ) -> None:
        """A job on the layer store, which waits while that is being repaired. `prepare` is called when the job
        starts: descriptors that it names may have been closed if they had been opened before the wait.
        """

        def done(answer: Answer) -> None:
            reply(answer)
            if answer.get("digest") and not self._sync_planned:
                self._sync_planned = True
                self._reactor.later(_SYNC_DELAY_S, self._sync_layers)

        def start() -> None:
            try:
                work, keep = prepare()
                self._jobs.start(name, work, done, timeout_s=_LAYER_S, keep=keep)
            except OSError as error:
                reply(failure("failed", f"{name} cannot be started: {error}"))

        if self._repairing is None:
            start()
        else:
            self._repairing.append(start)

    def _sync_layers(self) -> None:
        """Bring new layers to the disk, when the push that made them no longer waits for it."""
        self._sync_planned = False
        layout = self._engine.layout

        def work() -> Answer:
            make.layer_store(layout).sync()
            return {}

        self._jobs.start("sync", work, lambda answer: None, timeout_s=_LAYER_S)

    def empty_trash(self) -> None:
        """Remove what was put aside, in one child at a time."""
        if self._emptying:
            self._more_trash = True
            return
        self._emptying, self._more_trash = True, False
        layout = self._engine.layout

        def work() -> Answer:
            sources.empty_trash((layout.instances, layout.logs, layout.volumes, layout.caches))
            return {}

        def done(answer: Answer) -> None:
            self._emptying = False
            if self._more_trash:
                self.empty_trash()

        self._jobs.start("removal", work, done, timeout_s=_REMOVE_S)

    # the machine

    def _do_stack(self, request: Request, reply: Reply) -> None:
        name = request.get("name")
        if not isinstance(name, str) or not _STACK.fullmatch(name):
            raise BadRequest("name: not the name of a stack")
        again = request.get("again") is True
        layout, group = self._engine.layout, self._engine.attach_group

        def work() -> Answer:
            from runtime.stack import build

            sc.unshare(sc.CLONE_NEWNS)
            sc.mount("none", "/", None, sc.MS_REC | sc.MS_PRIVATE)
            log = layout.spawner_socket.parent / f"stack-{name}.log"
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(log, flags, 0o640)
            os.fchown(fd, 0, group)

            def say(line: str) -> None:
                os.write(fd, f"{line}\n".encode())

            made = build.create(name, layout.stacks, say, again=again)
            link_stack_blobs(layout.stacks, layout.images)
            return {"name": made.name}

        self._jobs.start("stack", work, reply, timeout_s=_STACK_S)

    def _do_info(self, request: Request, reply: Reply) -> Answer:
        network = self._engine.network
        return {
            "block": {
                "id_base": self._block.id_base,
                "id_count": self._block.id_count,
                "addresses": str(self._block.network),
            },
            "cgroup": self._engine.cgroups.version,
            "features": {"landlock": sc.landlock_abi(), "network": network is not None},
            "resolvers": [] if network is None else [str(server) for server in network.nameservers],
        }


def _layer(made: layerstore.Layer | None) -> Answer:
    layer = Layer(made.digest, made.size_bytes, made.files) if made else Layer(None, 0, 0)
    return vars(layer)


def _id(request: Request) -> str:
    value = request.get("id")
    if not isinstance(value, str) or not _INSTANCE_ID.fullmatch(value):
        raise BadRequest(f"id: {str(value)[:40]!r} is not an instance id")
    return value


def _app_id(request: Request) -> str:
    value = request.get("app_id")
    if not isinstance(value, str) or not _APP_ID.fullmatch(value):
        raise BadRequest(f"app_id: {str(value)[:40]!r} is not an app id")
    return value
