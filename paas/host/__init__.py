"""The platform on its machine: `paas server`, its daemons and their users, what uninstalls them. The only wiring: here settings
become folders, listeners and processes. Imports every lower room; the other daemons know it not.

Begin with `server`, then `launch` and `supervise`; `accounts`, `claim`, `doctor`, `unit` and `uninstall` stand alone.
"""
