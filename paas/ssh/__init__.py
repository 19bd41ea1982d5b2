"""The SSH front: git pushes and fetches, and the CLI's words for people who have no client installed. Imports `receive`, `cli` and
below; paramiko lives here only.

Begin with `accept` (the loop that forks), then `monitor` and `login` (what judges), `connection` and `transport` (the confined process that
speaks SSH), `jobs` and `commands` (what a client may start).
"""

import sys

# paramiko imports invoke for a client's `Match exec`, and with it asyncio and a YAML parser: 5 MB that nobody uses
sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]
