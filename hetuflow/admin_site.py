"""The admin as a whole: unfold's, which writes down whom it lets in, and changes of one's own password."""

from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite

from access import audit
from access.callers import actor_of
from access.sign_ins import record_refused_login
from hetuflow.preferences_page import preferences

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, User


class LoginForm(AuthenticationForm):  # type: ignore[misc]
    """Of whoever gives the right password and is not let in, Django sends no signal."""

    def confirm_login_allowed(self, user: "AbstractBaseUser") -> None:
        try:
            super().confirm_login_allowed(user)
        except ValidationError:
            reason = "no staff status" if user.is_active else "not active"
            record_refused_login(self.request, cast("User", user), reason)
            raise


class AdminSite(UnfoldAdminSite):  # type: ignore[misc]
    login_form = LoginForm

    def get_urls(self) -> list[URLPattern | URLResolver]:
        own = [path("preferences/", self.admin_view(preferences), name="preferences")]
        return [*own, *super().get_urls()]

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with transaction.atomic():
            response: HttpResponse = super().password_change(request, extra_context)
            if isinstance(response, HttpResponseRedirect):
                user = cast("User", request.user)
                audit.record(
                    by=actor_of(request), action="user.update", subject=user, after={"password": "changed"}
                )
            return response
