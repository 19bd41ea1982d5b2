"""One container from its specification to its exit record: the forked child that becomes it, and the shim that is its parent.
Imports `image`, `net`, `cgroup`, `kernel` and below.

Begin with `engine` (what all share) and `create`, then `shim`, then `child` (in order, everything that happens to the process); `rootfs` and `mounts` are what it sees,
`pump`, `attach` and `logs` carry what it prints; `records` is what a later spawner finds of it.
"""
