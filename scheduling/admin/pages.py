"""What the admin pages of all apps share: their look, buttons that post, forms that save by a service."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.options import ShowFacets
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.forms.models import construct_instance
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from access.errors import AccessError, NameTaken
from agents.errors import AgentError
from scheduling.admin.fields import fields_to_read
from scheduling.admin.paging import BoundedChangeList, BoundedPaginator
from scheduling.admin.permissions import PermittedAdmin, may
from scheduling.admin.saved_filters import filters_above
from scheduling.admin.words import MISSING
from scheduling.errors import AlreadyExists, InvalidField, SchedulingError

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

    ModelForm = forms.ModelForm[Any]
else:
    ModelForm = forms.ModelForm

_NAMED_REFUSED: Final = 10
# What services raise where they refuse.
REFUSALS: Final = (SchedulingError, AgentError, AccessError)


@dataclass(frozen=True, slots=True)
class Button:
    """A button on an object's page; pressing it posts to `<object>/<name>/` and calls `press`.

    `press(admin, request, obj)` returns what to tell the user, or a response of its own. Without a
    `permission` it is for whoever sees the object.
    """

    name: str
    label: str | Promise
    icon: str
    press: Callable[[Any, HttpRequest, Any], str | HttpResponseBase]
    permission: str
    is_shown: Callable[[Any], bool] = lambda obj: True
    style: str = ""
    confirm: str | Promise = ""

    def is_for(self, request: HttpRequest, obj: Model) -> bool:
        """Whether the user may press it."""
        return not self.permission or may(request, self.permission, obj)


class Admin(PermittedAdmin):
    """Base of all admin classes here, for how they look and what their buttons do."""

    buttons: ClassVar[tuple[Button, ...]] = ()
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    empty_value_display = MISSING
    list_filter_submit = True
    list_before_template = "admin/hetuflow/list_head.html"
    object_history_template = "admin/hetuflow/history.html"
    compressed_fields = True
    warn_unsaved_form = True

    def get_urls(self) -> list[URLPattern]:
        info = f"{self.opts.app_label}_{self.opts.model_name}"
        pressed = [
            path(
                f"<path:object_id>/{button.name}/",
                self.admin_site.admin_view(require_POST(partial(self._press, button))),
                name=f"{info}_{button.name.replace('-', '_')}",
            )
            for button in self.buttons
        ]
        return [*pressed, *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type["ChangeList"]:
        return BoundedChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        saved = filters_above(request, self.opts.label_lower)
        return super().changelist_view(request, {"saved_filters": saved, **(extra_context or {})})

    def change_url(self, obj: Model) -> str:
        """Return the address of the object's page."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])

    def object_or_redirect(self, request: HttpRequest, object_id: str) -> Any:
        """Return the object, or where there is none a redirect that says so; raise PermissionDenied."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        return obj

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what was done to the object here, with a link to all that the audit log knows of it."""
        found = self.object_or_redirect(request, object_id)
        if isinstance(found, HttpResponse):
            return found
        context = {"audit_url": audit_url(request, found), **(extra_context or {})}
        return super().history_view(request, object_id, context)

    def shown_buttons(self, request: HttpRequest, obj: Model) -> list[dict[str, Any]]:
        """Return the buttons that this user may press on `obj` as it stands."""
        return [
            {"button": button, "url": f"{self.change_url(obj).removesuffix('change/')}{button.name}/"}
            for button in self.buttons
            if button.is_shown(obj) and button.is_for(request, obj)
        ]

    def _press(self, button: Button, request: HttpRequest, object_id: str) -> HttpResponseBase:
        obj = self.object_or_redirect(request, object_id)
        if isinstance(obj, HttpResponse):
            return obj
        if not button.is_for(request, obj):
            raise PermissionDenied
        try:
            answer = button.press(self, request, obj)
        except REFUSALS as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(self.change_url(obj))
        if isinstance(answer, HttpResponseBase):
            return answer
        self.message_user(request, answer, messages.SUCCESS)
        return HttpResponseRedirect(self.change_url(obj))

    def permitted(
        self, request: HttpRequest, objects: Iterable[Any], is_permitted: Callable[[HttpRequest, Any], bool]
    ) -> list[Any]:
        """Return the objects that a bulk action may be done to, and tell the user which are left out."""
        chosen = list(objects)
        permitted = [obj for obj in chosen if is_permitted(request, obj)]
        refused = [obj for obj in chosen if not is_permitted(request, obj)]
        if refused:
            names = ", ".join(str(obj) for obj in refused[:_NAMED_REFUSED])
            more = ", …" if len(refused) > _NAMED_REFUSED else ""
            text = ngettext(
                "%(n)d is left as it is, because your role there does not allow it: %(names)s",
                "%(n)d are left as they are, because your role there does not allow it: %(names)s",
                len(refused),
            )
            self.message_user(request, text % {"n": len(refused), "names": names + more}, messages.ERROR)
        return permitted

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        if "delete_selected" in actions:
            _action, *names = actions["delete_selected"]
            actions["delete_selected"] = (_delete_permitted, *names)
        return actions


class ReadOnlyAdmin(Admin):
    """Shows objects that only the services change; `page_template` draws one of them."""

    page_template: ClassVar[str]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return what the page needs besides the object and its buttons."""
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        obj = self.object_or_redirect(request, object_id)
        if isinstance(obj, HttpResponse):
            return obj
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": obj,
            "title": str(obj),
            "buttons": self.shown_buttons(request, obj),
            **self.page_context(request, obj),
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.page_template, context)


class ServiceForm(ModelForm):
    """A form whose values a service judges and stores; what it refused is shown at the fields.

    `refusal` is set on the class that was made for the request, when the service refused the first time.
    """

    refusal: ClassVar[Exception | None] = None
    # Names of the services' fields that differ from the form's.
    aliases: ClassVar[Mapping[str, str]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            # What counts as changed is what the user changed, not what somebody else did meanwhile.
            field.show_hidden_initial = self.instance.pk is not None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if isinstance(self.refusal, InvalidField):
            for name, message in self.refusal.errors.items():
                self.add_error(*self.told_at(name, message))
        elif isinstance(self.refusal, AlreadyExists | AgentError | NameTaken):
            self.add_error("name" if "name" in self.fields else None, str(self.refusal))
        elif self.refusal is not None:
            self.add_error(None, str(self.refusal))
        return cleaned

    def _post_clean(self) -> None:
        """Leave the rules of the model to the services, whose words help; only fill a copy of the object.

        The object itself stays as it is stored: by it the page asks what the user may do.
        """
        filled = copy.copy(self.instance)
        self.instance = construct_instance(self, filled, self._meta.fields, self._meta.exclude)

    def told_at(self, name: str, message: str) -> tuple[str | None, str]:
        """Return the field at which a refusal is shown, None for none, and what is said there.

        What is refused of a part of a field, as `parameters.day`, names the part.
        """
        name = self.aliases.get(name, name.removeprefix("config."))
        if name in self.fields:
            return name, message
        whole, _dot, part = name.partition(".")
        return (whole, f"{part}: {message}") if whole in self.fields else (None, message)


class ServiceAdmin(Admin):
    """Saves by calling services; where they refuse, nothing is changed and the form comes back.

    `model_fields` are the form's fields that Django makes from the model; the form declares the others.
    """

    change_form_before_template = "admin/hetuflow/errors.html"
    model_fields: ClassVar[tuple[str, ...] | None] = None
    fields_to_look_at: ClassVar[tuple[str, ...]] = ()

    def save_by_service(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> Model:
        """Store what changed and return the stored object; raise what the service raises."""
        raise NotImplementedError

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if self.model_fields is not None and self._may_save(request, obj):
            kwargs["fields"] = self.model_fields
        form = super().get_form(request, obj, change=change, **kwargs)
        if issubclass(form, ServiceForm):
            form.refusal = getattr(request, "service_refusal", None)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show those who may only look what is stored; only the form knows the fields that it declares."""
        if self.model_fields is not None and not self._may_save(request, obj):
            names = (*self.model_fields, *self.fields_to_look_at)
            return ((None, {"fields": fields_to_read(self.model, names)}),)
        return super().get_fieldsets(request, obj)

    def filled_in_for(self, request: HttpRequest, object_id: int | None) -> Any:
        """Return what a form is being filled in for: an object, None for a new one, or where to go instead.

        Raises PermissionDenied where the user may not save it.
        """
        stored = None if object_id is None else self.object_or_redirect(request, str(object_id))
        if not isinstance(stored, HttpResponse) and not self._may_save(request, stored):
            raise PermissionDenied
        return stored

    def _may_save(self, request: HttpRequest, obj: Any) -> bool:
        if obj is None:
            return self.has_add_permission(request)
        return self.has_change_permission(request, obj)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except REFUSALS as error:
            # The transaction of the first pass is rolled back; the second one shows the form with this.
            request.service_refusal = error  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        stored = self.save_by_service(request, obj, form, change=change)
        obj.pk = stored.pk
        obj.refresh_from_db()

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> Any:
        """Show the new object's page, where there is more to do, unless another one is to be added."""
        if "_addanother" not in request.POST and "_popup" not in request.POST:
            posted = request.POST.copy()
            posted["_continue"] = "1"
            request.POST = posted  # type: ignore[assignment]
        return super().response_add(request, obj, post_url_continue)


def audit_url(request: HttpRequest, obj: Model) -> str:
    """Return where all stands that the audit log knows of an object, "" for those who may not read it."""
    if not may(request, "access.view_auditentry"):
        return ""
    wanted = {"subject_type": _snake_case(type(obj).__name__), "subject_id": str(obj.pk)}
    return f"{reverse('admin:access_auditentry_changelist')}?{urlencode(wanted)}"


def _delete_permitted(admin: Admin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
    """Delete as Django does, after asking, those of the selected that the user may delete."""
    permitted = admin.permitted(request, queryset, admin.has_delete_permission)
    if not permitted:
        return None
    return delete_selected(admin, request, queryset.filter(pk__in=[obj.pk for obj in permitted]))


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
