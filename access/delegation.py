"""Nobody hands out more than they hold themselves: neither by a group nor by a membership, a permission, a
password or another one's token (I14).

Superusers hold everything. For all others a user or a group that may do more is out of reach.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet

from access.authority import EVERYTHING, Authority
from access.callers import authority_from
from access.models import Grant
from access.roles import ALL_PERMISSIONS


@dataclass(frozen=True, slots=True)
class Power:
    """What a user or group may do: by roles, and by permissions of Django's that roles do not know."""

    authority: Authority
    permissions: frozenset[str] = frozenset()
    is_unlimited: bool = False

    def covers(self, other: "Power") -> bool:
        """Whether who holds this may hand out `other`, and take it away."""
        if self.is_unlimited or other.is_unlimited:
            return self.is_unlimited
        return self.authority.includes(other.authority) and other.permissions <= self.permissions


UNLIMITED = Power(authority=EVERYTHING, is_unlimited=True)


def power_of_user(user: User) -> Power:
    """Return what a user may do, also one who is not active: that is easily changed. Two statements."""
    if user.is_superuser:
        return UNLIMITED
    permissions = Permission.objects.filter(Q(user=user) | Q(group__user=user))
    grants = Grant.objects.filter(group__user=user)
    return _power(permissions, grants.values_list("namespace", "role"))


def power_of_group(group: Group) -> Power:
    """Return what the members of a group may do. Two statements."""
    return _power(group.permissions.all(), group.grants.values_list("namespace", "role"))


def power_of_role(namespace: str, role: str) -> Power:
    """Return what a role in a namespace comes to."""
    return Power(authority_from(frozenset(), [(namespace, role)]))


def power_of_permission(permission: Permission) -> Power:
    """Return what one of Django's permissions comes to; its content type is read."""
    name = _name(permission.content_type.app_label, permission.codename)
    return _power_of_names({name}, [])


def _power(permissions: QuerySet[Permission], grants: Iterable[tuple[str, str]]) -> Power:
    names = permissions.order_by().values_list("content_type__app_label", "codename")
    return _power_of_names({_name(*each) for each in names}, grants)


def _power_of_names(names: set[str], grants: Iterable[tuple[str, str]]) -> Power:
    return Power(authority_from(names, grants), permissions=frozenset(names - ALL_PERMISSIONS))


def _name(app_label: str, codename: str) -> str:
    return f"{app_label}.{codename}"
