"""The tokens of API clients."""

from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from access import tokens
from access.callers import actor_of
from access.models import ApiToken
from access.roles import Scope
from hetuflow.admin.delegation import reaches
from scheduling.admin import words
from scheduling.admin.namespaces import SuggestsNamespaces
from scheduling.admin.pages import ServiceAdmin, ServiceForm
from scheduling.clock import database_now
from scheduling.errors import InvalidField


class TokenForm(ServiceForm):
    class Meta:
        model = ApiToken
        fields = ("user", "name", "scope", "namespace", "expires_at")
        help_texts: ClassVar = {
            "scope": gettext_lazy(
                "The most that the token permits, within what its user may do. Read: looks. Operate: also "
                "runs, cancels and retries, pauses and resumes. Write: also says what runs, when and where. "
                "Admin: also lets others in and sees what they did."
            ),
            "namespace": gettext_lazy(
                "The one namespace that the token is good for. Empty: all that its user may see."
            ),
            "expires_at": words.entered_in_zone(gettext_lazy("Empty: it never expires.")),
        }

    def clean_expires_at(self) -> datetime | None:
        """Refuse a token that would be dead at birth."""
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= database_now():
            raise forms.ValidationError(_("This is in the past."))
        return expires_at


@admin.register(ApiToken)
class ApiTokenAdmin(SuggestsNamespaces, ServiceAdmin):
    """Only the digest of a token is stored, so it is shown once, to the one who makes it."""

    namespace_path = None
    namespace_permission = "scheduling.view_job"
    form = TokenForm
    list_display = ("name", "user", "scope", "of_namespace", "created", "expires", "state")
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

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Let those search for users who may choose among them."""
        return self.autocomplete_fields if _administers_users(request) else ()

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Answer no question about digests."""
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        return {"user": request.user.pk, "scope": Scope.READ, **initial}

    def save_by_service(self, request: HttpRequest, obj: ApiToken, form: Any, *, change: bool) -> ApiToken:
        fields = {name: form.cleaned_data[name] for name in TokenForm.Meta.fields}
        if fields["user"] != request.user and not reaches(request, fields["user"]):
            raise InvalidField({"user": _("This user may do more than you: only a superuser can do this.")})
        stored, request.issued_token = tokens.issue(**fields, by=actor_of(request))  # type: ignore[attr-defined]
        return stored

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # After saving the secret is shown, whichever button it was.
        context |= {"show_save_and_continue": False, "show_save_and_add_another": False}
        return super().render_change_form(request, context, *args, **kwargs)

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

    @admin.display(description=gettext_lazy("created"), ordering="created_at")
    def created(self, token: ApiToken) -> SafeString | str:
        return words.moment(token.created_at, now=timezone.now())

    @admin.display(description=gettext_lazy("expires"), ordering="expires_at")
    def expires(self, token: ApiToken) -> SafeString | str:
        return words.moment(token.expires_at, now=timezone.now())

    @admin.display(description=gettext_lazy("namespace"), ordering="namespace")
    def of_namespace(self, token: ApiToken) -> str:
        return token.namespace or "*"

    @admin.display(description=gettext_lazy("status"))
    def state(self, token: ApiToken) -> SafeString:
        if token.is_valid:
            return words.badge("online", _("valid"))
        return words.badge("offline", _("revoked") if token.revoked_at else _("expired"))

    @admin.action(description=gettext_lazy("Revoke …"))
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> HttpResponse | None:
        """Revoke the selected tokens for good, after asking."""
        chosen = queryset.filter(revoked_at__isnull=True).select_related("user")
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": _("Revoke these tokens?"),
                "tokens": chosen,
                "checkbox": ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "admin/access/apitoken/revoke.html", context)
        for token in chosen:
            tokens.revoke(token_id=token.pk, now=database_now(), by=actor_of(request))
        self.message_user(request, _("The tokens are revoked."), messages.SUCCESS)
        return None


def _administers_users(request: HttpRequest) -> bool:
    return request.user.has_perm("auth.change_user")
