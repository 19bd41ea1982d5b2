"""A Compose file, explained: what each of its services would be here, with commands to paste. Nothing of it is executed. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from buildpacks.plan import quoted

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_DATABASES = {
    "postgres": "PostgreSQL", "postgis": "PostgreSQL", "redis": "Redis", "valkey": "Valkey", "mysql": "MySQL",
    "mariadb": "MariaDB", "mongo": "MongoDB", "rabbitmq": "RabbitMQ", "memcached": "Memcached",
    "elasticsearch": "Elasticsearch", "opensearch": "OpenSearch", "minio": "MinIO", "nats": "NATS",
}  # fmt: skip
_VARIABLES = {
    "PostgreSQL": "DATABASE_URL", "MySQL": "DATABASE_URL", "MariaDB": "DATABASE_URL", "Redis": "REDIS_URL", "Valkey": "REDIS_URL",
    "MongoDB": "MONGODB_URI", "RabbitMQ": "AMQP_URL",
}  # fmt: skip
_MOST_SERVICES = 20
_DEEPEST = 12
_MOST_ALIASES = 20


def explained(name: str, text: str) -> list[str]:
    """What its services would be here, one sentence each. A file that cannot be read is only named."""
    first = f"{name} is not executed"
    services = _services(text)
    if not services:
        return [first]
    lines = [f"{first}; what its services are here:"]
    addresses = _addresses(services)
    for service, settings in list(services.items())[:_MOST_SERVICES]:
        lines.append(f"  {quoted(service, 40)}: {_explained(service, settings, addresses)}")
    if len(services) > _MOST_SERVICES:
        lines.append(f"  and {len(services) - _MOST_SERVICES} more")
    return lines


def _explained(service: str, settings: dict[str, Any], addresses: Mapping[str, str]) -> str:
    image = _text(settings.get("image"))
    if "build" in settings:
        return _built(service, settings)
    base = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    kind = next((title for word, title in _DATABASES.items() if word in base.split("-") or word == base), "")
    if kind:
        variable = addresses.get(service) or _VARIABLES.get(kind, "")
        give = f"; give the address of one: paas config:set {quoted(variable)}=ADDRESS" if variable else ""
        return f"{kind}, which this platform does not run yet{give}"
    if not re.fullmatch(r"[\w./:@-]{1,200}", image):
        return "not known here"
    app = _app_name(service)
    return f"an app of its own: paas create {app} && paas deploy --image {image} -a {app}"


def _built(service: str, settings: dict[str, Any]) -> str:
    """What runs the source: a process type of this app, or an app of its own when it is built from another folder."""
    build = settings["build"]
    table = build if isinstance(build, dict) else {"context": build}
    folder = _text(table.get("context")).removeprefix("./").strip("/.")
    docker = {name: _text(table.get(name)) for name in ("dockerfile", "target")}
    words = [f"{name}={shlex.quote(value)}" for name, value in docker.items() if value]
    words = ["builder=dockerfile", *words] if words else []
    if folder:
        app = _app_name(service)
        choose = f"paas builds:set root={shlex.quote(folder)} {' '.join(words)}".rstrip()
        return f"an app of its own: paas create {app} && {quoted(choose, 200)} -a {app}"
    line = _command(settings)
    kind = "web" if settings.get("ports") or service in ("app", "server", "api") else _app_name(service)
    said = (
        f'a process type; in the Procfile "{kind}: {quoted(line, 200)}"'
        if line
        else f"a process type ({kind})"
    )
    if words:
        said += f"; its Dockerfile instead: paas builds:set {quoted(' '.join(words), 200)}"
    return said + ("; files in its volumes go with the instance" if _volumes(settings) else "")


def _app_name(service: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", service.lower()).strip("-")[:30] or "app"


def _command(settings: dict[str, Any]) -> str:
    """Its command, with $PORT for the port that it is published by."""
    value = settings.get("command")
    if isinstance(value, list):
        line = shlex.join(str(word) for word in value if isinstance(word, str | int | float))
    else:
        line = " ".join(_text(value).split())
    ports = settings.get("ports")
    first = _text(ports[0]) if isinstance(ports, list) and ports else ""
    port = re.search(r"(\d{2,5})(?:/tcp)?$", first)
    return re.sub(rf"\b{port[1]}\b", "$PORT", line) if port else line


def _volumes(settings: dict[str, Any]) -> bool:
    """Whether it has volumes that are no folders of the repository."""
    found = settings.get("volumes")
    return isinstance(found, list) and any(re.match(r"[A-Za-z0-9]", _text(one)) for one in found)


def _addresses(services: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """For services that others reach by an address in their environment: the variable that has it."""
    found: dict[str, str] = {}
    for settings in list(services.values())[:_MOST_SERVICES]:
        given = settings.get("environment")
        pairs = list(given.items()) if isinstance(given, dict) else []
        if isinstance(given, list):
            pairs = [(name, value) for name, _, value in (_text(one).partition("=") for one in given)]
        for name, value in pairs[:100]:
            address = _text(value).rpartition("@")[2]
            host = re.match(r"(?:[a-z0-9+]{1,20}://)?([A-Za-z][\w-]*)(?=[:/?]|$)", address)
            if host and re.fullmatch(r"[A-Za-z_]\w*", _text(name)):
                found.setdefault(host[1], _text(name))
    return found


def _text(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 64:
        return ""  # Python writes no number of thousands of digits
    return str(value) if isinstance(value, str | int | float) else ""


def _services(text: str) -> dict[str, dict[str, Any]]:
    """The table `services`. Many aliases and deep nesting, with which a small file could cost much, are not read."""
    aliases = re.findall(r"(?m)(?:^|[\s:\[{,-])[&*]\w", text)
    merges = re.findall(r"<<[ \t]*:[ \t]*(\S?)", text)
    if len(aliases) > _MOST_ALIASES or any(each != "*" for each in merges) or _deep(text):
        return {}
    try:
        data = yaml.safe_load(text)
    except (
        Exception
    ):  # its constructors raise IndexError, AttributeError and KeyError for `!!int ""` and the like
        return {}
    services = data.get("services") if isinstance(data, dict) else None
    found = services if isinstance(services, dict) else {}
    return {_text(name): value if isinstance(value, dict) else {} for name, value in found.items()}


def _deep(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if depth > _DEEPEST:
            return True
    return False
