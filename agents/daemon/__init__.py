"""The program on worker machines: takes attempts from a server, runs them as processes, reports.

It imports nothing of Hetuflow but `agents.protocol`, and no Django. `launcher`, `shim` and what they
import use the standard library alone, and as little of it as they can: it is in the memory of every
attempt's supervisor.
"""
