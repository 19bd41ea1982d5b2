"""Names and quantities: what is accepted, what is refused with the rule."""

from __future__ import annotations

import pytest

from paas.nouns import names
from paas.nouns.errors import BadInput
from paas.nouns.names import (
    AppName,
    BranchName,
    ConfigName,
    DomainName,
    DomainPath,
    InstanceName,
    ProcessType,
    ScaleWord,
    UserName,
)

GOOD = [
    (AppName, ["a", "hello", "a-b-c", "a1", "a" + "b" * 29]),
    (UserName, ["root", "ann@example.com", "A.b-c_d+e"]),
    (ProcessType, ["web", "Worker_2", "9x", "a" * 63]),
    (ConfigName, ["A", "_x", "FOO_BAR9", "a" * 255]),
    (DomainName, ["example.com", "*.example.com", "a.b.c.example.co", "xn--bcher-kva.example"]),
    (BranchName, ["main", "feature/x", "v1.2", "_a"]),
]
BAD = [
    (AppName, ["", "A", "-a", "a-", "1a", "a" * 31, "a_b", "a.b", "a\n", "../x", "ä", None, 5, "a\0"]),
    (UserName, ["", "-x", "a b", "a\n", "a/b", "x" * 65, "$(id)"]),
    (ProcessType, ["", "-web", "we b", "a" * 64, "web.1", "wéb", "web\n"]),
    (ConfigName, ["", "1A", "A-B", "A B", "A=B", "é", "A\n", "PORT", "HOME", "PATH", "PAAS_APP", "a" * 256]),
    (DomainName, ["", "localhost", "-a.com", "a..com", "a.com/x", "*.com*", "*.*.com", "a_b.com", "1.2.3.4",
                  "a." + "b" * 64 + ".com", "x." * 130 + "com", "a.com:80", "a b.com",
                  "a☃.com", "ü" * 70 + ".com", "ü", "ü..com", "*ü.com", "bücher.example\n"]),
    (BranchName, ["", "-x", "a..b", "a.lock", "a/.b", "a/", "a.", "a b", "a~1", "refs/heads/x^", "a//b", "a.lock/b"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in GOOD for text in texts])
def test_good_names_come_back_as_they_are(kind: type[names.Name], text: str) -> None:
    assert kind.parse(text) == text


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in BAD for text in texts])
def test_bad_names_are_refused_with_a_hint(kind: type[names.Name], text: object) -> None:
    with pytest.raises(BadInput) as caught:
        kind.parse(text)
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "name", "both"),
    [
        ("Bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example (bücher.example)"),
        ("*.straße.example.", "*.xn--strae-oqa.example", "*.xn--strae-oqa.example (*.straße.example)"),
        ("例え.テスト/a", "xn--r8jz45g.xn--zckzah/a", "xn--r8jz45g.xn--zckzah/a (例え.テスト/a)"),
        ("XN--bcher-KVA.example", "xn--bcher-kva.example", "xn--bcher-kva.example (bücher.example)"),
        ("xn--a.example", "xn--a.example", "xn--a.example"),
        ("www.example.com", "www.example.com", "www.example.com"),
    ],
)
def test_domains_are_kept_as_the_dns_has_them_and_shown_in_both_forms(
    text: str, name: str, both: str
) -> None:
    assert names.DomainPath.parse(text) == name
    assert names.both_forms(name) == names.both_forms_of(text) == both


def test_domains_are_lower_case_without_the_last_dot() -> None:
    assert DomainName.parse("WWW.Example.COM.") == "www.example.com"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("WWW.Example.com", "www.example.com"),
        ("Example.com/API/", "example.com/API"),
        ("*.example.com/a/b-c_d.e~f", "*.example.com/a/b-c_d.e~f"),
        ("example.com/", "example.com"),
    ],
)
def test_a_domain_may_have_a_plain_path(text: str, name: str) -> None:
    assert DomainPath.parse(text) == name
    assert DomainPath.parse(name) == name


@pytest.mark.parametrize(
    "path", ["/api", "a//b", "a/../b", ".", "a/./b", "a?b", "a b", "a%2f", "a\n", "x" * 201, "a;b"]
)
def test_a_path_that_could_be_read_in_two_ways_is_refused(path: str) -> None:
    with pytest.raises(BadInput):
        DomainPath.parse(f"example.com/{path}")


def test_instance_names() -> None:
    assert InstanceName.parse("web.12") == InstanceName(ProcessType("web"), 12)
    for text in ("web", "web.", "web.0", "web.01", ".1", "web.x", "web.1\n", 3, "a.b.1"):
        with pytest.raises(BadInput):
            InstanceName.parse(text)


def test_scale_words() -> None:
    assert ScaleWord.parse("web=3") == ScaleWord(ProcessType("web"), 3, False)
    assert ScaleWord.parse("web+1") == ScaleWord(ProcessType("web"), 1, True)
    assert ScaleWord.parse("my-web-2") == ScaleWord(ProcessType("my-web"), -2, True)
    for text in ("web", "web=", "web=-1", "=3", "web==3", "web=3x", "release=1", "web=٣", "web= 3"):
        with pytest.raises(BadInput):
            ScaleWord.parse(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256M", 256 << 20),
        ("1.5G", 3 << 29),
        ("512MiB", 512 << 20),
        ("64mb", 64 << 20),
        ("16777216", 1 << 24),
    ],
)
def test_memory(text: str, size: int) -> None:
    assert names.memory_bytes(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1e9", "15M", "99999T", "256 M B", "0", "nan", "1M1"])
def test_bad_memory(text: str) -> None:
    with pytest.raises(BadInput):
        names.memory_bytes(text)


@pytest.mark.parametrize(("text", "millis"), [("0.5", 500), ("2", 2000), ("250m", 250), ("0.01", 10)])
def test_cpu(text: str, millis: int) -> None:
    assert names.cpu_millis(text) == millis


@pytest.mark.parametrize("text", ["", "0", "-1", "1.2345", "x", "9999", "0.5.5", ".5", "1e1"])
def test_bad_cpu(text: str) -> None:
    with pytest.raises(BadInput):
        names.cpu_millis(text)


def test_limit_words_and_how_they_are_shown() -> None:
    for word, key in (("memory=256M", "memory_bytes"), ("cpu=0.5", "cpu_millis"), ("pids=100", "pids")):
        parsed, value = names.limit_word(word)
        assert parsed == key
        assert names.shown_limit(parsed, value) == word.partition("=")[2]
    for word in ("memory", "disk=1G", "memory=", "=5", "pids=1.5", "pids=1"):
        with pytest.raises(BadInput):
            names.limit_word(word)


def test_quantities() -> None:
    assert [names.quantity(n) for n in (0, 1, 100)] == [0, 1, 100]
    for value in (-1, 101, 1.0, True, "3", None):
        with pytest.raises(BadInput):
            names.quantity(value)


def test_config_values() -> None:
    assert names.config_value("A", "x=\n'\"ü") == "x=\n'\"ü"
    for value in ("a\0b", 3, None, "\ud800", "x" * 40000):
        with pytest.raises(BadInput):
            names.config_value("A", value)
    with pytest.raises(BadInput):
        names.check_config({f"V{n}": "x" * 30000 for n in range(10)})


def test_release_numbers() -> None:
    assert [names.release_number(value) for value in ("v3", "3", 3)] == [3, 3, 3]
    for value in ("v0", "x3", "v3 ", -1, True, None, "v", "v" + "9" * 20):
        with pytest.raises(BadInput):
            names.release_number(value)


def test_errors_never_carry_control_characters_or_long_values() -> None:
    with pytest.raises(BadInput) as caught:
        AppName.parse("\x1b[31m" + "x" * 1000)
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 120


def test_a_quantity_out_of_range_is_told_the_range() -> None:
    with pytest.raises(BadInput) as caught:
        names.quantity(99_999)
    assert caught.value.message == "99999 is outside of 0 to 100, the range of a quantity."


@pytest.mark.parametrize("name", [DomainName, DomainPath])
def test_an_address_is_no_domain_but_has_one(name: type[DomainName | DomainPath]) -> None:
    with pytest.raises(BadInput) as caught:
        name.parse("https://user:secret@Shop.example.com:8443/cart?x=1")
    assert caught.value.message.endswith("is an address, not a domain.")
    assert caught.value.hint == "Name its host: Shop.example.com"
    assert name.parse("Shop.example.com") == "shop.example.com"


def test_a_size_for_a_process_type_is_told_the_word_for_it() -> None:
    with pytest.raises(BadInput) as caught:
        names.limit_word("web=512M")
    assert caught.value.hint == "The process type stands before it: paas limits:set web memory=512M"
    assert names.limit_word("memory=512M") == ("memory_bytes", 512 << 20)
