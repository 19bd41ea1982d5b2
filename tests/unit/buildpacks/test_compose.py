"""A Compose file is explained as process types and databases, whatever stands in it."""

from __future__ import annotations

import re
import time

import pytest

from buildpacks.compose import explained
from paas.manifest.procfile import parse_procfile

COMPOSE = """
services:
  web:
    build: .
    ports: ["8000:8000"]
  worker:
    build: .
    command: ["celery", "-A", "app", "worker"]
  db:
    image: postgres:16-alpine
  cache:
    image: docker.io/library/redis:7
  mail:
    image: axllent/mailpit
"""


def test_services_become_process_types_and_databases() -> None:
    assert explained("compose.yaml", COMPOSE) == [
        "compose.yaml is not executed; what its services are here:",
        "  web: a process type (web)",
        '  worker: a process type; in the Procfile "worker: celery -A app worker"',
        "  db: PostgreSQL, which this platform does not run yet; give the address of one: paas config:set"
        " DATABASE_URL=ADDRESS",
        "  cache: Redis, which this platform does not run yet; give the address of one: paas config:set REDIS_URL=ADDRESS",
        "  mail: an app of its own: paas create mail && paas deploy --image axllent/mailpit -a mail",
    ]
    (line,) = re.findall(r'"(worker: [^"]*)"', "\n".join(explained("compose.yaml", COMPOSE)))
    assert parse_procfile(line.encode()) == {"worker": "celery -A app worker"}


MORE = """
x-common: &common
  restart: always
services:
  app:
    <<: *common
    build: {context: ., target: production}
    command: gunicorn shop:app --bind 0.0.0.0:8000
    ports: ["8000:8000"]
    volumes: [".:/app", "media:/app/media"]
    environment:
      STORE: postgres://u:p@db:5432/shop
  api:
    build:
      context: ./services/api
      dockerfile: Dockerfile.prod
    environment: ["MONGO_URL=mongodb://mongo/x"]
  db: {image: "postgres:16"}
  mongo: {image: "mongo:7"}
"""


def test_commands_are_for_what_the_file_says() -> None:
    assert explained("compose.yaml", MORE)[1:] == [
        '  app: a process type; in the Procfile "web: gunicorn shop:app --bind 0.0.0.0:$PORT"; its Dockerfile instead: paas'
        " builds:set builder=dockerfile target=production; files in its volumes go with the instance",
        "  api: an app of its own: paas create api && paas builds:set root=services/api builder=dockerfile"
        " dockerfile=Dockerfile.prod -a api",
        "  db: PostgreSQL, which this platform does not run yet; give the address of one: paas config:set STORE=ADDRESS",
        "  mongo: MongoDB, which this platform does not run yet; give the address of one: paas config:set MONGO_URL=ADDRESS",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "", "services", "services: 3", "- a", "services: [", "a: &a [x]\nb: *a", "\x00", "services: {a: !!python/object:x {}}",
        'services: !!int ""', 'services: !!timestamp "x"', "services: !!bool x", "services: {a: {image: 0x" + "f" * 9000 + "}}",
        "[" * 60000, "{a: " * 15000, "- " * 30000, "? " * 30000, "&a " * 20000, "a: " * 20000, "'" * 60000, "#" * 60000,
        "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 19)) + "services: {}\n",
        "l0: &l0 [x]\n" + "".join(f"l{i}: &l{i} [*l{i - 1}, *l{i - 1}]\n" for i in range(1, 6)) + "services: *l5\n",
        "services:\n" + "".join(" " * (depth + 1) + "a:\n" for depth in range(340)),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_at_little_cost(text: str) -> None:
    ordinary = "services:\n" + "".join(f"  s{i}:\n    image: postgres:17\n" for i in range(2000))
    began = time.process_time()
    explained("compose.yaml", ordinary[: 64 * 1024])
    middle = time.process_time()
    said = explained("compose.yaml", text[: 64 * 1024])
    assert time.process_time() - middle < 5 * (middle - began) + 0.1
    assert said[0].startswith("compose.yaml is not executed")
    assert all(line.isprintable() for line in said)


def test_many_services_are_not_all_told() -> None:
    text = "services:\n" + "".join(f"  s{number}: {{build: .}}\n" for number in range(50))
    said = explained("compose.yaml", text)
    assert (len(said), said[-1]) == (22, "  and 30 more")
