"""One container from a Box to its exit record: the forked child that becomes it, and the shim that is its parent. Imports `image`,
`net`, `cgroup`, `kernel` and below.

Begin with `create` (everything around the shim; `engine` is what all containers share, `sources` opens layers, mounts and logs), then
`shim`, then `child` (in order, everything that happens to the process), which ends in `program` and `init`. `rootfs` and `mounts` are what
the process sees; `pump`, `attach`, `processes` and `logs` are the shim's life; `records` is what a later spawner finds.
"""
