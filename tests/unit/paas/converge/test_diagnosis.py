from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from paas.converge.diagnosis import Boot, Subject, conclusive, exceptions, exited, relevant_lines
from paas.converge.unstartable import NOT_EXECUTABLE, NOT_FOUND
from paas.nouns.names import limit_word
from runtime.spec import MIB, Limits

WEB = Subject("web.1", "web", Limits(memory_bytes=64 * MIB), ("last words",))


@pytest.mark.parametrize(
    ("exit", "cause", "message"),
    [
        ({"status": 1}, "exited with status 1", "web.1 exited with status 1 during boot."),
        ({"status": 137, "signal": 9}, "ended by signal 9 (SIGKILL)", "SIGKILL"),
        ({"status": 139}, "ended by signal 11 (SIGSEGV)", "SIGSEGV"),
        (
            {"status": 137, "signal": 9, "oom_kills": 1, "peak_memory_bytes": 64 * MIB},
            "out of memory",
            "the limit is 64 MiB, its peak was 64 MiB",
        ),
        ({"status": 1, "oom_kills": 2, "peak_memory_bytes": 0}, "out of memory", "the limit is 64 MiB."),
        ({"status": 0, "oom_kills": 1}, "exited with status 0", "status 0"),
        ({"status": 127}, "exited with status 127", "web.1 exited with status 127 during boot."),
        ({"status": 143, "signal": 15, "wall_exceeded": True}, "timed out", "took too long"),
        ({}, "host restart", "the host was restarted"),
    ],
)
def test_the_end_of_a_container_has_a_cause(exit: dict[str, Any], cause: str, message: str) -> None:
    error = exited(WEB, exit, during="during boot")
    assert error.cause == cause
    assert message in error.message


def test_the_missing_command_is_named_as_the_shell_did() -> None:
    subject = Subject("web.1", "web", Limits(), ("bash: line 2: exec: unicorn: not found",))
    assert "command not found: unicorn" in exited(subject, {"status": 127}).message


@pytest.mark.parametrize(
    ("line", "cause", "message", "hint"),
    [
        ("bash: line 2: /app/nope.sh: No such file or directory", NOT_FOUND, "no file /app/nope.sh", "ls-files nope.sh"),
        ("bash: nope.sh: No such file or directory", NOT_FOUND, "no file nope.sh", "git ls-files nope.sh"),
        ("bash: line 2: exec: /app/run: cannot execute: Permission denied", NOT_EXECUTABLE, "/app/run is not executable", "+x run"),
        ("/app/sh: 2: exec: ./bin/run: Permission denied", NOT_EXECUTABLE, "./bin/run is not executable", "+x bin/run"),
        ("bash: line 2: /app/crlf: cannot execute: required file not found", NOT_FOUND, "first line of /app/crlf", "CR LF"),
        ("/usr/bin/env: ‘python3\\r’: No such file or directory", NOT_FOUND, "«python3» with a line ending", "\\r"),
        ("/usr/bin/env: ‘ruby’: No such file or directory", NOT_FOUND, "command not found: ruby", "The stack has no ruby"),
        ("bash: line 2: /app/x: cannot execute binary file: Exec format error", NOT_EXECUTABLE, "neither a script", "Build"),
        ("bash: line 2: exec: /app/dir: cannot execute: Is a directory", NOT_EXECUTABLE, "/app/dir is a folder", ""),
        ("sh: 1: next: not found", NOT_FOUND, "command not found: next", "among the dependencies"),
        ("bash: line 3: exec: php: not found", NOT_FOUND, "command not found: php", "The stack has no php"),
        ("/app/run.sh: 2:  : not found", NOT_FOUND, "a line of /app/run.sh ends as in Windows", "sed -i 's/\\r$//' run.sh"),
        ("/app/run.sh: line 2: $'\\r': command not found", NOT_FOUND, "a line of /app/run.sh", "run.sh"),
        ("bash: ./x: /usr/bin/python2: bad interpreter: No such file or directory", NOT_FOUND, "the interpreter /usr/bin/python2", "./x"),
        ("./serve: error while loading shared libraries: libpq.so.5: cannot open shared object file: No such file or directory",
            "library not found", "needs the library libpq.so.5, which the stack does not have. It is in the Debian package libpq5", ""),
        ("sh: 1: nosuch: not found", NOT_FOUND, "command not found: nosuch", "spelling"),
    ],
)  # fmt: skip
def test_what_a_shell_says_of_a_file_names_it_and_the_reason(
    line: str, cause: str, message: str, hint: str
) -> None:
    subject = Subject("web.1", "web", Limits(), ("earlier", line, "/usr/bin/env: use -[v]S to pass options"))
    error = exited(subject, {"status": 126 if cause == NOT_EXECUTABLE else 127})
    assert (error.cause, message in error.message, hint in error.hint) == (cause, True, True), error


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("bash: gunicor: command not found", "The image has no gunicor, which its CMD or ENTRYPOINT starts"),
        ("bash: /srv/start: No such file or directory", "The image has no /srv/start, which its CMD"),
        ("bash: /start: Permission denied", "COPY --chmod=755 FILE /start"),
    ],
)
def test_what_a_dockerfile_starts_is_told_without_a_procfile(line: str, hint: str) -> None:
    subject = Subject("web.1", "web", Limits(), (line,), own_start=True)
    error = exited(subject, {"status": 126 if "denied" in line else 127})
    assert hint in error.hint and "Procfile" not in error.hint


def test_a_status_that_the_program_itself_chose_is_not_told_as_a_missing_command() -> None:
    error = exited(WEB, {"status": 126})
    assert (error.cause, error.message) == ("exited with status 126", "web.1 exited with status 126.")
    assert "cannot be executed: its name is in the output below" in error.hint
    assert exited(Subject("web.1", "web", Limits()), {"status": 127}).hint == "It printed nothing."


@pytest.mark.parametrize(
    ("boot", "cause", "message"),
    [
        (Boot(age_s=59.0), None, ""),
        (Boot(age_s=60.0), "never listened", "opened no port within 60 s"),
        (
            Boot(age_s=6.0, sockets=(("127.0.0.1", 5000),), elsewhere_s=5.0),
            "never listened",
            "listens on 127.0.0.1:5000, expected 0.0.0.0:$PORT",
        ),
        (
            Boot(age_s=6.0, sockets=(("::", 8000),), elsewhere_s=5.0),
            "never listened",
            "listens on [::]:8000, expected 0.0.0.0:$PORT",
        ),
        (Boot(age_s=6.0, sockets=(("127.0.0.1", 9229),), elsewhere_s=5.0), None, ""),
        (Boot(age_s=11.0, sockets=(("127.0.0.1", 9229),), elsewhere_s=10.0), "never listened", "9229"),
        (Boot(age_s=60.0, accepting_s=50.0), "never answered", "listens, but answered no request"),
        (
            Boot(age_s=60.0, accepting_s=50.0, note="GET /up answered 500"),
            "health check answered 500",
            "GET /up answered 500",
        ),
        (
            Boot(age_s=0.6, accepting_s=0.5, note="GET / answered 403", hopeless=True),
            "health check answered 403",
            "web.1: GET / answered 403: the folder that is served has no index.html.",
        ),
        (Boot(age_s=4.0, accepting_s=3.0, deaths=5, deaths_accepting=5), "crash loop in boot", "5 of its"),
        (Boot(age_s=4.0, accepting_s=3.0, deaths=50, deaths_accepting=4), None, ""),
        (Boot(age_s=60.0, deaths=5), "crash loop in boot", "keeps crashing"),
        (Boot(age_s=2.0, oom_kills=3, peak_memory_bytes=64 * MIB), "out of memory", "while booting"),
    ],
)
def test_a_boot_is_judged_when_the_evidence_is_conclusive(
    boot: Boot, cause: str | None, message: str
) -> None:
    error = conclusive(boot, WEB, 60.0)
    assert (error.cause if error else None) == cause
    assert error is None or message in error.message


def test_a_wrong_address_and_a_wrong_port_have_remedies_of_their_own() -> None:
    for sockets, remedy in ((("127.0.0.1", 5000), "--host 0.0.0.0"), (("::", 3000), "process.env.PORT")):
        found = conclusive(Boot(age_s=11.0, sockets=(sockets,), elsewhere_s=10.0), WEB, 60.0)
        assert found is not None and remedy in found.hint


def test_the_last_twenty_lines_are_shown() -> None:
    assert relevant_lines(tuple(str(n) for n in range(30))) == tuple(str(n) for n in range(10, 30))


def test_the_report_of_a_failed_worker_does_not_hide_the_workers_own_error() -> None:
    worker = (
        "Traceback (most recent call last):",
        "RuntimeError: no database here",
        "Worker failed to boot.",
    )
    halt = ("Traceback (most recent call last):", "gunicorn.errors.HaltServer: <HaltServer ... 3>")
    assert relevant_lines((*worker, *halt)) == worker
    assert relevant_lines(halt) == halt
    chained = (*halt, "", "During handling of the above exception, another exception occurred:", "", *halt)
    assert relevant_lines((*worker, *chained)) == worker


def test_the_apps_own_exception_is_named_however_long_the_servers_report_is() -> None:
    worker = (
        "Traceback (most recent call last):",
        '  File "/app/app.py", line 1, in <module>',
        "django.core.exceptions.ImproperlyConfigured: SECRET_KEY is empty",
        "[4] [INFO] Worker exiting (pid: 4)",
    )
    halt = ("Traceback (most recent call last):", "gunicorn.errors.HaltServer: <HaltServer ... 3>")
    lines = (*worker, *worker, *halt, *(f"line {n}" for n in range(30)))
    error = exited(replace(WEB, lines=lines), {"status": 1}, during="during boot")
    assert (
        error.hint == "The app's own error: django.core.exceptions.ImproperlyConfigured: SECRET_KEY is empty"
    )
    loop = conclusive(Boot(age_s=60.0, deaths=5), replace(WEB, lines=lines), 60.0)
    assert loop is not None and loop.hint == error.hint


@pytest.mark.parametrize(
    "line", ["Error: Cannot find module 'express'", "TypeError [ERR_X]: no", "Uncaught app.BadError: x"]
)
def test_exceptions_without_a_python_traceback_are_known(line: str) -> None:
    assert exceptions(("listening", line, "    at main")) == (line,)


def test_ordinary_output_names_no_exception() -> None:
    assert exceptions(("[ERROR] Worker (pid:3) exited", "Errors: 0", "booting: Error handling on")) == ()


@pytest.mark.parametrize("mebibytes", [4, 16, 100, 512, 16 << 20])
def test_the_memory_that_is_advised_can_be_set(mebibytes: int) -> None:
    subject = replace(WEB, limits=Limits(memory_bytes=mebibytes * MIB))
    hint = exited(subject, {"status": 137, "signal": 9, "oom_kills": 1}).hint
    key, size = limit_word(hint.rpartition(" ")[2])
    assert key == "memory_bytes"
    assert size > mebibytes * MIB or mebibytes == 16 << 20


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "in the Debian package libgl1"),
        ("ImportError: libnobody.so.7: cannot open shared object file: No such file", "needs the library libnobody.so.7"),
        ("ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /app/a.so)", "/app/a.so was built for a newer system: it needs GLIBC_2.38"),
    ],
)  # fmt: skip
def test_a_library_that_cannot_be_loaded_is_named_with_its_package(line: str, hint: str) -> None:
    assert hint in exited(replace(WEB, lines=("Traceback", line, "worker failed")), {"status": 3}).hint
