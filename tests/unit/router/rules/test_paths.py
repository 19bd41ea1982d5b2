"""Guards of path domains: no application may read a target as a guarded path that the router took for another one."""

from __future__ import annotations

import itertools
import posixpath
import random
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from harness.router import Rig

from router.rules.own_answers import ANSWERS
from router.rules.paths import by_path
from router.rules.route import Route
from router.rules.table import RouteTable
from router.rules.tablefile import parse

OPEN: dict[str, Any] = {}
GUARDED = {"allow": ["10.0.0.0/8"]}


def table(root: dict[str, Any], admin: dict[str, Any]) -> RouteTable:
    routes = [
        {"host": "a.test", "path": path, "app": app, "pool": "p", "flags": flags}
        for path, app, flags in (("/", "site", root), ("/admin", "admin", admin), ("/admin/in", "in", admin))
    ]
    pool = [{"id": "i1", "address": "10.0.0.1", "port": 5000}]
    return parse({"generation": 1, "routes": routes, "pools": {"p": pool}}, {})


def found(table: RouteTable, target: str) -> str | None:
    route = table.lookup(b"a.test", target.encode())
    return route.app if route is not None else None


# how applications read a target


def whatwg(target: str) -> str:
    """`new URL(target, "http://base").pathname`: the URL standard of WHATWG, section 4.4."""
    text = re.split(r"[?#]", target.replace("\\", "/"))[0]
    if text.startswith("//"):
        text = re.sub(r"^/+[^/]*", "", text) or "/"
    kept: list[str] = []
    names = text.split("/")[1:]
    for at, name in enumerate(names):
        plain = name.lower().replace("%2e", ".")
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(name)
        if plain in (".", "..") and at == len(names) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def netloc(target: str) -> str:
    return unquote(urlsplit(target.partition("#")[0]).path)


def normal(target: str) -> str:
    return posixpath.normpath(unquote(target.partition("?")[0])).replace("//", "/")


def with_parameters(target: str) -> str:
    return posixpath.normpath(unquote(re.sub(";[^/]*", "", target.partition("?")[0]))).replace("//", "/")


def merged(target: str) -> str:
    return re.sub("/+", "/", target.partition("?")[0])


READERS: list[Callable[[str], str]] = [
    whatwg,
    lambda target: unquote(whatwg(target)),
    netloc,
    normal,
    with_parameters,
    merged,
    lambda target: unquote(merged(target)),
]


def meant(path: str) -> str:
    """The app that a path as an application reads it belongs to."""
    for prefix, app in (("/admin/in", "in"), ("/admin", "admin")):
        if path == prefix or path.startswith(prefix + "/"):
            return app
    return "site"


@pytest.mark.parametrize(
    "target",
    [
        "//h/admin", "///h/admin", "/\\h/admin", "//h:80/admin", "//u@h/admin", "//h/x/../admin", "//[::1]/admin",
        "/\\/h/admin", "//h/%61dmin", "//h/;/admin", "//h//admin", "/%2fh/admin", "/%09/h/admin", "/x/../admin//../y",
        "/x/../admin/y\\..\\..\\z", "/x/../admin/y/..;/..;/z", "//h/admin?x", "//h\\admin/in",
    ],
)  # fmt: skip
def test_what_a_url_parser_reads_as_a_guarded_path_leads_nowhere(target: str) -> None:
    assert found(table(OPEN, GUARDED), target) is None


@pytest.mark.parametrize(
    ("target", "path"),
    [
        # plain targets lead to the longest prefix that ends between names
        (b"/", b"/"), (b"/x", b"/"), (b"/admin", b"/admin"), (b"/admin/", b"/admin"), (b"/administer", b"/"),
        (b"/admin/in", b"/admin/in"), (b"/admin/inner", b"/admin"), (b"/x/admin", b"/"), (b"", b"/"), (b"*", b"/"),
        # a query is no part of the path, however odd
        (b"/x?/admin", b"/"), (b"/admin?//h/../x", b"/admin"), (b"/?%61dmin", b"/"),
        # odd, but every reading leads to the same route
        (b"/x%20y", b"/"), (b"/x;a=b/y", b"/"), (b"/x//y", b"/"), (b"/./x", b"/"), (b"/x/../y", b"/"),
        (b"/admin/%78", b"/admin"), (b"/admin/x;y", b"/admin"), (b"/admin//x", b"/admin"), (b"/a%2Fb", b"/"),
        (b"/.well-known/x", b"/"), (b"/x.y", b"/"), (b"/...", b"/"), (b"/%", b"/"), (b"/%zz", b"/"), (b"/\xff", b"/"),
        # a reading that leads elsewhere: nowhere
        (b"/%61dmin", None), (b"/admin%2fin", None), (b"/admin/%2e%2e/x", None), (b"/admin/../x", None),
        (b"/x/../admin", None), (b"/./admin", None), (b"//admin", None), (b"/admin;x", None), (b"/;/admin", None),
        (b"/\\admin", None), (b"/admin#", None), (b"/adm%09in", None), (b"/admin//in", None),
    ],
)  # fmt: skip
def test_a_target_leads_to_the_longest_prefix_or_where_readings_differ_nowhere(
    target: bytes, path: bytes | None
) -> None:
    routes = tuple(
        Route(prefix, prefix.decode(), "a0", None, ANSWERS["blank"])
        for prefix in (b"/admin/in", b"/admin", b"/")
    )
    route = by_path(routes, target)
    assert (route.path if route is not None else None) == path


def test_without_a_route_for_the_rest_other_paths_lead_nowhere() -> None:
    only = (Route(b"/admin", "admin", "a0", None, ANSWERS["blank"]),)
    assert by_path(only, b"/admin/x") is only[0]
    assert by_path(only, b"/x") is None and by_path(only, b"/%61dmin") is None and by_path((), b"/") is None


def test_no_reader_gets_round_a_path() -> None:
    """An application that gets a target, and reads it in its own way, is the one that the path belongs to."""
    both, rng, passed = table(OPEN, GUARDED), random.Random(7), 0
    pieces = [
        "/",
        "\\",
        "admin",
        "in",
        "x",
        "..",
        ".",
        "%2e",
        "%2F",
        ";",
        "a%64min",
        "%5c",
        "%3b",
        "//",
        "%09",
        "u@h:80",
        ";a",
    ]
    every = ["".join(chosen) for length in (1, 2, 3) for chosen in itertools.product(pieces, repeat=length)]
    longer = ["".join(rng.choices(pieces, k=rng.randint(4, 9))) for _ in range(25_000)]
    for target in ["/" + rest for rest in every + longer]:
        app = found(both, target)
        if app is not None:
            passed += 1
            for reader in READERS:
                assert meant(reader(target)) == app, (target, reader(target))
    assert passed > 10_000


@pytest.mark.parametrize("target", ["/admin%3fx", "/admin%3F", "/a/..%2fadmin%3f/x"])
def test_a_decoded_question_mark_ends_a_path_for_some(target: str) -> None:
    assert found(table(OPEN, GUARDED), target) != "site"


@pytest.mark.parametrize("target", ["/tas%E2%84%AAs", "/ta%C5%BFks", "/TA%c5%bf%e2%84%aaS/x"])
def test_signs_that_are_letters_when_case_is_ignored_get_round_no_guard(target: str) -> None:
    routes = [
        {"host": "a.test", "path": path, "app": app, "pool": "p", "flags": flags}
        for path, app, flags in (("/", "site", OPEN), ("/tasks", "tasks", GUARDED))
    ]
    pool = [{"id": "i1", "address": "10.0.0.1", "port": 5000}]
    assert found(parse({"generation": 1, "routes": routes, "pools": {"p": pool}}, {}), target) is None


def test_what_would_take_long_to_read_leads_nowhere() -> None:
    assert found(table(OPEN, GUARDED), "/" + "x;y/" * 250 + "%20") == "site"
    assert found(table(OPEN, GUARDED), "/" + "x;y/" * 260 + "%20") is None


@pytest.mark.parametrize(
    "target", ["/ADMIN", "/Admin/x", "/admin/IN", "//h/aDmin", "/x/../ADMIN", "/%41dmin", "/ADMIN;x"]
)
def test_a_guard_is_not_got_round_by_capitals(target: str) -> None:
    """Many an application ignores case: Express does."""
    for guards in (GUARDED, {"basic_auth": {"ann": "saltsalt$" + "0" * 64}}):
        both = table(OPEN, guards)
        assert found(both, "/admin") == "admin"
        # what is guarded alike may be either
        assert found(both, target) == ("admin" if target == "/admin/IN" else None)


@pytest.mark.parametrize("target", ["/ADMIN", "/Admin/x"])
@pytest.mark.parametrize(
    "flags", [(OPEN, OPEN), (GUARDED, OPEN), (GUARDED, GUARDED), (OPEN, {"compress": True})]
)
def test_paths_differ_by_case_where_no_guard_is_got_round(flags: Any, target: str) -> None:
    assert found(table(*flags), target) == "site"


def test_capitals_in_the_path_of_a_domain_are_found_as_written() -> None:
    routes = [
        {"host": "a.test", "path": path, "app": path, "log": "a0", "pool": None, "flags": flags}
        for path, flags in (("/", OPEN), ("/Admin", GUARDED), ("/admin", OPEN), ("/Files/X", OPEN))
    ]
    both = parse({"generation": 1, "routes": routes, "pools": {}}, {})
    assert [found(both, path) for path in ("/Admin/x", "/admin", "/ADMIN", "/Files/X", "/files/x", "/FILES/Other")] == [
        "/Admin", "/admin", None, "/Files/X", "/", "/",
    ]  # fmt: skip


@pytest.mark.parametrize("target", [b"//h/admin", b"/\\h/admin", b"/ADMIN"])
def test_nothing_of_it_reaches_an_instance(rig: Rig, target: bytes) -> None:
    pool = [{"id": "i1", "address": "192.0.2.9", "port": 5000}]
    routes = [
        {"host": "app.test", "path": path, "app": "app", "log": "a0", "pool": "p", "flags": flags}
        for path, flags in (("/", OPEN), ("/admin", GUARDED))
    ]
    rig.upstreams.set_table({"generation": 9, "routes": routes, "pools": {"p": pool}})
    client = rig.client()
    client.send(b"GET %b HTTP/1.1\r\nHost: app.test\r\n\r\n" % target)
    assert client.take().startswith(b"HTTP/1.1 404 ")
    client.send(b"GET /admin HTTP/1.1\r\nHost: app.test\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 403 ") and rig.dialled == []
    client.send(b"GET //h/Other HTTP/1.1\r\nHost: app.test\r\n\r\n")
    assert rig.backend.read().startswith(b"GET //h/Other HTTP/1.1\r\n")
