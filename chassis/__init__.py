"""What every service stands on and none owns: database, outbox, inbox, bus, batching, refusals, tokens, assembly.

No noun of the neighbourhood's domain belongs here. The one exception is `scopes`: a role is granted within an area's
subtree, so every service keeps a copy of that tree to decide rights.
"""
