"""The platform: what apps are, what should run, and the daemons that make it so. Imports `runtime` and `buildpacks`; talks to the router over a socket.

Begin with `nouns`, then `release` and `converge`; docs/architecture.md has the floors of the rooms and follows a push through them.
"""
