"""The SSH front: git pushes and fetches, and the CLI's words for people who have no client installed."""

import sys

# paramiko imports invoke for a client's `Match exec`, and with it asyncio and a YAML parser: 5 MB that nobody uses
sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]
