"""A Compose file, explained: which of its services are process types, which are databases. Nothing of it is executed. Pure."""

from __future__ import annotations

import re
import shlex
from typing import Any

import yaml

from buildpacks.plan import quoted

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_DATABASES = {
    "postgres": "PostgreSQL", "postgis": "PostgreSQL", "redis": "Redis", "valkey": "Valkey", "mysql": "MySQL",
    "mariadb": "MariaDB", "mongo": "MongoDB", "rabbitmq": "RabbitMQ", "memcached": "Memcached",
    "elasticsearch": "Elasticsearch", "opensearch": "OpenSearch", "minio": "MinIO", "nats": "NATS",
}  # fmt: skip
_VARIABLES = {"PostgreSQL": "DATABASE_URL", "MySQL": "DATABASE_URL", "MariaDB": "DATABASE_URL", "Redis": "REDIS_URL", "Valkey": "REDIS_URL"}  # fmt: skip
_MOST_SERVICES = 20
_DEEPEST = 12


def explained(name: str, text: str) -> list[str]:
    """What its services would be here, one sentence each. A file that cannot be read is only named."""
    first = f"{name} is not executed"
    services = _services(text)
    if not services:
        return [first]
    lines = [f"{first}; what its services are here:"]
    for service, settings in list(services.items())[:_MOST_SERVICES]:
        lines.append(
            f"  {quoted(str(service), 40)}: {_explained(settings if isinstance(settings, dict) else {})}"
        )
    if len(services) > _MOST_SERVICES:
        lines.append(f"  and {len(services) - _MOST_SERVICES} more")
    return lines


def _explained(settings: dict[str, Any]) -> str:
    image = str(settings.get("image", ""))
    base = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    kind = next((title for word, title in _DATABASES.items() if word in base.split("-") or word == base), "")
    if kind and "build" not in settings:
        variable = _VARIABLES.get(kind, "")
        give = f"; give the address of one: paas config:set {variable}=ADDRESS" if variable else ""
        return f"{kind}, which this platform does not run yet{give}"
    if "build" in settings:
        command = _command(settings.get("command"))
        return (
            f'a process type; in the Procfile "TYPE: {quoted(command)}"'
            if command
            else "a process type (web)"
        )
    return f"the image {quoted(image, 60)}, which this platform does not run" if image else "not known here"


def _command(value: object) -> str:
    if isinstance(value, list):
        return shlex.join(str(word) for word in value)
    return " ".join(str(value).split()) if isinstance(value, str) else ""


def _services(text: str) -> dict[Any, Any]:
    """The table `services`. Aliases and deep nesting, with which a small file could cost much, are not read."""
    if re.search(r"(?m)(?:^|[\s:\[{,-])[&*]\w", text) or _deep(text):
        return {}
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    services = data.get("services") if isinstance(data, dict) else None
    return services if isinstance(services, dict) else {}


def _deep(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if depth > _DEEPEST:
            return True
    return False
