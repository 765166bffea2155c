"""The admin as a whole: unfold's, which writes down when people change their own passwords."""

from typing import TYPE_CHECKING, Any, cast

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.sites import UnfoldAdminSite

from access import audit
from access.callers import actor_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class AdminSite(UnfoldAdminSite):  # type: ignore[misc]
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
