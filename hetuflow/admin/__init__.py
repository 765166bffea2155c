"""The admin pages of who may come in and what they did; importing this registers them."""

from hetuflow.admin import audit_log, people, tokens

__all__ = ["audit_log", "people", "tokens"]
