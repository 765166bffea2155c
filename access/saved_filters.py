"""Keep what somebody narrowed a list to under a name, for themselves or for all who see the list."""

from typing import Final
from urllib.parse import parse_qsl, urlencode

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet

from access import audit
from access.actors import Actor
from access.errors import InvalidFilter
from access.models import SavedFilter
from access.sentences import said as _

MAX_FILTERS: Final = 30
# What an address says of one look at a list, not of what is looked for.
_PASSING: Final = frozenset({"p", "all", "_popup", "_to_field", "e", "older"})
_AUDITED: Final = ("of_list", "name", "query", "is_shared")


def normal(query: str) -> str:
    """Return the query of an address as it is kept: without the page, in the order of names."""
    pairs = parse_qsl(query, keep_blank_values=False)
    return urlencode(sorted((name, value) for name, value in pairs if name not in _PASSING))


def saved_for(user: User, of_list: str) -> QuerySet[SavedFilter]:
    """Return what a user finds above a list: their own, and what others share."""
    theirs = SavedFilter.objects.filter(Q(user=user) | Q(is_shared=True), of_list=of_list)
    return theirs.select_related("user").order_by("name", "pk")


def save(*, user: User, of_list: str, name: str, query: str, is_shared: bool, by: Actor) -> SavedFilter:
    """Keep `query` under `name`, in place of what the user kept under it; raise InvalidFilter."""
    name, query = " ".join(name.split()), normal(query)
    if not 1 <= len(name) <= 60 or not name.isprintable():
        raise InvalidFilter(_("Give it a name of up to 60 characters."))
    if not 1 <= len(query) <= 2000 or "%00" in query:
        raise InvalidFilter(_("Filter or search first; then there is something to keep."))
    with transaction.atomic():
        # One after the other, so that their number holds.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        own = SavedFilter.objects.filter(user=user, of_list=of_list)
        if not own.filter(name=name).exists() and own.count() >= MAX_FILTERS:
            raise InvalidFilter(
                _("You keep %(most)s filters of this list already; delete one first.", most=MAX_FILTERS)
            )
        kept, _is_new = SavedFilter.objects.update_or_create(
            user=user, of_list=of_list, name=name, defaults={"query": query, "is_shared": is_shared}
        )
        after = audit.snapshot(kept, _AUDITED)
        audit.record(by=by, action="saved_filter.save", subject=kept, after=after)
    return kept


def delete(*, filter_id: int, user: User, by: Actor) -> None:
    """Forget one of the user's own, a superuser any; raise SavedFilter.DoesNotExist."""
    with transaction.atomic():
        own = SavedFilter.objects.select_for_update()
        kept = (own if user.is_superuser else own.filter(user=user)).get(pk=filter_id)
        audit.record(by=by, action="saved_filter.delete", subject=kept, before=audit.snapshot(kept, _AUDITED))
        kept.delete()
