"""Filters that people keep: above each list, and the door by which they are kept and forgotten."""

from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from access import saved_filters
from access.callers import actor_of
from access.errors import InvalidFilter
from access.models import SavedFilter

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def filters_above(request: HttpRequest, of_list: str) -> dict[str, Any]:
    """Return what the strip above a list shows: what is kept, which one is looked at, what could be kept."""
    user, here = cast("User", request.user), saved_filters.normal(request.META.get("QUERY_STRING", ""))
    kept = [
        {
            "filter": each,
            "is_current": each.query == here,
            "is_own": each.user_id == user.pk or user.is_superuser,
        }
        for each in saved_filters.saved_for(user, of_list)
    ]
    is_kept = any(each["is_current"] for each in kept)
    return {"kept": kept, "of_list": of_list, "query": here, "can_keep": bool(here) and not is_kept}


@require_POST
def saved_filters_view(request: HttpRequest) -> HttpResponseBase:
    """Keep the filter that is posted, or forget one, and show the list again."""
    user, by = cast("User", request.user), actor_of(request)
    of_list = request.POST.get("of_list", "")
    address, query = _address_of(request, of_list), request.POST.get("query", "")
    try:
        if "forget" in request.POST:
            saved_filters.delete(filter_id=int(request.POST["forget"]), user=user, by=by)
            messages.success(request, _("The filter is forgotten."))
        else:
            kept = saved_filters.save(
                user=user,
                of_list=of_list,
                name=request.POST.get("name", ""),
                query=query,
                is_shared="is_shared" in request.POST,
                by=by,
            )
            messages.success(request, _("The filter is kept as “%(name)s”.") % {"name": kept.name})
    except InvalidFilter as error:
        messages.error(request, str(error))
    except (SavedFilter.DoesNotExist, ValueError, OverflowError):
        messages.error(request, _("There is no such filter of yours."))
    query = saved_filters.normal(query)
    return HttpResponseRedirect(f"{address}?{query}" if query else address)


def _address_of(request: HttpRequest, of_list: str) -> str:
    """Return the address of a list that the user may see; raise Http404."""
    try:
        model = apps.get_model(of_list)
    except (LookupError, ValueError):
        raise Http404 from None
    if not admin.site.is_registered(model) or not admin.site.get_model_admin(model).has_view_permission(
        request
    ):
        raise Http404
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
