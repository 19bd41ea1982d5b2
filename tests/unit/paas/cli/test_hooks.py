"""Hook commands: the secret is printed once, the login of a repository never."""

from __future__ import annotations

from harness.cli import Shell


def test_a_hook_is_made_listed_and_removed(paas: Shell, app: str) -> None:
    told = paas("hooks:create", "https://bot:s3cret@forge.example/a.git", "--branch", "release")
    assert told.status == 0 and "done, it deploys release" in told.err
    address, secret = told.out.splitlines()
    assert "/hooks/" in address and secret.startswith("Secret:")
    hook = address.rpartition("/")[2]
    assert hook.isalnum(), "hands type it: a leading «-» would be an option"
    listed = paas("hooks")
    assert [line.split() for line in listed.out.splitlines()[1:]] == [
        ["HOOK", "BRANCH", "REPOSITORY", "BY", "HEARD", "OUTCOME"],
        [hook, "release", "https://forge.example/a.git", "root", "never"],
    ]
    assert "Only this machine reaches that address." in told.err and "api_url" in told.err
    assert "s3cret" not in told.out + told.err + listed.out
    assert paas("hooks:remove", hook).status == 0
    again = paas("hooks:remove", hook)
    assert again.status == 1 and "no such hook" in again.err


def test_what_is_no_repository_makes_none(paas: Shell, app: str) -> None:
    assert paas("hooks:create", "git@forge.example:a.git").status == 1
    assert paas("hooks:create", "https://forge.example/a.git#main").status == 1
