"""Who may come in: users, groups and the tokens of API clients."""

from typing import TYPE_CHECKING, Any

import knox.admin  # noqa: F401 (registers)
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from knox.models import AuthToken
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from scheduling.admin.pages import Admin, ModelForm

if TYPE_CHECKING:
    from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

    _DjangoUserAdmin = DjangoUserAdmin[User]
else:
    from django.contrib.auth.admin import UserAdmin as _DjangoUserAdmin

# Their own pages register on import, this one after them; they lack unfold's look and the one-time display.
for model in (User, Group, AuthToken):
    admin.site.unregister(model)


@admin.register(User)
class UserAdmin(_DjangoUserAdmin, Admin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, Admin):
    pass


class TokenForm(ModelForm):
    class Meta:
        model = AuthToken
        fields = ("user", "expiry")
        help_texts = {"expiry": gettext_lazy("Empty: it never expires.")}


@admin.register(AuthToken)
class AuthTokenAdmin(Admin):
    """Only the digest of a token is stored, so it is shown once, to the one who makes it."""

    form = TokenForm
    list_display = ("token_key", "user", "created", "expiry")
    list_display_links = None
    list_select_related = ("user",)
    search_fields = ("token_key", "user__username")
    autocomplete_fields = ("user",)
    ordering = ("-created", "pk")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Show everybody's tokens to those who administer users, and to others their own."""
        tokens = super().get_queryset(request)
        return tokens if _administers_users(request) else tokens.filter(user_id=request.user.pk)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user" and not _administers_users(request):
            kwargs["queryset"] = User.objects.filter(username=request.user.get_username())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        stored, token = AuthToken.objects.create(user=obj.user, expiry=None)
        if obj.expiry is not None:
            AuthToken.objects.filter(pk=stored.pk).update(expiry=obj.expiry)
        obj.pk, obj.created = stored.pk, stored.created
        obj.token_key = stored.token_key
        request.issued_token = token  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("An API token for %(user)s") % {"user": obj.user},
            "token": request.issued_token,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/knox/token.html", context)


def _administers_users(request: HttpRequest) -> bool:
    return request.user.has_perm("auth.change_user")
