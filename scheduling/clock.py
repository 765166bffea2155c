"""The database's clock, under the name by which everything above the agents knows it."""

from agents.clock import database_now

__all__ = ["database_now"]
