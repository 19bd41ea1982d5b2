"""The deploy branch of a repository is derived: it stands at the commit that serves, whatever crashed meanwhile."""

from __future__ import annotations

from paas.receive import children, git
from paas.receive.api import AppRepository
from paas.receive.repository import Repositories, Repository

_LOOK_UP_S = 30


def current_heads(repositories: Repositories, app: AppRepository, user: str) -> dict[str, str]:
    """The app's branches → commits, derived anew unless a push is at work on the app."""
    repository = repositories.of(app.id)
    lock = repositories.lock(app.id)
    if lock.acquire(user):
        try:
            repository.make()
            derive_head(repository, app)
        finally:
            lock.release()
    return repository.heads() if repository.exists() else {}


def derive_head(repository: Repository, app: AppRepository) -> None:
    """Set the deploy branch to the commit that serves. The caller holds the app's lock."""
    heads = repository.heads()
    # main or master, as the pushers of this app call it
    branch = next((name for name in heads if name in app.branches), app.branches[0])
    if app.live_commit is None:
        repository.set_head(branch, None)
    elif heads != {branch: app.live_commit}:
        # a restored backup may lack the commit: no branch then, and the next push brings everything
        known = children.run(
            git.command(repository.path, "cat-file", "-e", f"{app.live_commit}^{{commit}}"),
            bounds=git.bounds(read=(repository.path,)),
            timeout_s=_LOOK_UP_S,
        )
        repository.set_head(branch, app.live_commit if known.ok else None)
