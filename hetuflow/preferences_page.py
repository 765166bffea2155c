"""The page on which people choose the language of pages and the time zone of what they read there."""

from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelect2Widget, UnfoldAdminSelectWidget

from access.preferences import choose, preference_of
from hetuflow.preferences import known_zones, zone_of_browser

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class PreferencesForm(forms.Form):
    language = forms.ChoiceField(
        label=gettext_lazy("Language"), required=False, widget=UnfoldAdminSelectWidget()
    )
    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        required=False,
        widget=UnfoldAdminSelect2Widget(),
        help_text=gettext_lazy(
            "Pages tell the time in this zone, and read in it what you enter; pointed at, a time shows UTC. "
            "Schedules keep their own."
        ),
    )

    def __init__(self, *args: Any, zone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        language, time_zone = self.fields["language"], self.fields["time_zone"]
        cast("forms.ChoiceField", language).choices = [
            ("", _("As the browser asks")),
            *settings.LANGUAGES,
        ]
        cast("forms.ChoiceField", time_zone).choices = [
            ("", _("As this machine has it: %(zone)s") % {"zone": zone}),
            ("UTC", "UTC"),
            *((name, name) for name in sorted(known_zones() - {"UTC"})),
        ]


def preferences(request: HttpRequest) -> HttpResponse:
    """Show the form, or store what was chosen: all of it, or in the menu the language alone."""
    user = cast("User", request.user)
    stored = preference_of(user)
    initial = {"language": stored.language, "time_zone": stored.time_zone}
    posted = {**initial, **request.POST.dict()} if request.method == "POST" else None
    form = PreferencesForm(posted, initial=initial, zone=zone_of_browser(request))
    if not form.is_valid():
        context = {**admin.site.each_context(request), "title": _("Preferences"), "form": form}
        return TemplateResponse(request, "admin/hetuflow/preferences.html", context)
    chosen = choose(user=user, **form.cleaned_data)
    if chosen.language:
        translation.activate(chosen.language)
    if "time_zone" in request.POST:
        messages.success(request, _("Your preferences were stored."))
    return _with_language(HttpResponseRedirect(_page_before(request)), chosen.language)


def _page_before(request: HttpRequest) -> str:
    """Return the page on which the choice was made."""
    wanted = request.headers.get("referer", "")
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else reverse("admin:preferences")


def _with_language(response: HttpResponse, language: str) -> HttpResponse:
    """Let this browser know the language before its user is logged in again."""
    if language:
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            language,
            max_age=365 * 86_400,
            secure=settings.LANGUAGE_COOKIE_SECURE,
            samesite=settings.LANGUAGE_COOKIE_SAMESITE,  # type: ignore[arg-type]
        )
    else:
        response.delete_cookie(settings.LANGUAGE_COOKIE_NAME)
    return response
