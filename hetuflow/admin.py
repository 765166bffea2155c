"""Who may come in: users, groups and the tokens of API clients."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from access import tokens
from access.callers import actor_of
from access.models import ApiToken, AuditEntry, Grant
from rest.controls import visible
from scheduling.admin import words
from scheduling.admin.pages import Admin, ModelForm, ReadOnlyAdmin
from scheduling.admin.permissions import SeenDropdownFilter
from scheduling.admin.tasks import pretty
from scheduling.clock import database_now

if TYPE_CHECKING:
    from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

    _DjangoUserAdmin = DjangoUserAdmin[User]
    _TabularInline = admin.TabularInline[Grant, Group]
else:
    from django.contrib.auth.admin import UserAdmin as _DjangoUserAdmin
    from unfold.admin import TabularInline as _TabularInline

# Django's own pages register on import, these after them; they lack unfold's look.
for model in (User, Group):
    admin.site.unregister(model)


@admin.register(User)
class UserAdmin(_DjangoUserAdmin, Admin):
    namespace_path = None
    list_filter = ("is_staff", "is_superuser", "is_active", ("groups", SeenDropdownFilter))
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


class GrantInline(_TabularInline):
    model = Grant
    extra = 0


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, Admin):
    """Members of a group have its roles; Django's own permissions hold in every namespace."""

    namespace_path = None
    inlines = (GrantInline,)


class TokenForm(ModelForm):
    class Meta:
        model = ApiToken
        fields = ("user", "name", "scope", "namespace", "expires_at")


@admin.register(ApiToken)
class ApiTokenAdmin(Admin):
    """Only the digest of a token is stored, so it is shown once, to the one who makes it."""

    namespace_path = None
    form = TokenForm
    list_display = ("name", "user", "scope", "of_namespace", "created_at", "expires_at", "state")
    list_display_links = None
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
    autocomplete_fields = ("user",)
    ordering = ("-created_at", "pk")
    actions = ("revoke_selected",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Everybody has tokens of their own."""
        return True

    def has_add_permission(self, request: HttpRequest) -> bool:
        return True

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They are revoked; what they did stays in the audit log under their name."""
        return False

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        """Show everybody's tokens to those who administer users, and to others their own."""
        tokens = super().all_rows(request)
        return tokens if _administers_users(request) else tokens.filter(user_id=request.user.pk)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user" and not _administers_users(request):
            kwargs["queryset"] = User.objects.filter(username=request.user.get_username())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"user": request.user.pk, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        fields = {name: form.cleaned_data[name] for name in TokenForm.Meta.fields}
        stored, request.issued_token = tokens.issue(**fields, by=actor_of(request))  # type: ignore[attr-defined]
        obj.pk = stored.pk
        obj.refresh_from_db()

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("An API token for %(user)s") % {"user": obj.user},
            "token": request.issued_token,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/access/apitoken/token.html", context)

    @admin.display(description=gettext_lazy("namespace"), ordering="namespace")
    def of_namespace(self, token: ApiToken) -> str:
        return token.namespace or "*"

    @admin.display(description=gettext_lazy("status"))
    def state(self, token: ApiToken) -> SafeString:
        if token.is_valid:
            return words.badge("online", _("valid"))
        return words.badge("offline", _("revoked") if token.revoked_at else _("expired"))

    @admin.action(description=gettext_lazy("Revoke"))
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset.filter(revoked_at__isnull=True):
            tokens.revoke(token_id=token.pk, now=database_now(), by=actor_of(request))
        self.message_user(request, _("The tokens are revoked."), messages.SUCCESS)


def _shown(values: dict[str, Any], name: str) -> str:
    if name not in values:
        return ""
    return visible(values[name]) if isinstance(values[name], str) else pretty(values[name])


def _administers_users(request: HttpRequest) -> bool:
    return request.user.has_perm("auth.change_user")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    namespace_path = "namespace"
    page_template = "admin/access/auditentry/page.html"
    list_display = ("time", "who", "action", "subject", "of_namespace", "address")
    list_display_links = ("action",)
    list_filter = (("actor_kind", ChoicesDropdownFilter),)
    search_fields = ("actor", "token", "action", "subject", "=subject_id", "=namespace")
    ordering = ("-id",)
    sortable_by = ()

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        entries: QuerySet[Any] = AuditEntry.objects.annotate(shown_at=Now())
        return entries

    @admin.display(description=gettext_lazy("time"))
    def time(self, entry: Any) -> SafeString | str:
        return words.moment(entry.at, now=entry.shown_at)

    @admin.display(description=gettext_lazy("who"))
    def who(self, entry: AuditEntry) -> SafeString:
        kind = entry.get_actor_kind_display()
        return format_html(
            '<span class="hf-name">{}</span><span class="hf-sub">{} {}</span>', entry.actor, kind, entry.token
        )

    @admin.display(description=gettext_lazy("namespace"))
    def of_namespace(self, entry: AuditEntry) -> str:
        return entry.namespace or words.MISSING

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        before, after = obj.before or {}, obj.after or {}
        names = sorted({*before, *after})
        return {
            "time": words.clock(obj.at),
            "rows": [(name, *(_shown(values, name) for values in (before, after))) for name in names],
        }
