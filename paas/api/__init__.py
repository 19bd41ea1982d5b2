"""The HTTP API: a Flask factory, one blueprint per noun, one place for access, one for errors. Imports `release` and below.

Begin with `app` and `access`, then `bodies` and `edit` (one change, its event and its log line), then the blueprint of a
noun, `domains` or `formation` say. `serve` is the daemon around it, `gunicorn_worker` all that is overridden of
gunicorn, `streams` answers line by line, `limiter` bounds the requests that a user has at once.
"""
