"""Jobs: what to run, with their schedules and latest tasks on one page."""

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import JSONObject, Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import BooleanRadioFilter

from access.backends import authority_of_user
from access.callers import actor_of
from scheduling.admin import words
from scheduling.admin.filters import NamespaceFilter
from scheduling.admin.freezes import ShowsFreezes
from scheduling.admin.job_actions import JobActions
from scheduling.admin.job_copy import CopiesJobs
from scheduling.admin.job_filters import LastRunFilter, PlansFilter
from scheduling.admin.job_form import OWN_FIELDS, JobForm
from scheduling.admin.job_page import ShowsJob
from scheduling.admin.job_run import RunsJobs
from scheduling.admin.namespaces import SuggestsNamespaces
from scheduling.admin.permissions import may_in, permit, seen_by
from scheduling.admin.searching import JOB_PARTS, Asked, FindsParts
from scheduling.admin.transfer import TransfersDefinitions
from scheduling.clock import database_now
from scheduling.errors import InvalidField
from scheduling.models import Job, Schedule, Task
from scheduling.services.definitions import archive_job, create_job, update_job
from scheduling.states import TaskStatus

# The last outcome is looked for among so many of the newest tasks: a backlog must not slow the list.
_LOOK_BACK = 200
# So many schedules of a job are read, and so many of them written out in the list.
_SCHEDULES = 50
_LISTED_SCHEDULES = 4
# The parameter with which the form of a schedule searches for its job.
SCHEDULABLE = "schedulable"
_COLUMN_NEEDS = {
    "when": "scheduling.view_schedule",
    "next": "scheduling.view_schedule",
    "last": "scheduling.view_task",
}


@admin.register(Job)
class JobAdmin(
    FindsParts,
    CopiesJobs,
    ShowsJob,
    RunsJobs,
    ShowsFreezes,
    SuggestsNamespaces,
    TransfersDefinitions,
    JobActions,
):
    namespace_path = "namespace"
    namespace_permission = "scheduling.add_job"
    form = JobForm
    model_fields = OWN_FIELDS
    fields_to_look_at = ("config",)
    list_display = ("job", "is_enabled", "kind", "when", "last", "next")
    list_display_links = ("job",)
    list_filter = (("enabled", BooleanRadioFilter), NamespaceFilter, LastRunFilter, PlansFilter)
    parts = search_fields = JOB_PARTS
    search_help_text = gettext_lazy("Name, namespace, tag:nightly, zone=eu or label:zone")
    ordering = ("namespace", "name", "pk")
    sortable_by = ("job",)
    fieldsets = (
        (None, {"fields": ("name", "namespace", "description", "enabled", "tags")}),
        (gettext_lazy("Command"), {"fields": ("cmd", "command", "args", "working_dir", "environment")}),
        (gettext_lazy("Parameters"), {"fields": ("parameters_schema",)}),
        (
            gettext_lazy("Time and retries"),
            {
                "classes": ["tab"],
                "fields": (
                    "timeout_secs",
                    "kill_grace_secs",
                    "max_retries",
                    "retry_interval_secs",
                    "retry_backoff",
                ),
            },
        ),
        (
            gettext_lazy("Overlap and missed runs"),
            {
                "classes": ["tab"],
                "fields": (
                    "concurrency_policy",
                    "max_concurrency",
                    "misfire_policy",
                    "misfire_grace_secs",
                ),
            },
        ),
        (gettext_lazy("Where"), {"classes": ["tab"], "fields": ("labels", "on_lease_lost")}),
        (
            gettext_lazy("Output and limits"),
            {
                "classes": ["tab"],
                "fields": (
                    "capture_output",
                    "max_output_size",
                    "max_memory_mb",
                    "max_cpu_percent",
                    "max_execution_time_secs",
                    "max_output_size_bytes",
                ),
            },
        ),
    )

    class Media:
        css = {"all": ("hetuflow/job.css",)}
        js = ("hetuflow/live.js", "hetuflow/roving.js")

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        tasks = seen_by(request, Task.objects.filter(job=OuterRef(OuterRef("pk"))))
        newest = tasks.order_by("-pk").values("pk")[:_LOOK_BACK]
        ended = (
            Task.objects.filter(
                # The job is named once more, else all tasks are walked through for it.
                job=OuterRef("pk"),
                pk__in=newest,
                status__in=(TaskStatus.COMPLETED, TaskStatus.FAILED),
            )
            .order_by("-pk")
            .values(task=JSONObject(id="pk", status="status", at="completed_at"))[:1]
        )
        present = seen_by(request, Schedule.objects.present()).select_related("calendar").order_by("pk")
        schedules = Prefetch("schedules", present[:_SCHEDULES], to_attr="present_schedules")
        return (
            Job.objects.present()
            .annotate(last_ended=Subquery(ended), shown_at=Now())
            .prefetch_related(schedules)
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        """Search; for the form of a schedule only among jobs that the user may give one."""
        if SCHEDULABLE in request.GET:
            namespaces = authority_of_user(request.user).namespaces("scheduling.add_schedule")
            queryset = queryset if namespaces is None else queryset.filter(namespace__in=sorted(namespaces))
        found: tuple[QuerySet[Job], bool] = super().get_search_results(request, queryset, search_term)
        return found

    def labelled(self, rows: QuerySet[Job], asked: Asked) -> QuerySet[Job]:
        return rows.filter(asked.labels_at("route__labels"), asked.tags_at("tags"))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin with a namespace in which the user may add a job."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        default = Job._meta.get_field("namespace").default
        if not may_in(request, self.namespace_permission, default):
            initial = {"namespace": next(iter(self.suggested_namespaces(request)), default)} | initial
        return initial

    def save_by_service(self, request: HttpRequest, obj: Job, form: Any, *, change: bool) -> Job:
        fields = form.service_fields()
        permission = "scheduling.change_job" if change else "scheduling.add_job"
        if "namespace" in fields and not may_in(request, permission, fields["namespace"]):
            raise InvalidField({"namespace": _("Your role in this namespace does not allow it.")})
        if change:
            return update_job(
                job_id=obj.pk,
                now=database_now(),
                by=actor_of(request),
                permit=permit(request, permission),
                **fields,
            )
        job = create_job(by=actor_of(request), **fields)
        self.give_schedules(request, job, form)
        return job

    # --- list -----------------------------------------------------------------------------------------

    def get_list_display(self, request: HttpRequest) -> Any:
        """Leave out the columns about what this user may not see."""
        hidden = {name for name, permission in _COLUMN_NEEDS.items() if not request.user.has_perm(permission)}
        return [name for name in super().get_list_display(request) if name not in hidden]

    @admin.display(description=gettext_lazy("job"), ordering="name")
    def job(self, job: Job) -> SafeString:
        return format_html(
            '<span class="hf-name">{}</span><span class="hf-sub">{}</span>', job.name, job.namespace
        )

    @admin.display(description=gettext_lazy("enabled"), boolean=True)
    def is_enabled(self, job: Job) -> bool:
        return job.enabled

    @admin.display(description=gettext_lazy("command"))
    def kind(self, job: Job) -> SafeString:
        config = job.task_config
        arguments = [word for word in config["args"] if word not in ("-c", "-e")]
        preview = next((line.strip() for line in " ".join(arguments).splitlines() if line.strip()), "")
        return format_html(
            '<span class="hf-tag">{}</span> <code class="hf-preview">{}</code>', config["cmd"], preview[:60]
        )

    @admin.display(description=gettext_lazy("schedules"))
    def when(self, job: Any) -> SafeString | str:
        lines = [
            (
                "" if schedule.status == "enabled" else "hf-off",
                schedule.get_status_display(),
                words.rule(schedule),
            )
            for schedule in job.present_schedules[:_LISTED_SCHEDULES]
        ]
        if len(job.present_schedules) > _LISTED_SCHEDULES:
            lines.append(("", "", "…"))
        return format_html_join("", '<span class="hf-line {}" title="{}">{}</span>', lines) or words.MISSING

    @admin.display(description=gettext_lazy("last run"))
    def last(self, job: Any) -> SafeString | str:
        if not job.last_ended:
            return words.MISSING
        status = TaskStatus(job.last_ended["status"])
        return format_html(
            '<a href="{}">{}</a><span class="hf-sub">{}</span>',
            reverse("admin:scheduling_task_change", args=[job.last_ended["id"]]),
            words.badge(status, status.label),
            words.moment(parse_datetime(job.last_ended["at"]), now=job.shown_at),
        )

    @admin.display(description=gettext_lazy("next run"))
    def next(self, job: Any) -> SafeString | str:
        now = job.shown_at
        nexts = (words.next_run_of(each, now=now) for each in job.present_schedules)
        instants = [instant for instant in nexts if instant is not None]
        if not instants or not job.enabled:
            return words.MISSING
        return words.moment(min(instants), now=now)

    # --- deleting archives ----------------------------------------------------------------------------

    delete_confirmation_template = "admin/scheduling/job/archive.html"

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name the jobs alone: nothing that hangs on them is deleted."""
        may_all = all(self.has_delete_permission(request, job) for job in objs)
        return [str(job) for job in objs], {}, set() if may_all else {str(self.opts.verbose_name)}, []

    def delete_model(self, request: HttpRequest, obj: Job) -> None:
        archive_job(
            job_id=obj.pk,
            now=database_now(),
            by=actor_of(request),
            permit=permit(request, "scheduling.delete_job"),
        )
