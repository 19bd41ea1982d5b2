"""What a step of a build sees beside its layers: variables, mounts, and config vars as files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from buildpacks import aptpackages, foreign
from buildpacks.plan import FROM, REGISTRIES, Plan, Step
from paas.build import apt_settings
from paas.build import registry as registries
from paas.build.registry import Registry
from paas.build.step import BASE_ENV
from paas.nouns.names import own_config
from runtime.home import Layout
from runtime.spec import Mount


@dataclass(frozen=True)
class StepView:
    """The app, its config vars and the machine's settings, from which each step gets what it asks for."""

    layout: Layout
    app_id: str
    config: Mapping[str, str]
    stack: str
    registry: Registry

    def environment(self, plan: Plan, step: Step) -> dict[str, str]:
        """A step that may keep nothing in the app's cache has one of its own, which goes with it."""
        config = own_config(self.config)
        settings = registries.build_env(self.registry, bare=step.bare)
        env = {**(config if step.config else {}), **settings, **step.env}
        if "PATH" not in step.env:
            env["PATH"] = ":".join((*plan.path, BASE_ENV["PATH"]))
        if foreign.TOOL in step.tools:
            env[foreign.CONFIG_NAMES] = " ".join(sorted(config))
        if not step.bare and (step.shared or step.root):
            env = {name: _private_cache(value) for name, value in env.items()}
        return env

    def mounts(self, step: Step) -> tuple[Mount, ...]:
        """The registries' files and tools, and the app's cache, lowest first."""
        apt = aptpackages.TOOL in step.tools
        alone = REGISTRIES not in step.tools if step.bare else apt
        mounts = [] if alone else list(registries.build_mounts(self.registry, bare=step.bare))
        stack = stack_below(step, self.stack)
        if apt and stack in self.registry.apt:
            mounts.append(apt_settings.mount(self.layout, stack))
        if "uv" in step.tools and self.registry.uv:
            mounts.append(registries.uv_mount(self.registry))
        if step.bare:
            mounts += [Mount("cache", f"{self.app_id}/{_folder(name)}", at) for name, at in step.caches]
        elif not (step.shared or step.root):
            mounts.append(Mount("cache", self.app_id, "/cache"))
        return tuple(mounts)

    def secrets(self, step: Step) -> list[tuple[str, str]]:
        """Config vars as files; they lie in no folder that becomes a layer, and in no key."""
        return [(f"secrets/{name}", self.config[name]) for name in step.secrets if name in self.config]


def stack_below(step: Step, stack: str) -> str:
    """The name of the stack that a step stands on, for an app on `stack`."""
    return step.base.removeprefix(FROM) if step.base.startswith(FROM) else stack


def _folder(name: str) -> str:
    return f"docker-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _private_cache(value: str) -> str:
    return "/var/tmp" + value if value.startswith("/cache/") else value
