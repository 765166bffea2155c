"""What the user of a request may hand out in the admin; see `access.delegation`."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db.models import QuerySet
from django.http import HttpRequest

from access.delegation import Power, power_of_group, power_of_permission, power_of_user


def power_of_giver(request: HttpRequest) -> Power:
    """Return what the user of a request may hand out, read once."""
    cached: Power | None = getattr(request, "power_of_giver", None)
    if cached is None:
        cached = request.power_of_giver = power_of_user(request.user)  # type: ignore[attr-defined, arg-type]
    return cached


def reaches(request: HttpRequest, receiver: User | Group) -> bool:
    """Whether the user of a request may do all that `receiver` may; that is read once for each object."""
    giver = power_of_giver(request)
    if giver.is_unlimited:
        return True
    power: Power | None = getattr(receiver, "stored_power", None)
    if power is None:
        power = power_of_user(receiver) if isinstance(receiver, User) else power_of_group(receiver)
        receiver.stored_power = power  # type: ignore[union-attr]
    return giver.covers(power)


def within_reach(request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the groups or permissions that the user of a request may hand out."""
    giver = power_of_giver(request)
    if giver.is_unlimited:
        return rows
    if rows.model is Permission:
        candidates: Iterable[Any] = rows.select_related("content_type")
        covered = [row.pk for row in candidates if giver.covers(power_of_permission(row))]
    else:
        covered = [row.pk for row in rows if giver.covers(power_of_group(row))]
    return rows.filter(pk__in=covered)
