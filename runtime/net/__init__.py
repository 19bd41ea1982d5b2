"""The network of instances: links, packet rules, name servers. Imports `kernel`.

Begin with `network`, then `rules` and `endpoint`; `links` and `netlink` are the messages, `guard` the wall inside, `dns` a relay where needed.
"""
