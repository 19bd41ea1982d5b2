"""The spawner: root, single-threaded, the only process that makes containers. Imports `container` and below.

Begin with `server`, then `verbs`, then `instances` and `jobs`; `idblocks` is the machine's register of ids and addresses.
"""
