"""The program on worker machines: takes attempts from a server, runs them as processes, reports.

It imports nothing of Hetuflow but `agents.protocol`, and no Django. `launcher`, `shim`, `spool`, `processes`
and `cgroups` use the standard library alone and as little of it as they can: what they import is in the
memory of a forked supervisor of every attempt.
"""
