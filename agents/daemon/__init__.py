"""The agent daemon: runs on worker machines, imports no Django."""
