"""The network of instances: links, packet rules, name servers. Imports `kernel`.

Begin with `network` (the host's side), then `endpoint` (inside an instance), `rules` and `guard` (what packets may pass, outside and inside).
`links` and `netlink` build the messages; `upkeep` restores the rules, and runs the relay `dns` where `resolvers` finds no usable name server.
"""
