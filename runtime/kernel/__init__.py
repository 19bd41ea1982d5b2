"""The kernel from Python: system calls, namespaces, capabilities, filters, and processes confined with them. The only ctypes.
Imports `spec` for the range of user ids.

Begin with `syscalls`, then `confine`; `bpf` assembles the policies `seccomp_apps` and `seccomp_children`; `files`, `process`,
`forked`, `poll`, `caps` and `userns` are small and independent.
"""
