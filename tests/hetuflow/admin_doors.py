"""The doors of the admin by which something is written, and what is written of each."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone

from access import tokens
from agents.enrollment import create_enrollment_token
from agents.models import Agent
from agents.tokens import issue_token
from scheduling.definition_file import read
from scheduling.kinds import BulkVerb
from scheduling.models import Alert, Backfill, BulkAction, Calendar, Freeze, RetentionRule, Task
from scheduling.services import backfills, bulk, importing
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.definitions import update_job, update_schedule
from scheduling.services.restoring import changes_of, newest_id
from scheduling.services.retention_rules import create_rule
from tests import factories, people
from tests.admin_client import form_values

PASSWORD = "Xk2-lovelace"
FILE = "hetuflow: 1\njobs:\n- {name: new, config: {cmd: sh, args: [x]}}\n"
BACKFILL = {
    "range_from": "2026-02-01T00:00:00",
    "range_to": "2026-02-01T01:00:00",
    "parallel": 1,
    "overlap": "queue",
    "on_failure": "continue",
}


def url_of(model: str, view: str, *arguments: Any) -> str:
    return reverse(f"admin:{model.replace('.', '_')}_{view}", args=arguments)


def no_grants(prefix: str = "grants") -> dict[str, str]:
    return {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}


def saves(url: str, **values: Any) -> Callable[[Any], Any]:
    return lambda browser: browser.post(url, form_values(browser.get(url)) | values)


def posts(url: str, **values: Any) -> Callable[[Any], Any]:
    return lambda browser: browser.post(url, values)


def acts(model: str, action: str, *objects: Any) -> Callable[[Any], Any]:
    chosen = {"action": action, "_selected_action": [obj.pk for obj in objects]}
    return posts(url_of(model, "changelist"), **chosen, post="yes", confirmed="yes")


def user() -> User:
    return User.objects.create(username="ada")


def group() -> Group:
    return Group.objects.create(name="night shift")


def token() -> Any:
    return tokens.issue(user=User.objects.get(username="root"), name="ci")[0]


def agent(**fields: Any) -> Agent:
    made = factories.agent()
    Agent.objects.filter(pk=made.pk).update(**fields)
    return made


def revoke_agent_token() -> Callable[[Any], Any]:
    owner = agent()
    token = issue_token(agent=owner)
    return posts(url_of("agents.agent", "revoke_token", owner.pk), token=token.row.pk)


def enrolment() -> Any:
    return create_enrollment_token(now=timezone.now()).row


def failed_task() -> Task:
    task = factories.task()
    Task.objects.filter(pk=task.pk).update(status="failed", completed_at=timezone.now())
    return task


def calendar() -> Calendar:
    return create_calendar(name="office")


def frozen() -> Freeze:
    return freeze(namespace="ours", now=timezone.now(), reason="release")


def rule() -> RetentionRule:
    return create_rule(namespace="ours", keep_days=30)


def alert() -> Alert:
    return Alert.objects.create(kind="missed", namespace="ours", text="one was missed")


def bulk_action() -> BulkAction:
    return bulk.begin(verb=BulkVerb.RUN_JOBS, target_ids=[factories.job().pk], user=user(), by=factories.ANN)


def checked_import() -> BulkAction:
    who = people.person(superuser=True)
    check = importing.begin_check(entries=read(FILE.encode()), user=who, by=factories.ANN)
    bulk.work(check, for_secs=60)
    return check


def backfill(before: str) -> Backfill:
    span = {"range_from": timezone.now() - timedelta(hours=1), "range_to": timezone.now()}
    made = backfills.create_backfill(schedule_id=factories.schedule().pk, now=timezone.now(), **span)
    return backfills.pause_backfill(backfill_id=made.pk, now=timezone.now()) if before == "resume" else made


def restores(obj: Any, update: Callable[..., Any], **how: Any) -> Callable[[Any], Any]:
    first = changes_of(obj).get()
    update(now=timezone.now(), **how)
    model = f"scheduling.{obj._meta.model_name}"
    url = f"{url_of(model, 'restore', obj.pk)}?change={first.pk}"
    return posts(url, seen_id=newest_id(obj))


def restores_job() -> Callable[[Any], Any]:
    job = factories.job()
    return restores(job, update_job, job_id=job.pk, description="new")


def restores_schedule() -> Callable[[Any], Any]:
    schedule = factories.schedule()
    return restores(schedule, update_schedule, schedule_id=schedule.pk, name="new")


def press(model: str, name: str, obj: Any) -> Callable[[Any], Any]:
    return posts(url_of(model, name, obj.pk))


# A door, how one goes through it, and what is written of it. Whoever adds a door adds it here.
DOORS: dict[str, tuple[Callable[[], Callable[[Any], Any]], str]] = {
    "auth.user add": (
        lambda: posts(
            url_of("auth.user", "add"),
            username="ada",
            usable_password="true",
            password1=PASSWORD,
            password2=PASSWORD,
        ),
        "user.create",
    ),
    "auth.user change": (
        lambda: saves(url_of("auth.user", "change", user().pk), email="a@example.org"),
        "user.update",
    ),
    "auth.user delete": (lambda: posts(url_of("auth.user", "delete", user().pk), post="yes"), "user.delete"),
    "auth.user action delete_selected": (lambda: acts("auth.user", "delete_selected", user()), "user.delete"),
    "auth.user view auth_user_password_change": (
        lambda: posts(
            reverse("admin:auth_user_password_change", args=[user().pk]),
            usable_password="true",
            password1=PASSWORD,
            password2=PASSWORD,
            **{"set-password": ""},
        ),
        "user.update",
    ),
    "auth.group add": (lambda: posts(url_of("auth.group", "add"), name="new", **no_grants()), "group.create"),
    "auth.group change": (
        lambda: posts(url_of("auth.group", "change", group().pk), name="new", **no_grants()),
        "group.update",
    ),
    "auth.group delete": (
        lambda: posts(url_of("auth.group", "delete", group().pk), post="yes"),
        "group.delete",
    ),
    "auth.group action delete_selected": (
        lambda: acts("auth.group", "delete_selected", group()),
        "group.delete",
    ),
    "access.apitoken add": (
        lambda: saves(url_of("access.apitoken", "add"), name="ci", expires_at_0="", expires_at_1=""),
        "api_token.create",
    ),
    "access.apitoken action revoke_selected": (
        lambda: acts("access.apitoken", "revoke_selected", token()),
        "api_token.revoke",
    ),
    "agents.agent add": (lambda: saves(url_of("agents.agent", "add"), name="worker"), "agent.create"),
    "agents.agent change": (
        lambda: saves(url_of("agents.agent", "change", agent().pk), name="worker"),
        "agent.update",
    ),
    "agents.agent button drain": (lambda: press("agents.agent", "drain", agent()), "agent.command"),
    "agents.agent button resume": (
        lambda: press("agents.agent", "resume", agent(status="draining")),
        "agent.command",
    ),
    "agents.agent button enable": (
        lambda: press("agents.agent", "enable", agent(enabled=False)),
        "agent.update",
    ),
    "agents.agent button disable": (lambda: press("agents.agent", "disable", agent()), "agent.update"),
    "agents.agent button issue-token": (
        lambda: press("agents.agent", "issue_token", agent()),
        "agent_token.create",
    ),
    "agents.agent button rotate-tokens": (
        lambda: press("agents.agent", "rotate_tokens", agent()),
        "agent_token.rotate",
    ),
    "agents.agent button revoke-token": (revoke_agent_token, "agent_token.revoke"),
    "agents.agent view agents_agent_enrol": (
        lambda: posts(reverse("admin:agents_agent_enrol"), name="build-7", labels="", life="900"),
        "enrollment_token.create",
    ),
    "agents.agent view agents_agent_enrol: taking back": (
        lambda: posts(reverse("admin:agents_agent_enrol"), take_back=enrolment().pk),
        "enrollment_token.revoke",
    ),
    "scheduling.job add": (lambda: saves(url_of("scheduling.job", "add"), name="new"), "job.create"),
    "scheduling.job change": (
        lambda: saves(url_of("scheduling.job", "change", factories.job().pk), name="new"),
        "job.update",
    ),
    "scheduling.job delete": (
        lambda: posts(url_of("scheduling.job", "delete", factories.job().pk), post="yes"),
        "job.delete",
    ),
    "scheduling.job view scheduling_job_import_definitions": (
        lambda: posts(reverse("admin:scheduling_job_import_definitions"), text=FILE),
        "bulk_action.create",
    ),
    "scheduling.bulkaction button import": (
        lambda: press("scheduling.bulkaction", "import", checked_import()),
        "bulk_action.create",
    ),
    "scheduling.job action archive_selected": (
        lambda: acts("scheduling.job", "archive_selected", factories.job()),
        "job.delete",
    ),
    "scheduling.job action run_selected": (
        lambda: acts("scheduling.job", "run_selected", factories.job()),
        "task.create",
    ),
    "scheduling.job action enable_selected": (
        lambda: acts("scheduling.job", "enable_selected", factories.job(enabled=False)),
        "job.update",
    ),
    "scheduling.job action disable_selected": (
        lambda: acts("scheduling.job", "disable_selected", factories.job()),
        "job.update",
    ),
    "scheduling.job button enable": (
        lambda: press("scheduling.job", "enable", factories.job(enabled=False)),
        "job.update",
    ),
    "scheduling.job button disable": (
        lambda: press("scheduling.job", "disable", factories.job()),
        "job.update",
    ),
    "scheduling.job view scheduling_job_run": (
        lambda: posts(url_of("scheduling.job", "run", factories.job().pk), parameters="", priority="0"),
        "task.create",
    ),
    "scheduling.job view scheduling_job_restore": (restores_job, "job.update"),
    "scheduling.schedule view scheduling_schedule_restore": (restores_schedule, "schedule.update"),
    "scheduling.schedule add": (
        lambda: saves(
            url_of("scheduling.schedule", "add"), job=factories.job().pk, kind="interval", interval_secs="60"
        ),
        "schedule.create",
    ),
    "scheduling.schedule change": (
        lambda: saves(url_of("scheduling.schedule", "change", factories.schedule().pk), name="new"),
        "schedule.update",
    ),
    "scheduling.schedule delete": (
        lambda: posts(url_of("scheduling.schedule", "delete", factories.schedule().pk), post="yes"),
        "schedule.delete",
    ),
    "scheduling.schedule action archive_selected": (
        lambda: acts("scheduling.schedule", "archive_selected", factories.schedule()),
        "schedule.delete",
    ),
    "scheduling.schedule action enable_selected": (
        lambda: acts("scheduling.schedule", "enable_selected", factories.schedule(status="disabled")),
        "schedule.update",
    ),
    "scheduling.schedule action disable_selected": (
        lambda: acts("scheduling.schedule", "disable_selected", factories.schedule()),
        "schedule.update",
    ),
    "scheduling.schedule button enable": (
        lambda: press("scheduling.schedule", "enable", factories.schedule(status="disabled")),
        "schedule.update",
    ),
    "scheduling.schedule button disable": (
        lambda: press("scheduling.schedule", "disable", factories.schedule()),
        "schedule.update",
    ),
    "scheduling.schedule view scheduling_schedule_backfill": (
        lambda: posts(url_of("scheduling.schedule", "backfill", factories.schedule().pk), **BACKFILL),
        "backfill.create",
    ),
    **{
        f"scheduling.backfill button {name}": (
            lambda name=name: press("scheduling.backfill", name, backfill(name)),
            f"backfill.{name}",
        )
        for name in ("pause", "resume", "cancel")
    },
    "scheduling.calendar add": (
        lambda: saves(url_of("scheduling.calendar", "add"), name="office"),
        "calendar.create",
    ),
    "scheduling.calendar change": (
        lambda: saves(url_of("scheduling.calendar", "change", calendar().pk), description="new"),
        "calendar.update",
    ),
    "scheduling.calendar delete": (
        lambda: posts(url_of("scheduling.calendar", "delete", calendar().pk), post="yes"),
        "calendar.delete",
    ),
    "scheduling.calendar action delete_selected": (
        lambda: acts("scheduling.calendar", "delete_selected", calendar()),
        "calendar.delete",
    ),
    "scheduling.retentionrule add": (
        lambda: saves(url_of("scheduling.retentionrule", "add"), namespace="ours", keep_days=5),
        "retention_rule.create",
    ),
    "scheduling.retentionrule change": (
        lambda: saves(url_of("scheduling.retentionrule", "change", rule().pk), keep_days=6),
        "retention_rule.update",
    ),
    "scheduling.retentionrule delete": (
        lambda: posts(url_of("scheduling.retentionrule", "delete", rule().pk), post="yes"),
        "retention_rule.delete",
    ),
    "scheduling.retentionrule action delete_selected": (
        lambda: acts("scheduling.retentionrule", "delete_selected", rule()),
        "retention_rule.delete",
    ),
    "scheduling.freeze add": (
        lambda: saves(url_of("scheduling.freeze", "add"), namespace="ours"),
        "namespace.freeze",
    ),
    "scheduling.freeze change": (
        lambda: saves(url_of("scheduling.freeze", "change", frozen().pk), reason="another"),
        "namespace.freeze",
    ),
    "scheduling.freeze delete": (
        lambda: posts(url_of("scheduling.freeze", "delete", frozen().pk), post="yes"),
        "namespace.thaw",
    ),
    "scheduling.freeze action delete_selected": (
        lambda: acts("scheduling.freeze", "delete_selected", frozen()),
        "namespace.thaw",
    ),
    "scheduling.freeze button thaw": (
        lambda: press("scheduling.freeze", "thaw", frozen()),
        "namespace.thaw",
    ),
    "scheduling.alert button acknowledge": (
        lambda: press("scheduling.alert", "acknowledge", alert()),
        "alert.acknowledge",
    ),
    "scheduling.alert action acknowledge_selected": (
        lambda: acts("scheduling.alert", "acknowledge_selected", alert()),
        "alert.acknowledge",
    ),
    **{
        f"scheduling.{kind} button cancel": (
            lambda kind=kind, make=make: press(f"scheduling.{kind}", "cancel", make()),
            "task.cancel",
        )
        for kind, make in (("task", factories.task), ("taskinstance", factories.attempt))
    },
    "scheduling.task action cancel_selected": (
        lambda: acts("scheduling.task", "cancel_selected", factories.task()),
        "task.cancel",
    ),
    "scheduling.task action retry_selected": (
        lambda: acts("scheduling.task", "retry_selected", failed_task()),
        "task.retry",
    ),
    "scheduling.bulkaction button cancel": (
        lambda: press("scheduling.bulkaction", "cancel", bulk_action()),
        "bulk_action.cancel",
    ),
    "scheduling.task button retry": (lambda: press("scheduling.task", "retry", failed_task()), "task.retry"),
}
