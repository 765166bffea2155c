"""Who may come in and what they may do: users, groups and the roles of groups."""

from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from access import audit
from access.callers import actor_of
from access.delegation import Power, power_of_role
from access.grants import describe_group, describe_user
from access.models import ApiToken, Grant
from access.roles import EVERYWHERE
from hetuflow.admin.delegation import power_of_giver, reaches, within_reach
from hetuflow.admin.recorded import Described, RecordedAdmin
from scheduling.admin.fields import fields_to_read
from scheduling.admin.namespaces import SuggestsNamespaces, suggest_namespaces
from scheduling.admin.pages import ModelForm
from scheduling.admin.permissions import SeenDropdownFilter, may

if TYPE_CHECKING:
    from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

    _DjangoUserAdmin = DjangoUserAdmin[User]
    _TabularInline = admin.TabularInline[Grant, Group]
else:
    from django.contrib.auth.admin import UserAdmin as _DjangoUserAdmin
    from unfold.admin import TabularInline as _TabularInline

_LISTED_MEMBERS = 100
# Django stores the names of permissions, in English.
_MAY: Final = {
    "add": gettext_lazy("may add: %(kind)s"),
    "change": gettext_lazy("may change: %(kind)s"),
    "delete": gettext_lazy("may delete: %(kind)s"),
    "view": gettext_lazy("may look at: %(kind)s"),
    "operate": gettext_lazy("may send commands: %(kind)s"),
    "switch": gettext_lazy("may enable and disable: %(kind)s"),
}
# Models that no page has, and that bring no name in other languages.
_UNSEEN: Final = (gettext_noop("idempotency key"), gettext_noop("bulk target"))

# Django's own pages register on import, these after them; they lack unfold's look.
for model in (User, Group):
    admin.site.unregister(model)


def _permissions_of_django(field: str) -> Any:
    """Return a part of a form that is folded: roles are what most need."""
    title = gettext_lazy("Permissions that hold everywhere, beside the roles")
    return title, {"classes": ["collapse"], "fields": (field,)}


def _permission_words(permission: Permission) -> str:
    kind, verb = permission.content_type, permission.codename.partition("_")[0]
    told = _MAY[verb] % {"kind": _(kind.name)} if verb in _MAY else permission.name
    return f"{kind.app_labeled_name.partition(' | ')[0]} | {told}"


class DelegatingAdmin(RecordedAdmin):
    """Pages of users and groups: who may do more than oneself is out of reach, and so is what one lacks."""

    namespace_path = None

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or reaches(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or reaches(request, obj))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        field.queryset = within_reach(request, field.queryset)
        if db_field.related_model is Permission:
            field.label_from_instance = _permission_words
        return field


_DATES: Final = tuple(fields_to_read(User, ("last_login", "date_joined")))


@admin.register(User)
class UserAdmin(_DjangoUserAdmin, DelegatingAdmin):
    list_filter = ("is_staff", "is_superuser", "is_active", ("groups", SeenDropdownFilter))
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (gettext_lazy("Personal info"), {"fields": ("first_name", "last_name", "email")}),
        (
            gettext_lazy("What the user may do"),
            {"fields": ("is_active", "is_staff", "is_superuser", "groups")},
        ),
        _permissions_of_django("user_permissions"),
        (gettext_lazy("Important dates"), {"fields": _DATES}),
    )
    change_form_outer_after_template = "admin/auth/user/roles.html"

    def described(self, obj: User) -> Described:
        return describe_user(obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = [*super().get_readonly_fields(request, obj), *_DATES]
        if not power_of_giver(request).is_unlimited:
            fields.append("is_superuser")
        if not may(request, "auth.view_group"):
            fields.append("groups")  # those that the form could not offer would be taken away
        return fields

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Let the tokens of a user go with them; their names stay in the audit log."""
        deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, {each for each in lacking if each != ApiToken._meta.verbose_name}, protected

    def record(
        self, request: HttpRequest, obj: Any, *, before: Described | None, after: Described | None
    ) -> None:
        """Write also which tokens go with a user."""
        if before is not None and after is None:
            valid = obj.api_tokens.filter(revoked_at__isnull=True)
            before["api_tokens"] = sorted(valid.values_list("name", flat=True))
        super().record(request, obj, before=before, after=after)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():
            before = self.get_object(request, id)
            response: HttpResponse = super().user_change_password(request, id, form_url)
            after = self.get_object(request, id)
            if before is not None and after is not None and before.password != after.password:
                became = "changed" if after.has_usable_password() else "disabled"
                audit.record(
                    by=actor_of(request), action="user.update", subject=after, after={"password": became}
                )
            return response

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        user = kwargs.get("obj")
        if user is not None:
            grants = Grant.objects.filter(group__user=user).select_related("group")
            context["grants"] = grants.order_by("namespace", "group__name")
            context["shows_groups"] = may(request, "auth.view_group")
        return super().render_change_form(request, context, *args, **kwargs)


class GrantForm(ModelForm):
    giver: ClassVar[Power]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        namespace, role = cleaned.get("namespace"), cleaned.get("role")
        if namespace and role and not self.giver.covers(power_of_role(namespace, role)):
            raise forms.ValidationError(_("Nobody can give a role that they do not have there themselves."))
        return cleaned


class GrantInline(_TabularInline):
    model = Grant
    form = GrantForm
    extra = 0
    hide_title = True

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "namespace":
            # With "everywhere" as what a row begins with, one that says so would count as left alone.
            field.initial = None
            suggest_namespaces(field)
        return field

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **kwargs)
        formset.form.giver = power_of_giver(request)
        return formset


@admin.register(Group)
class GroupAdmin(SuggestsNamespaces, DjangoGroupAdmin, DelegatingAdmin):
    """Members of a group have its roles; Django's own permissions hold in every namespace."""

    fieldsets = ((None, {"fields": ("name",)}), _permissions_of_django("permissions"))
    inlines = (GrantInline,)
    namespace_permission = "scheduling.view_job"
    change_form_outer_before_template = "admin/auth/group/roles.html"
    change_form_outer_after_template = "admin/auth/group/members.html"

    def suggested_namespaces(self, request: HttpRequest) -> list[str]:
        """Suggest also everywhere, and what roles were given for."""
        granted = Grant.objects.order_by("namespace").values_list("namespace", flat=True).distinct()
        return sorted({EVERYWHERE, *granted, *super().suggested_namespaces(request)})

    def described(self, obj: Group) -> Described:
        return describe_group(obj)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        group = kwargs.get("obj")
        if group is not None and may(request, "auth.view_user"):
            context["members"] = group.user_set.order_by("username")[:_LISTED_MEMBERS]
            context["shows_members"] = True
        return super().render_change_form(request, context, *args, **kwargs)
