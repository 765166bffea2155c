"""Namespaces in forms: those that there are and the user may use are suggested, new ones are typed."""

from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from access.backends import authority_of_user
from scheduling.models import Job
from scheduling.services.distinct import distinct_values

if TYPE_CHECKING:
    from scheduling.admin.permissions import PermittedAdmin as _Base
else:
    _Base = object

# The element that the page's template writes, once for all its fields.
_DATALIST: Final = "hf-namespaces"
_SUGGESTED: Final = 500


def suggest_namespaces(field: Any) -> Any:
    """Let a form field suggest the page's namespaces, and return it."""
    field.widget.attrs["list"] = _DATALIST
    return field


def namespaces_of(request: HttpRequest, permission: str) -> list[str]:
    """Return where the user holds `permission`; those that have jobs, where that is everywhere."""
    return namespaces_in(request, Job, permission)


def namespaces_in(request: HttpRequest, model: type[Model], permission: str) -> list[str]:
    """Return where the user holds `permission`; those that have rows of `model`, where that is everywhere.

    An index of `model` has to begin with the namespace.
    """
    held = authority_of_user(request.user).namespaces(permission)
    if held is not None:
        return sorted(held)
    condition = "archived_at IS NULL" if model is Job else "true"
    return distinct_values(model, "namespace", condition=condition, limit=_SUGGESTED)


class SuggestsNamespaces(_Base):
    """Admin pages whose forms ask for a namespace in which `namespace_permission` is needed."""

    namespace_permission: ClassVar[str]
    change_form_after_template = "admin/hetuflow/namespaces.html"

    def suggested_namespaces(self, request: HttpRequest) -> list[str]:
        """Return what the page's fields suggest."""
        return namespaces_of(request, self.namespace_permission)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        return suggest_namespaces(field) if db_field.name == "namespace" else field

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["namespaces"] = self.suggested_namespaces(request)
        return super().render_change_form(request, context, *args, **kwargs)
