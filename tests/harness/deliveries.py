"""What GitHub, Gitea and GitLab send to a webhook: heads, signatures and bodies in their real shapes, shortened."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

BEFORE = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
AFTER = "a4c7a6e0d3b5f1e2908172635445566778899aab"

Delivery = tuple[dict[str, str], bytes]


def _signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def github(
    secret: str, *, event: str = "push", ref: str = "refs/heads/main", after: str = AFTER, **more: Any
) -> Delivery:
    person = {"name": "ann", "email": "ann@example.com", "username": "ann"}
    commit = {
        "id": after, "tree_id": "f9d2a07e9488b91af2641b26b9407fe22a451433", "distinct": True, "message": "Change",
        "timestamp": "2026-11-28T10:00:00+01:00", "url": f"https://github.com/ann/app/commit/{after}", "author": person,
        "committer": person, "added": [], "removed": [], "modified": ["app.py"],
    }  # fmt: skip
    repository = {
        "id": 186853002, "node_id": "MDEwOlJl", "name": "app", "full_name": "ann/app", "private": True,
        "owner": {"name": "ann", "login": "ann", "id": 21031067}, "html_url": "https://github.com/ann/app",
        "clone_url": "https://github.com/ann/app.git", "ssh_url": "git@github.com:ann/app.git",
        "default_branch": "main", "master_branch": "main",
    }  # fmt: skip
    data: dict[str, Any] = {
        "ref": ref, "before": BEFORE, "after": after, "repository": repository, "pusher": person,
        "sender": {"login": "ann", "id": 21031067, "type": "User"}, "created": False, "deleted": False, "forced": False,
        "base_ref": None, "compare": f"https://github.com/ann/app/compare/{BEFORE[:12]}...{after[:12]}",
        "commits": [commit], "head_commit": commit,
    }  # fmt: skip
    if event == "ping":
        data = {
            "zen": "Keep it logically awesome.",
            "hook_id": 30,
            "hook": {"type": "Repository", "events": ["push"]},
            "repository": repository,
        }
    body = json.dumps({**data, **more}).encode()
    return {
        "User-Agent": "GitHub-Hookshot/044aadd", "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-GitHub-Event": event, "X-GitHub-Hook-ID": "292430182", "Content-Type": "application/json",
        "X-Hub-Signature": "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6",
        "X-Hub-Signature-256": f"sha256={_signature(secret, body)}",
    }, body  # fmt: skip


def gitea(
    secret: str, *, event: str = "push", ref: str = "refs/heads/main", after: str = AFTER, **more: Any
) -> Delivery:
    person = {"name": "Ann", "email": "ann@example.com", "username": "ann"}
    data = {
        "ref": ref, "before": BEFORE, "after": after, "compare_url": f"http://localhost:3000/ann/app/compare/{BEFORE}...{after}",
        "commits": [{"id": after, "message": "Change\n", "url": f"http://localhost:3000/ann/app/commit/{after}",
            "author": person, "committer": person, "verification": None, "timestamp": "2026-11-28T10:00:00+01:00",
            "added": [], "removed": [], "modified": ["app.py"]}],
        "total_commits": 1, "repository": {"id": 140, "owner": {"id": 1, "login": "ann"}, "name": "app",
            "full_name": "ann/app", "clone_url": "http://localhost:3000/ann/app.git", "default_branch": "main"},
        "pusher": {"id": 1, "login": "ann"}, "sender": {"id": 1, "login": "ann"},
    }  # fmt: skip
    body = json.dumps({**data, **more}, indent=2).encode()
    signature = _signature(secret, body)
    return {
        "Content-Type": "application/json", "X-Gitea-Delivery": "f6266f16-1bf3-46a5-9ea4-602e06ead473",
        "X-Gitea-Event": event, "X-Gitea-Event-Type": event, "X-Gitea-Signature": signature, "X-Gogs-Event": event,
        "X-Gogs-Signature": signature, "X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Event": event,
    }, body  # fmt: skip


def gitlab(
    secret: str, *, event: str = "Push Hook", ref: str = "refs/heads/main", after: str = AFTER, **more: Any
) -> Delivery:
    data = {
        "object_kind": "push", "event_name": "push", "before": BEFORE, "after": after, "ref": ref, "ref_protected": True,
        "checkout_sha": after, "user_id": 4, "user_name": "Ann", "user_username": "ann", "project_id": 15,
        "project": {"id": 15, "name": "App", "web_url": "http://example.com/ann/app", "namespace": "ann",
            "git_http_url": "http://example.com/ann/app.git", "path_with_namespace": "ann/app", "default_branch": "main"},
        "commits": [{"id": after, "message": "Change", "title": "Change", "timestamp": "2026-11-28T10:00:00+01:00",
            "author": {"name": "Ann", "email": "ann@example.com"}, "added": [], "modified": ["app.py"], "removed": []}],
        "total_commits_count": 1,
    }  # fmt: skip
    body = json.dumps({**data, **more}).encode()
    return {
        "Content-Type": "application/json", "User-Agent": "GitLab/17.5.0", "X-Gitlab-Event": event,
        "X-Gitlab-Instance": "https://gitlab.example.com", "X-Gitlab-Token": secret,
        "X-Gitlab-Event-UUID": "13792a34-cac6-4fda-95a8-c58e00a3954e",
    }, body  # fmt: skip


FORGES = {"github": github, "gitea": gitea, "gitlab": gitlab}
