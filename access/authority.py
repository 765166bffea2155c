"""What one caller may do, and where (I14)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from access.roles import ALL_PERMISSIONS, NAMESPACED

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Authority:
    """Permissions that hold everywhere, and those that hold in single namespaces."""

    everywhere: frozenset[str] = _NONE
    within: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))

    def may(self, permission: str) -> bool:
        """Whether `permission` is held at all: everywhere, or in at least one namespace."""
        return permission in self.everywhere or any(permission in held for held in self.within.values())

    def may_in(self, namespace: str, permission: str) -> bool:
        """Whether `permission` is held in `namespace`."""
        return permission in self.everywhere or permission in self.within.get(namespace, _NONE)

    def namespaces(self, permission: str) -> frozenset[str] | None:
        """Return the namespaces in which `permission` is held, None for all of them."""
        if permission in self.everywhere:
            return None
        return frozenset(name for name, held in self.within.items() if permission in held)

    def includes(self, other: "Authority") -> bool:
        """Whether all that `other` may do is part of this."""
        return other.everywhere <= self.everywhere and all(
            held <= self.everywhere | self.within.get(name, _NONE) for name, held in other.within.items()
        )

    def limited_to(self, permissions: frozenset[str], *, namespace: str = "") -> "Authority":
        """Return what is left of it for a token with these permissions, and one namespace if it has one."""
        if namespace:
            held = (self.everywhere | self.within.get(namespace, _NONE)) & permissions & NAMESPACED
            return Authority(within={namespace: held} if held else {})
        within = {name: held & permissions for name, held in self.within.items()}
        return Authority(everywhere=self.everywhere & permissions, within=within)


NOTHING = Authority()
EVERYTHING = Authority(everywhere=ALL_PERMISSIONS)
