"""The loop that converges what runs to what should run: it alone moves deployments and instances.
Imports `store`, `routing`, `runs`, `manifest` and `nouns`.

Begin with `loop`, whose round reads `world`, asks `plan` and `rollout` (both pure; the head of `rollout` lists the states of a deployment)
and lets `act` perform the answer. `watch`, `probe` and `health` make facts about instances, `diagnosis` says why one failed, `app_lines`
has the sentences for the app's log; `link` and `routers` hold the connections to the spawner and the router's workers; `certify`,
`collect`, `prune` and `adopt` are upkeep.
"""
