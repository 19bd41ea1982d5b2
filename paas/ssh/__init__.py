"""The SSH front: git pushes and fetches, and the CLI's commands for people without a client. Imports `receive`, `cli` and below;
paramiko is used here only.

Begin with `accept`, the loop, which forks two processes per connection and keeps a list of them in `processes`. `monitor` is the
parent, checks the `login` and starts `jobs` (which `commands` parses; `typed` becomes the CLI, a push goes on in `receive.push`).
`connection` is its confined child, which speaks SSH through `paramiko_transport` and `requests`. The two talk by the messages of
`control`; `monitor_client` is the child's end. `admission` limits clients before the login, `hostkey` keeps the server's key.
"""

import sys

# paramiko imports invoke for a client's `Match exec`, with asyncio and a YAML parser: 5 MB that a server never uses
sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]
