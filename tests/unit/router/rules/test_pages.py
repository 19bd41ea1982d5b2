"""Answers of the router itself: pages of the app's own, and what may stand in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.router import REFUSED, Rig

from router.rules.own_answers import ANSWERS
from router.rules.pages import MAX_FIELDS, MAX_PAGE_BYTES, Page, Pages

UUID = b"6f1ed002-ab55-4985-a140-14ebf0951522"
GET = b"GET / HTTP/1.1\r\nHost: app.test\r\nX-Request-Id: 01234567890123456789\r\n\r\n"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    rigs: list[Rig] = []
    folder = tmp_path / "pages"
    folder.mkdir()

    def build(files: dict[str, bytes], **flags: Any) -> Rig:
        for name, text in files.items():
            (folder / name).write_bytes(text)
        rig = Rig(("i1",), **flags)
        rig.shared.pages = Pages(None, tmp_path)
        rigs.append(rig)
        return rig

    yield build
    for rig in rigs:
        rig.close()


def body(rig: Rig, request: bytes = GET) -> bytes:
    client = rig.client()
    client.send(request)
    head, _, body = client.read().partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    return body


def test_the_page_of_the_code_comes_before_that_of_the_status(make: Any) -> None:
    files = {"a.html": b"back soon ($code)", "b.html": b"$status $title"}
    rig = make(files, pages={"H80": "a.html", "503": "b.html"}, maintenance=True)
    assert body(rig) == b"back soon (H80)"
    rig.set_table(("i1",), pages={"H80": "a.html", "503": "b.html"})
    rig.refusing["i1"] = REFUSED
    assert body(rig) == b"503 Service Unavailable"


@pytest.mark.parametrize(
    ("status", "flags", "request_"),
    [
        ("401", {"basic_auth": {"a": "saltsalt$" + 64 * "0"}}, GET),
        ("403", {"allow": ["10.0.0.0/8"]}, GET),
        ("413", {"body_limit_bytes": 1}, b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nab"),
        ("413", {"body_limit_bytes": 1},
         b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"),
    ],
)  # fmt: skip
def test_every_answer_of_the_router_for_the_app_has_its_page(
    make: Any, status: str, flags: dict[str, Any], request_: bytes
) -> None:
    rig = make({"a.html": b"mine: ${status}!"}, pages={status: "a.html"}, **flags)
    assert body(rig, request_) == b"mine: " + status.encode() + b"!"


def test_a_bad_answer_of_the_backend_has_it_but_its_own_error_passes(make: Any) -> None:
    rig = make({"a.html": b"sorry"}, pages={"502": "a.html", "500": "a.html"})
    for answer, wanted in (
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"sorry"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", b"oops"),
    ):
        client = rig.client()
        client.send(GET)
        rig.backend.send(answer)
        assert client.read().endswith(b"\r\n\r\n" + wanted)


def test_head_gets_no_body_and_the_id_is_the_request_s(make: Any) -> None:
    rig = make({"a.html": b"id=$request_id"}, pages={"503": "a.html"}, maintenance=True)
    assert body(rig) == b"id=01234567890123456789"
    client = rig.client()
    client.send(GET.replace(b"GET", b"HEAD"))
    assert client.read().endswith(b"\r\n\r\n")


def test_a_missing_or_too_big_page_or_a_link_is_replaced_by_the_standard_one(
    make: Any, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    os.symlink(secret, tmp_path / "pages" / "link.html")
    rig = make(
        {"big.html": b"x" * (MAX_PAGE_BYTES + 1), "full.html": b"x" * MAX_PAGE_BYTES}, maintenance=True
    )
    standard = body(rig)
    assert b"The application is down for maintenance." in standard
    for name in ("none.html", "big.html", "link.html"):
        rig.set_table(("i1",), maintenance=True, pages={"503": name})
        assert body(rig) == standard
    rig.set_table(("i1",), maintenance=True, pages={"503": "full.html"})
    assert len(body(rig)) == MAX_PAGE_BYTES
    (tmp_path / "pages" / "none.html").write_bytes(b"here now")
    rig.set_table(("i1",), maintenance=True, pages={"503": "none.html"})
    assert body(rig) == b"here now", "that it was missing is not remembered"


@pytest.mark.parametrize(
    "pages", [{"503": "../secret"}, {"503": ".x"}, {"200": "a"}, {"x": "a"}, {"503": 5}, []]
)
def test_a_flag_that_makes_no_sense_is_refused(pages: Any) -> None:
    from router.rules.policy import parse

    with pytest.raises(ValueError):
        parse({"pages": pages})


def test_fields_are_replaced_once_and_escaped_and_the_rest_is_left_alone() -> None:
    page = Page(b"$5 ${x} $statuses $status$code {$title} $$text \xff${request_id}")
    assert page.render(ANSWERS["first-byte"], b"<$status>") == (
        b"$5 ${x} $statuses 503H12 {Service Unavailable} $The application took too long to answer. \xff&lt;$status&gt;"
    )


def test_a_page_of_nothing_but_fields_stays_small() -> None:
    text = b"$request_id" * (MAX_PAGE_BYTES // 11)
    page = Page(text).render(ANSWERS["maintenance"], b"x" * 200)
    assert page == b"x" * 200 * MAX_FIELDS + text[11 * MAX_FIELDS :]


def test_pages_say_what_and_carry_the_id() -> None:
    pages = Pages()
    for own_answer in ANSWERS.values():
        status, lines, body = pages.answer(own_answer, UUID)
        assert status.code == own_answer.status and status.text.startswith(
            b"HTTP/1.1 %d " % own_answer.status
        )
        assert b"X-Request-Id: " + UUID in lines and lines.endswith(b"\r\n")
        assert b"Content-Length: %d\r\n" % len(body) in lines
        assert own_answer.code.encode() in body and own_answer.text.encode() in body
    assert b"X-Request-Id" not in pages.answer(ANSWERS["refused"], b"")[1]


def test_pages_from_another_template(tmp_path: Path) -> None:
    (tmp_path / "error.html").write_text("$status|$code|$title|$text")
    _, _, body = Pages(tmp_path).answer(ANSWERS["first-byte"], b"")
    assert body == (b"503|H12|Service Unavailable|The application took too long to answer.")
