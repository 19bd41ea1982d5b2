"""How nouns look as JSON. Times are unix seconds; see docs/api.md."""

from __future__ import annotations

from typing import Any

from paas.nouns.model import App, Build, Domain, FormationEntry, Hook, Image, Key, Release, Token, User
from paas.nouns.names import LIMITS
from paas.nouns.remoteurl import RemoteRepository
from paas.nouns.settings import Settings
from paas.store import Tx, domains, formations, images, people, releases
from runtime.spec import Limits


def app_json(tx: Tx, app: App, settings: Settings) -> dict[str, Any]:
    owner = people.user(tx, app.owner_id) if app.owner_id is not None else None
    image = images.of(tx, releases.serving(tx, app))
    return {
        "id": app.id,
        "name": app.name,
        "owner": owner.name if owner else None,
        "url": settings.url(settings.app_host(app.name)),
        "git_url": settings.git_url(app.name),
        "stack": app.stack,
        "release": app.release_number,
        "deploy_branch": app.deploy_branch,
        "domains": [domain.name for domain in domains.of_app(tx, app.id)],
        "created_at": app.created_at,
        "size_bytes": image.size_bytes if image else None,
        "processes": formation_json(formations.of_app(tx, app.id), image),
    }


def formation_json(entries: dict[str, FormationEntry], image: Image | None) -> list[dict[str, Any]]:
    """The process types of the image (but `release`), web first."""
    processes = {
        type: command for type, command in (image.processes if image else {}).items() if type != "release"
    }
    return [
        {
            "type": type,
            "command": processes[type],
            "quantity": entries[type].quantity if type in entries else 0,
            "stopped": type in entries and entries[type].stopped,
            "limits": limits_json(entries[type].limits if type in entries else {}),
        }
        for type in sorted(processes, key=lambda type: (type != "web", type))
    ]


def limits_json(differing: dict[str, int]) -> dict[str, int]:
    """The limits that people set, defaults included."""
    plain = Limits()
    return {key: int(differing.get(key, getattr(plain, key))) for key in LIMITS}


def release_json(release: Release, current: int | None) -> dict[str, Any]:
    return {
        "number": release.number,
        "version": f"v{release.number}",
        "current": release.number == current,
        **_fields(release, "description commit origin actor state cause"),
        "image": release.image_digest,
        "created_at": release.created_at,
    }


def build_json(build: Build, waiting_for: str | None = None) -> dict[str, Any]:
    return {
        **_fields(build, "number commit origin tree actor status cause started_at finished_at"),
        "image": build.image_digest,
        "waiting_for": waiting_for,
    }


def domain_json(domain: Domain) -> dict[str, Any]:
    return _fields(domain, "name created_at")


def hook_json(hook: Hook) -> dict[str, Any]:
    """Without the secret and the login."""
    url = RemoteRepository.parse(hook.url).url
    return {**_fields(hook, "id branch heard_at said created_at created_by"), "url": url}


def key_json(key: Key, user: User | None) -> dict[str, Any]:
    return {
        **_fields(key, "fingerprint comment created_at"),
        "user": user.name if user else None,
        "type": key.public_key.split()[0],
    }


def token_json(token: Token, user: User | None) -> dict[str, Any]:
    return {**_fields(token, "id name created_at last_used_at"), "user": user.name if user else None}


def user_json(user: User) -> dict[str, Any]:
    return _fields(user, "name role")


def _fields(noun: object, names: str) -> dict[str, Any]:
    return {name: getattr(noun, name) for name in names.split()}
