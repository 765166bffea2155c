"""What is done to many rows of a list at once: asked about with a count, then followed on a page."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from access.backends import authority_of_user
from access.callers import actor_of
from rest.permissions import seen
from scheduling.admin.permissions import PermittedAdmin, may
from scheduling.kinds import BulkState, BulkVerb
from scheduling.services import bulk
from scheduling.services.deeds import DEEDS

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# So many objects are named before one says yes; the count is of all.
_NAMED: Final = 10
_OF_ARCHIVING: Final = gettext_lazy(
    "They leave every list and plan nothing more; what they ran stays readable."
)
# Takes the place of Django's own action, which would delete.
_ARCHIVING: Final = frozenset({BulkVerb.ARCHIVE_JOBS, BulkVerb.ARCHIVE_SCHEDULES})
# So long a request works on an action itself, so that a few objects are done when its page comes.
_AT_ONCE_SECS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Wording:
    """How a verb is offered in a list and asked about; `n` is the number of objects."""

    offer: str | Promise
    question: Any
    consequence: str | Promise
    button: str | Promise
    icon: str
    style: str = "hf-primary"


WORDINGS: Final[dict[BulkVerb, Wording]] = {
    BulkVerb.RUN_JOBS: Wording(
        offer=gettext_lazy("Run now …"),
        question=ngettext_lazy("Run %(n)s job now?", "Run %(n)s jobs now?", "count"),
        consequence=gettext_lazy("Each of them runs once, as soon as an agent is free."),
        button=gettext_lazy("Run now"),
        icon="play_arrow",
    ),
    BulkVerb.ENABLE_JOBS: Wording(
        offer=gettext_lazy("Enable …"),
        question=ngettext_lazy("Enable %(n)s job?", "Enable %(n)s jobs?", "count"),
        consequence=gettext_lazy("Their schedules run them again."),
        button=gettext_lazy("Enable"),
        icon="play_circle",
    ),
    BulkVerb.DISABLE_JOBS: Wording(
        offer=gettext_lazy("Disable …"),
        question=ngettext_lazy("Disable %(n)s job?", "Disable %(n)s jobs?", "count"),
        consequence=gettext_lazy("Waiting runs of their schedules are skipped; commands that run go on."),
        button=gettext_lazy("Disable"),
        icon="pause_circle",
        style="hf-danger",
    ),
    BulkVerb.ARCHIVE_JOBS: Wording(
        offer=gettext_lazy("Archive …"),
        question=ngettext_lazy("Archive %(n)s job?", "Archive %(n)s jobs?", "count"),
        consequence=gettext_lazy(
            "They leave every list and plan nothing more; what they ran stays readable."
        ),
        button=gettext_lazy("Archive"),
        icon="archive",
        style="hf-danger",
    ),
    BulkVerb.ENABLE_SCHEDULES: Wording(
        offer=gettext_lazy("Enable …"),
        question=ngettext_lazy("Enable %(n)s schedule?", "Enable %(n)s schedules?", "count"),
        consequence=gettext_lazy("They are planned from now on."),
        button=gettext_lazy("Enable"),
        icon="play_circle",
    ),
    BulkVerb.DISABLE_SCHEDULES: Wording(
        offer=gettext_lazy("Disable …"),
        question=ngettext_lazy("Disable %(n)s schedule?", "Disable %(n)s schedules?", "count"),
        consequence=gettext_lazy("Their waiting runs are withdrawn; commands that run go on."),
        button=gettext_lazy("Disable"),
        icon="pause_circle",
        style="hf-danger",
    ),
    BulkVerb.ARCHIVE_SCHEDULES: Wording(
        offer=gettext_lazy("Archive …"),
        question=ngettext_lazy("Archive %(n)s schedule?", "Archive %(n)s schedules?", "count"),
        consequence=gettext_lazy(
            "They leave every list and plan nothing more; what they ran stays readable."
        ),
        button=gettext_lazy("Archive"),
        icon="archive",
        style="hf-danger",
    ),
    BulkVerb.CANCEL_TASKS: Wording(
        offer=gettext_lazy("Cancel …"),
        question=ngettext_lazy("Cancel %(n)s task?", "Cancel %(n)s tasks?", "count"),
        consequence=gettext_lazy("What waits is not run; commands that run are stopped."),
        button=gettext_lazy("Cancel tasks"),
        icon="cancel",
        style="hf-danger",
    ),
    BulkVerb.RETRY_TASKS: Wording(
        offer=gettext_lazy("Retry …"),
        question=ngettext_lazy("Retry %(n)s task?", "Retry %(n)s tasks?", "count"),
        consequence=gettext_lazy("Each of them gets a new attempt, as soon as an agent is free."),
        button=gettext_lazy("Retry tasks"),
        icon="replay",
    ),
    BulkVerb.ACKNOWLEDGE_ALERTS: Wording(
        offer=gettext_lazy("Acknowledge …"),
        question=ngettext_lazy("Acknowledge %(n)s alert?", "Acknowledge %(n)s alerts?", "count"),
        consequence=gettext_lazy("They are no longer open; that you have seen them is noted of each."),
        button=gettext_lazy("Acknowledge"),
        icon="done_all",
    ),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Rows that somebody chose: those that it is done to, and how many are left out and why."""

    rows: QuerySet[Any]
    count: int
    unfit: int
    not_permitted: int
    # Some of the latter.
    untouched: tuple[str, ...] = ()


class BulkActions(PermittedAdmin):
    """Offers `bulk_verbs` for what is selected in the list, be it some rows or all that match its filters."""

    bulk_verbs: ClassVar[tuple[BulkVerb, ...]] = ()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        # Django offers them in lists only, and hides them in the pop-up of a related object.
        if self.actions is None or "_popup" in request.GET:
            return actions
        offered = {}
        if _ARCHIVING & set(self.bulk_verbs):
            actions.pop("delete_selected", None)
        for verb in self.bulk_verbs:
            if may(request, DEEDS[verb].permission):
                name = action_name(verb)
                offered[name] = (partial(_ask, verb=verb), name, WORDINGS[verb].offer)
        return offered | actions


def action_name(verb: BulkVerb) -> str:
    """Return the name by which a list is told what to do."""
    return f"{verb.partition('.')[2]}_selected"


def _ask(
    model_admin: BulkActions, request: HttpRequest, selected: QuerySet[Any], *, verb: BulkVerb
) -> HttpResponse | None:
    """Ask about what is selected; once that is confirmed for as many as there are now, begin."""
    choice = _choice(model_admin, request, selected, verb)
    if choice.count > bulk.MAX_TARGETS:
        text = _("More than %(n)s are selected; narrow the list by its filters.")
        model_admin.message_user(request, text % {"n": f"{bulk.MAX_TARGETS:,}"}, messages.ERROR)
        return None
    if not choice.count:
        model_admin.message_user(request, _nothing_words(choice), messages.WARNING)
        return None
    if "confirmed" in request.POST and request.POST.get("count", str(choice.count)) == str(choice.count):
        return _begin(model_admin, request, choice, verb)
    return _question(model_admin, request, choice, verb)


def _choice(
    model_admin: BulkActions, request: HttpRequest, selected: QuerySet[Any], verb: BulkVerb
) -> Choice:
    deed = DEEDS[verb]
    plain = model_admin.model._default_manager.filter(pk__in=selected.order_by().values("pk"))
    permitted = seen(
        plain,
        authority=authority_of_user(request.user),
        permission=deed.permission,
        namespace_path=str(model_admin.namespace_path),
    )
    fit = permitted.filter(deed.applies_to)
    selected_count, permitted_count, fit_count = (
        rows.order_by().values("pk")[: bulk.MAX_TARGETS + 1].count() for rows in (plain, permitted, fit)
    )
    not_permitted = selected_count - permitted_count
    others = plain.exclude(pk__in=permitted.order_by().values("pk")) if not_permitted else plain.none()
    return Choice(
        rows=fit.order_by("pk"),
        count=fit_count,
        unfit=permitted_count - fit_count,
        not_permitted=not_permitted,
        untouched=tuple(str(row) for row in others.order_by("pk")[:_NAMED]),
    )


def _question(
    model_admin: BulkActions, request: HttpRequest, choice: Choice, verb: BulkVerb
) -> TemplateResponse:
    named = list(choice.rows[:_NAMED])
    is_across = request.POST.get("select_across") == "1"
    # With all that match, one row stands for them.
    selected = choice.rows.values_list("pk", flat=True)[: 1 if is_across else None]
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": WORDINGS[verb].question % {"count": choice.count, "n": f"{choice.count:,}"},
        "wording": WORDINGS[verb],
        "choice": choice,
        "named": named,
        "others": choice.count - len(named),
        "left_out": left_out_words(choice),
        "selected": list(selected),
        "checkbox": ACTION_CHECKBOX_NAME,
        "select_across": int(is_across),
        "action": action_name(verb),
        "has_changed": "confirmed" in request.POST,
    }
    return TemplateResponse(request, "admin/hetuflow/bulk_question.html", context)


def _begin(model_admin: BulkActions, request: HttpRequest, choice: Choice, verb: BulkVerb) -> HttpResponse:
    user = cast("User", request.user)
    ids = list(choice.rows.values_list("pk", flat=True)[: bulk.MAX_TARGETS])
    action = bulk.begin(verb=verb, target_ids=ids, user=user, by=actor_of(request))
    try:
        has_ended = bulk.work(action, for_secs=_AT_ONCE_SECS)
    except OperationalError:
        has_ended = False  # a scheduler goes on with it
    for sentence in left_out_words(choice):
        model_admin.message_user(request, sentence, messages.WARNING)
    page = reverse("admin:scheduling_bulkaction_change", args=[action.pk])
    counts = bulk.count_targets([action.pk])[action.pk]
    if not has_ended or counts.get(BulkState.REFUSED):
        return HttpResponseRedirect(page)
    text = ngettext("%(n)s is done.", "%(n)s are done.", action.total) % {"n": f"{action.total:,}"}
    told = format_html('{} <a class="hf-link" href="{}">{}</a>', text, page, _("What was done"))
    model_admin.message_user(request, told, messages.SUCCESS)
    return HttpResponseRedirect(request.get_full_path())


def left_out_words(choice: Choice) -> list[str]:
    """Return a sentence for each reason why some of what was selected is left as it is."""
    told = []
    if choice.unfit:
        text = ngettext(
            "%(n)s is left as it is, because its state does not allow it.",
            "%(n)s are left as they are, because their state does not allow it.",
            choice.unfit,
        )
        told.append(text % {"n": f"{choice.unfit:,}"})
    if choice.not_permitted:
        text = ngettext(
            "%(n)d is left as it is, because your role there does not allow it: %(names)s",
            "%(n)d are left as they are, because your role there does not allow it: %(names)s",
            choice.not_permitted,
        )
        more = ", …" if choice.not_permitted > len(choice.untouched) else ""
        told.append(text % {"n": choice.not_permitted, "names": ", ".join(choice.untouched) + more})
    return told


def _nothing_words(choice: Choice) -> str:
    return " ".join([_("There is nothing to do."), *left_out_words(choice)])
