"""What a member of staff sees and may do in the admin: the roles that REST asks, asked with the object (I14).

Every admin class says by `namespace_path` where the namespace of its rows is found, and then shows rows of
those namespaces alone in which the user holds the view permission. A row of another one does not exist.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, final

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model, Q, QuerySet, Value
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter

from access.backends import authority_of_user
from access.permits import Permit
from access.roles import ALL_PERMISSIONS
from rest.permissions import seen

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    _UnfoldAdmin = ModelAdmin[Any]
else:
    from unfold.admin import ModelAdmin as _UnfoldAdmin


def may(request: HttpRequest, permission: str, obj: Model | None = None) -> bool:
    """Whether the user holds `permission` in the namespace of `obj`, or without one in any at all."""
    asks_roles = permission in ALL_PERMISSIONS
    return request.user.has_perm(permission, obj if asks_roles else None)


def may_in(request: HttpRequest, permission: str, namespace: str) -> bool:
    """Whether the user holds `permission` in a namespace."""
    return authority_of_user(request.user).may_in(namespace, permission)


def permit(request: HttpRequest, permission: str) -> Permit:
    """Return what asks once more, of the namespace of a locked row; it raises PermissionDenied."""

    def ask(namespace: str) -> None:
        if not may_in(request, permission, namespace):
            raise PermissionDenied

    return ask


def seen_by(request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return those rows that the user sees, as the admin class of their model says."""
    return _admin_of(rows.model).seen_rows(request, rows)


def is_seen(request: HttpRequest, model: type[Model], path: str) -> Q | Value:
    """Return an annotation: whether the user sees the row of `model` that `path` leads to."""
    model_admin = _admin_of(model)
    namespaces = authority_of_user(request.user).namespaces(model_admin.view_permission)
    if namespaces is None or not namespaces or model_admin.namespace_path is None:
        return Value(namespaces is None or bool(namespaces))
    return Q(**{f"{path}__{model_admin.namespace_path}__in": sorted(namespaces)})


class PermittedAdmin(_UnfoldAdmin):
    """Base of all admin classes here, for whom they show rows and on which they let them act.

    `namespace_path` is the ORM path from a row to its namespace, None for what all namespaces share.
    Subclasses say in `all_rows` what there is, never in `get_queryset`.
    """

    namespace_path: ClassVar[str | None]

    def __init__(self, model: type[Model], admin_site: AdminSite) -> None:
        if not hasattr(self, "namespace_path"):
            raise ImproperlyConfigured(f"{type(self).__name__} says no namespace_path")
        super().__init__(model, admin_site)

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        """Return all rows, whoever asks."""
        rows: QuerySet[Any] = self.model._default_manager.all()
        return rows

    @final
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = self.all_rows(request)
        return self.seen_rows(request, rows).order_by(*self.get_ordering(request))

    def seen_rows(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return those of `rows` that the user sees."""
        if self.namespace_path is None:
            return rows if self.has_view_permission(request) else rows.none()
        return seen(
            rows,
            authority=authority_of_user(request.user),
            permission=self.view_permission,
            namespace_path=self.namespace_path,
        )

    @property
    def view_permission(self) -> str:
        """The permission with which rows are seen."""
        return self._permission("view")

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> Any:
        """Offer in forms only what the user sees."""
        rows = super().get_field_queryset(db, db_field, request)
        related = db_field.remote_field.model
        if not self.admin_site.is_registered(related):
            return rows
        return seen_by(request, related._default_manager.all() if rows is None else rows)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may(request, self._permission("add"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self._permission("change"), obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self._permission("delete"), obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if self.view_permission in ALL_PERMISSIONS:
            return may(request, self.view_permission, obj)
        return super().has_view_permission(request, obj)

    def _permission(self, verb: str) -> str:
        return f"{self.opts.app_label}.{get_permission_codename(verb, self.opts)}"


class SeenDropdownFilter(RelatedDropdownFilter):  # type: ignore[misc]
    """A filter by a related object that offers only those that the user sees."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: PermittedAdmin
    ) -> Iterable[tuple[Any, str]]:
        related = field.remote_field.model._default_manager.all()
        rows = seen_by(request, related).order_by(*self.field_admin_ordering(field, request, model_admin))
        return [(row.pk, str(row)) for row in rows]


class SeenAutocompleteFilter(AutocompleteSelectFilter):  # type: ignore[misc]
    """A filter by a related object that is searched for; names the chosen one only if the user sees it."""

    def choices(self, changelist: Any) -> Iterable[dict[str, Any]]:
        for choice in super().choices(changelist):
            field = choice["form"].fields[self.lookup_kwarg]
            field.queryset = seen_by(self.request, field.queryset.all())
            yield choice


def _admin_of(model: type[Model]) -> PermittedAdmin:
    model_admin = admin.site.get_model_admin(model)
    if not isinstance(model_admin, PermittedAdmin):
        raise ImproperlyConfigured(f"{type(model_admin).__name__} is not a PermittedAdmin")
    return model_admin
