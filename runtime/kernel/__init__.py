"""The kernel from Python: system calls, namespaces, capabilities, filters, and processes confined with them. The only ctypes.
Imports `spec` for the limits of a child.

Begin with `syscalls`, then `confine`; `files`, `process`, `forked`, `poll`, `caps` and `userns` are small, `seccomp_apps` and
`seccomp_children` the two filters.
"""
