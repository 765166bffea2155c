"""How long history is kept: rules for a job, for a namespace, for all."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from access.callers import actor_of
from access.roles import EVERYWHERE
from scheduling.admin import words
from scheduling.admin.namespaces import SuggestsNamespaces
from scheduling.admin.pages import ServiceAdmin, ServiceForm
from scheduling.admin.permissions import may_in, permit
from scheduling.errors import InvalidField
from scheduling.models import RetentionRule
from scheduling.services.retention_rules import create_rule, delete_rule, update_rule

_KEPT = ("keep_days", "keep_last")
_WHOSE = ("namespace", "job")


class RetentionRuleForm(ServiceForm):
    class Meta:
        model = RetentionRule
        fields = (*_WHOSE, *_KEPT)
        help_texts = {
            "namespace": gettext_lazy("* is every namespace. Empty: that of the job."),
            "job": gettext_lazy("Empty: every job of the namespace that has no rule of its own."),
            "keep_days": gettext_lazy("0 is for ever. Empty: the next rule says, and in the end the server."),
            "keep_last": gettext_lazy("So many ended tasks of each job; 0 is all of them."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "namespace" in self.fields:
            self.fields["namespace"].required = False


@admin.register(RetentionRule)
class RetentionRuleAdmin(SuggestsNamespaces, ServiceAdmin):
    namespace_path = "namespace"
    namespace_permission = "scheduling.add_retentionrule"
    form = RetentionRuleForm
    list_before_template = "admin/scheduling/retentionrule/kept.html"
    list_display = ("whose", "days", "last", "updated_by", "updated")
    list_display_links = ("whose",)
    list_select_related = ("job",)
    search_fields = ("namespace", "job__name")
    autocomplete_fields = ("job",)
    ordering = ("namespace", "job__name")
    fieldsets = ((None, {"fields": _WHOSE}), (gettext_lazy("What is kept"), {"fields": _KEPT}))

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        return RetentionRule.objects.select_related("job").annotate(shown_at=Now())

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return _WHOSE if obj is not None else ()

    def save_by_service(
        self, request: HttpRequest, obj: RetentionRule, form: Any, *, change: bool
    ) -> RetentionRule:
        kept = {name: form.cleaned_data[name] for name in _KEPT}
        if change:
            may_change = permit(request, "scheduling.change_retentionrule")
            return update_rule(rule_id=obj.pk, by=actor_of(request), permit=may_change, **kept)
        job = form.cleaned_data["job"]
        namespace = form.cleaned_data["namespace"] or (job.namespace if job else "")
        if namespace and not may_in(request, self.namespace_permission, namespace):
            raise InvalidField({"namespace": _("Your role in this namespace does not allow it.")})
        return create_rule(namespace=namespace, job=job, by=actor_of(request), **kept)

    def delete_model(self, request: HttpRequest, obj: RetentionRule) -> None:
        may_delete = permit(request, "scheduling.delete_retentionrule")
        delete_rule(rule_id=obj.pk, by=actor_of(request), permit=may_delete)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[RetentionRule]) -> None:
        for rule in queryset:
            self.delete_model(request, rule)

    @admin.display(description=gettext_lazy("of"), ordering="namespace")
    def whose(self, rule: RetentionRule) -> SafeString:
        if rule.job is not None:
            return format_html(
                '<span class="hf-name">{}</span><span class="hf-sub">{}</span>', rule.job.name, rule.namespace
            )
        name = _("every namespace") if rule.namespace == EVERYWHERE else rule.namespace
        return format_html('<span class="hf-name">{}</span>', name)

    @admin.display(description=gettext_lazy("keep for days"))
    def days(self, rule: RetentionRule) -> str:
        return _kept(rule.keep_days, _("for ever"))

    @admin.display(description=gettext_lazy("keep the last"))
    def last(self, rule: RetentionRule) -> str:
        return _kept(rule.keep_last, _("all"))

    @admin.display(description=gettext_lazy("updated"), ordering="updated_at")
    def updated(self, rule: Any) -> SafeString | str:
        return words.moment(rule.updated_at, now=rule.shown_at)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        days = settings.HETUFLOW_KEEP_DAYS
        said = _("Where no rule says otherwise, ended tasks are kept for %(days)s days.") % {"days": days}
        context = {"kept": said if days else _("Where no rule says otherwise, everything is kept.")}
        return super().changelist_view(request, {**context, **(extra_context or {})})


def _kept(number: int | None, unlimited: str) -> str:
    if number is None:
        return words.MISSING
    return str(number) if number else unlimited
