"""What the check or the import of a file found, entry by entry, for the page of the bulk action."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db.models import Count, Q, QuerySet
from django.db.models.fields.json import KT
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from rest.controls import visible
from scheduling.admin.config_fields import config_fields
from scheduling.admin.differences import rows_of
from scheduling.admin.permissions import seen_by
from scheduling.definition_file import written
from scheduling.kinds import BulkState, BulkVerb
from scheduling.models import BulkAction, BulkTarget, Calendar, Job
from scheduling.services.documents import brief_job

_PAGE: Final = 50
_MAX_ID: Final = 2**63 - 1
# What can become of an entry, in the order of how much it is looked at.
_FATES: Final = {
    "refused": gettext_lazy("refused"),
    "change": gettext_lazy("change"),
    "create": gettext_lazy("create"),
    "keep": gettext_lazy("no change"),
}
_KINDS: Final = {"job": gettext_lazy("job"), "calendar": gettext_lazy("calendar")}


def is_of_file(action: BulkAction) -> bool:
    """Whether the targets of an action are the entries of a file."""
    return action.verb in (BulkVerb.CHECK_DEFINITIONS, BulkVerb.IMPORT_DEFINITIONS)


def entries_context(request: HttpRequest, action: BulkAction) -> dict[str, Any]:
    """Return the entries of one fate, a page of them, and how many there are of each."""
    counts = _counts(action)
    shown = request.GET.get("fate", "")
    if shown not in counts:
        shown = next(iter(counts), "")
    after = request.GET.get("after", "")
    begin = min(int(after), _MAX_ID) if after.isascii() and after.isdigit() else 0
    rows = list(_of_fate(action, shown).filter(target_id__gt=begin).order_by("target_id")[: _PAGE + 1])
    links = _links(request, rows[:_PAGE])
    return {
        "is_check": action.verb == BulkVerb.CHECK_DEFINITIONS,
        "tabs": [
            {
                "label": _FATES[fate],
                "count": f"{count:,}",
                "url": _query(fate=fate),
                "is_shown": fate == shown,
            }
            for fate, count in counts.items()
        ],
        "entries": [_entry(row, shown, links) for row in rows[:_PAGE]],
        "more_url": _query(fate=shown, after=str(rows[_PAGE - 1].target_id)) if len(rows) > _PAGE else "",
    }


def _counts(action: BulkAction) -> dict[str, int]:
    """Return how many entries met which fate, in the order of the fates."""
    done = action.targets.exclude(state=BulkState.WAITING).annotate(did=KT("outcome__did"))
    found = {
        did or "refused": number
        for did, number in done.values_list("did").annotate(number=Count("pk")).order_by()
    }
    return {fate: found[fate] for fate in _FATES if fate in found}


def _of_fate(action: BulkAction, fate: str) -> QuerySet[BulkTarget]:
    if fate == "refused":
        return action.targets.filter(state=BulkState.REFUSED)
    return action.targets.filter(state=BulkState.DONE, outcome__did=fate)


def _kind(target: BulkTarget) -> str:
    return str((target.document or {})["kind"])


def _entry(target: BulkTarget, fate: str, links: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    kind, outcome = _kind(target), target.outcome or {}
    return {
        "name": visible(target.name),
        "kind": _KINDS[kind],
        "url": links.get((kind, target.name), ""),
        "problem": visible(target.told_problem()),
        "rows": _differences(outcome["before"], outcome["after"]) if fate == "change" else [],
        "others": outcome.get("others", 0),
    }


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    # Only who may change a definition has an outcome that tells of its environment.
    return rows_of(_readable(before), _readable(after), labels=_labels(), shows_environment=True)


def _readable(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with its schedules as a file has them, to compare them line by line."""
    if not document.get("schedules"):
        return dict(document)
    return {**document, "schedules": written(brief_job(document)["schedules"])}


def _labels() -> dict[str, str]:
    """Return what fields are called, in the order of a job's."""
    fields = [*Job._meta.fields, *Calendar._meta.fields]
    names = {field.name: str(field.verbose_name) for field in fields}
    of_config = {name: str(field.label) for name, field in config_fields().items()}
    return {**names, **of_config, "schedules": _("schedules")}


def _links(request: HttpRequest, targets: Iterable[BulkTarget]) -> dict[tuple[str, str], str]:
    """Return the pages of what the user sees of it, by kind and name; two statements."""
    names = {kind: [t.name for t in targets if _kind(t) == kind] for kind in _KINDS}
    present = {"job": Job.objects.present(), "calendar": Calendar.objects.all()}
    return {
        (kind, str(row)): reverse(f"admin:scheduling_{kind}_change", args=[row.pk])
        for kind, rows in present.items()
        for row in seen_by(request, rows.filter(_named(names[kind])))
    }


def _named(names: Iterable[str]) -> Q:
    """Return what finds definitions by their whole names, or nothing; a namespace may have a slash, too."""
    wanted = Q(pk__in=())
    for name in names:
        parts = name.split("/")
        for end in range(1, len(parts)):
            wanted |= Q(namespace="/".join(parts[:end]), name="/".join(parts[end:]))
    return wanted


def _query(**parts: str) -> str:
    query = QueryDict(mutable=True)
    query.update(parts)
    return f"?{query.urlencode()}"
