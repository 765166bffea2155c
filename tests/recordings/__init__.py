"""Sessions of an agent with a server as each release held them, to be held again by later agents and servers.

`<version>/session.jsonl` has a line for each frame ("up" is the way from the agent, "down" the way to it) and
for each thing that was done to the installation ("do"), in the order of time. `make record` writes that of
this version, from a real agent and a real server (`record.py`).
"""
