"""What a service asks once it has locked a row: is it permitted in the namespace that the row is in now?

Doors ask before they call a service, by what they read. Meanwhile somebody may have moved the row (I14).
"""

from collections.abc import Callable

# Raises what its door answers a refusal with; is given the namespace of the locked row.
Permit = Callable[[str], None]
# Returns what asks of one permission.
Permits = Callable[[str], Permit]


def anywhere(namespace: str) -> None:
    """Permit it everywhere: to Hetuflow itself, and to whoever runs commands on the server's machine."""


def anything(permission: str) -> Permit:
    """Permit all of it everywhere, as `anywhere` does."""
    return anywhere
