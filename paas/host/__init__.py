"""The platform on its machine: `paas server`, its daemons and their users, what uninstalls them. The only wiring: here settings
become folders, listeners and processes. Imports every lower room; the other daemons do not import it.

Begin with `server`, then `daemons` and `listeners`, then `launch` (starts one) and `supervise` (keeps them running);
`accounts`, `claim`, `doctor`, `unit` and `uninstall` stand alone.
"""
