"""The HTTP API: a Flask factory, one blueprint per noun, one place for access, one for errors. Imports `release` and below.

Begin with `app` and `access`, then `bodies`, and the blueprint of a noun, `formation` say. `serve` is the daemon around it, `streams` answers
line by line, `seats` bounds how many requests a user has under way.
"""
