"""Roles as Django's permissions, so that the admin, templates and REST ask one question."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User

from access.authority import Authority
from access.callers import authority_of
from access.roles import ALL_PERMISSIONS


class RoleBackend(ModelBackend):
    """Answers `has_perm` from roles; without an object it means "in some namespace at least".

    An object with a `namespace` is asked for that one. Permissions that are not ours are Django's business.
    """

    def get_user(self, user_id: Any) -> User | None:
        """Return the user of a session, with what each page needs to know of one."""
        try:
            user = User.objects.select_related("preference").get(pk=user_id)
        except User.DoesNotExist:
            return None
        return user if self.user_can_authenticate(user) else None

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        if perm not in ALL_PERMISSIONS:
            return super().has_perm(user_obj, perm, obj)
        authority = authority_of_user(user_obj)
        namespace = getattr(obj, "namespace", None)
        return authority.may(perm) if namespace is None else authority.may_in(namespace, perm)

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        authority = authority_of_user(user_obj)
        ours = (perm for perm in ALL_PERMISSIONS if perm.startswith(f"{app_label}."))
        return any(authority.may(perm) for perm in ours) or super().has_module_perms(user_obj, app_label)


def authority_of_user(user: Any) -> Authority:
    """Return what a user may do, read once for each user object, that is once a request."""
    cached: Authority | None = getattr(user, "_hetuflow_authority", None)
    if cached is None:
        cached = user._hetuflow_authority = authority_of(user)
    return cached
