"""Every rule that the database keeps is broken once, and refused by name; a new rule cannot be forgotten."""

import uuid
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, models, transaction

from access import audit, tokens
from access.models import ApiToken, AuditEntry, Grant, SavedFilter
from agents.enrollment import create_enrollment_token
from agents.models import Agent, AgentToken, EnrollmentToken
from agents.tokens import issue_token
from rest.models import IdempotencyKey
from scheduling.models import (
    Alert,
    Backfill,
    BulkAction,
    BulkTarget,
    Calendar,
    Freeze,
    Job,
    Lease,
    OutputChunk,
    RetentionRule,
    Route,
    Schedule,
    Task,
    TaskInstance,
)
from scheduling.services.claiming import claim
from tests import factories, people
from tests.factories import NOW

APPS = ("access", "rest", "agents", "scheduling", "gateway")
MODELS = [model for model in apps.get_models() if model._meta.app_label in APPS]
POSITIVE = (models.PositiveIntegerField, models.PositiveSmallIntegerField, models.PositiveBigIntegerField)

pytestmark = pytest.mark.django_db


def copy_of(row, **changes):
    """Insert the same row once more, under another primary key."""
    row.pk = changes.pop("pk", None)
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(force_insert=True)


def attempt(**config):
    agent, task = factories.agent(), factories.task(job=factories.job(config=config))
    claim(slots={agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    return TaskInstance.objects.get(task=task)


def another_attempt(instance, **changes):
    copy_of(instance, pk=uuid.uuid4(), **{"token": instance.token + 1000} | changes)


def chunk(**fields):
    values = {"instance": attempt(), "stream": 1, "offset": 0, "data": b"x", "at": NOW} | fields
    return OutputChunk.objects.create(**values)


def freeze(**fields):
    return Freeze.objects.create(**{"namespace": "default", "since": NOW, **fields})


def rule(**fields):
    return RetentionRule.objects.create(**{"namespace": "default", "keep_days": 1, **fields})


def backfill(**fields):
    values = {"range_from": NOW, "range_to": NOW, "planned_until": NOW, "total": 1, **fields}
    return Backfill.objects.create(schedule=factories.schedule(), **values)


def saved_filter(**fields):
    values = {"of_list": "scheduling.task", "name": "night", "query": "q=x", **fields}
    return SavedFilter.objects.create(user=people.person(), **values)


def bulk_action(**fields):
    return BulkAction.objects.create(**{"verb": "job.run", "total": 1, **fields})


def bulk_target(**fields):
    return BulkTarget.objects.create(**{"action": bulk_action(), "target_id": 1, **fields})


def change(model, row, **fields):
    model.objects.filter(pk=row.pk).update(**fields)


def enrolment(**fields):
    return create_enrollment_token(now=NOW, **fields).row


def role(**fields):
    group = Group.objects.create(name=f"group {Group.objects.count()}")
    return Grant.objects.create(**{"group": group, "namespace": "default", "role": "viewer", **fields})


def token(**fields):
    row, _secret = tokens.issue(user=people.person(), name="program")
    change(ApiToken, row, **fields)
    return row


def entry(**fields):
    values = {"by": factories.ANN, "action": "job.create", "subject": "a job", **fields}
    audit.record_all([audit.entry(**values)])
    return AuditEntry.objects.latest("pk")


def stranger():
    row = audit.entry(by=factories.ANN, action="job.create", subject="a job")
    row.actor_kind = "ghost"
    row.save()


def answered_key(**fields):
    values = {"caller": "user 1", "key": "k", "digest": "0" * 64, **fields}
    return IdempotencyKey.objects.create(**values)


def two_places():
    first = attempt(max_concurrency=2)
    other = factories.task(job=first.job)
    another_attempt(first, task_id=other.pk)


VIOLATIONS = {
    "agent_name_unique": lambda: copy_of(factories.agent(), pk=uuid.uuid4()),
    "agent_name_not_empty": lambda: change(Agent, factories.agent(), name=""),
    "agent_status_known": lambda: change(Agent, factories.agent(), status="asleep"),
    "job_name_unique_in_namespace": lambda: copy_of(factories.job()),
    "job_name_not_empty": lambda: change(Job, factories.job(), name=""),
    "job_max_concurrency_positive": lambda: change(Job, factories.job(), max_concurrency=0),
    "schedule_kind_known": lambda: change(Schedule, factories.schedule(), kind="sometimes"),
    "schedule_status_known": lambda: change(Schedule, factories.schedule(), status="asleep"),
    "schedule_cron_has_expression": lambda: change(
        Schedule, factories.schedule(), kind="cron", cron_expression=""
    ),
    "schedule_interval_positive": lambda: change(Schedule, factories.schedule(), interval_secs=0),
    "schedule_once_has_start": lambda: change(Schedule, factories.schedule(), kind="once", start_time=None),
    "schedule_ends_after_start": lambda: change(
        Schedule, factories.schedule(), start_time=NOW, end_time=NOW - timedelta(seconds=1)
    ),
    "schedule_pause_after_failures_positive": lambda: change(
        Schedule, factories.schedule(), pause_after_failures=0
    ),
    "schedule_calendar_policy_known": lambda: change(
        Schedule, factories.schedule(), calendar_policy="perhaps"
    ),
    "schedule_interval_mode_known": lambda: change(Schedule, factories.schedule(), interval_mode="perhaps"),
    "calendar_name_unique_in_namespace": lambda: [Calendar.objects.create(name="work") for _ in range(2)],
    "calendar_name_not_empty": lambda: Calendar.objects.create(name=""),
    "calendar_subdivision_has_country": lambda: Calendar.objects.create(name="work", subdivision="BY"),
    "freeze_ends_after_start": lambda: freeze(until=NOW),
    "freeze_namespace_not_empty": lambda: freeze(namespace=""),
    "scheduling_freeze.namespace": lambda: [freeze() for _ in range(2)],
    "retentionrule_one_per_namespace": lambda: [rule() for _ in range(2)],
    "retentionrule_namespace_not_empty": lambda: rule(namespace=""),
    "retentionrule_says_something": lambda: rule(keep_days=None),
    "retentionrule_for_all_names_no_job": lambda: rule(namespace="*", job=factories.job()),
    "scheduling_retentionrule.job_id": lambda: [rule(job=job) for job in [factories.job()] for _ in range(2)],
    "savedfilter_name_unique": lambda: copy_of(saved_filter()),
    "savedfilter_name_not_empty": lambda: saved_filter(name=""),
    "savedfilter_query_not_empty": lambda: saved_filter(query=""),
    "bulkaction_verb_known": lambda: bulk_action(verb="job.eat"),
    "bulkaction_status_known": lambda: bulk_action(status="asleep", completed_at=NOW),
    "bulkaction_total_positive": lambda: bulk_action(total=0),
    "bulkaction_completed_at_iff_ended": lambda: bulk_action(status="completed"),
    "bulktarget_once_each": lambda: copy_of(bulk_target()),
    "bulktarget_state_known": lambda: bulk_target(state="lost"),
    "backfill_ends_after_start": lambda: backfill(range_to=NOW - timedelta(seconds=1)),
    "backfill_parallel_positive": lambda: backfill(parallel=0),
    "backfill_status_known": lambda: backfill(status="asleep", completed_at=NOW),
    "backfill_overlap_known": lambda: backfill(overlap="perhaps"),
    "backfill_on_failure_known": lambda: backfill(on_failure="cry"),
    "backfill_completed_at_iff_ended": lambda: backfill(status="completed"),
    "alert_kind_known": lambda: Alert.objects.create(kind="boredom", namespace="default", text=""),
    "task_one_per_backfilled_instant": lambda: [
        change(Task, factories.task(), backfill=one) for one in [backfill()] for _ in range(2)
    ],
    "task_instants_positive": lambda: change(Task, factories.task(), instants=0),
    "schedule_dst_gap_known": lambda: change(Schedule, factories.schedule(), dst_gap="jump"),
    "schedule_dst_overlap_known": lambda: change(Schedule, factories.schedule(), dst_overlap="never"),
    "schedule_max_count_positive": lambda: change(Schedule, factories.schedule(), max_count=0),
    "task_one_per_instant": lambda: [
        copy_of(factories.task(), schedule=schedule) for schedule in [factories.schedule()] for _ in range(2)
    ],
    "task_status_known": lambda: change(Task, factories.task(), status="asleep"),
    "task_completed_at_iff_terminal": lambda: change(Task, factories.task(), completed_at=NOW),
    "taskinstance_one_live_per_task": lambda: another_attempt(attempt(), attempt=2),
    "taskinstance_attempt_unique": lambda: another_attempt(attempt(), status="failed"),
    "taskinstance_one_live_per_place": two_places,
    "taskinstance_status_known": lambda: change(TaskInstance, attempt(), status="asleep"),
    "taskinstance_attempt_positive": lambda: change(TaskInstance, attempt(), attempt=0),
    "outputchunk_offset_unique": lambda: copy_of(chunk()),
    "outputchunk_offset_not_negative": lambda: chunk(offset=-1),
    "scheduling_route.key": lambda: copy_of(factories.job().route),
    "scheduling_taskinstance.token": lambda: [
        another_attempt(one, attempt=2, status="failed", token=one.token) for one in [attempt()]
    ],
    "grant_one_role_per_namespace": lambda: copy_of(role()),
    "grant_role_known": lambda: role(role="emperor"),
    "grant_namespace_not_empty": lambda: role(namespace=""),
    "apitoken_name_unique": lambda: copy_of(token(), digest="0" * 64),
    "apitoken_scope_known": lambda: token(scope="everything"),
    "apitoken_name_not_empty": lambda: token(name=""),
    "access_apitoken.digest": lambda: copy_of(token(), name="another"),
    "auditentry_actor_kind_known": stranger,
    "auditentry_action_not_empty": lambda: entry(action=""),
    "idempotencykey_once_per_caller": lambda: [answered_key() for _ in range(2)],
    "enrollmenttoken_lives_a_week_at_most": lambda: enrolment(life=timedelta(days=7, microseconds=1)),
    "enrollmenttoken_used_in_time_by_an_agent": lambda: change(EnrollmentToken, enrolment(), used_at=NOW),
    "enrollmenttoken_agent_has_its_own_name": lambda: enrolment(agent=factories.agent(), name="x"),
    "agents_enrollmenttoken.digest": lambda: copy_of(enrolment()),
    "agents_agenttoken.digest": lambda: [
        copy_of(AgentToken.objects.get()) for _ in [issue_token(agent=factories.agent())]
    ],
}


# What triggers refuse is broken in a way for each of them.
ENDED = {"status": "cancelled", "completed_at": NOW}
FINAL = {
    "auditentry_final": lambda: change(AuditEntry, entry(), actor="somebody else"),
    "task_terminal_is_final": lambda: [
        change(Task, task, **fields)
        for task in [factories.task()]
        for fields in (ENDED, {"status": "running", "completed_at": None})
    ],
    "taskinstance_terminal_is_final": lambda: [
        change(TaskInstance, one, **fields)
        for one in [attempt()]
        for fields in (ENDED, {"status": "running", "completed_at": None})
    ],
}
# These fill in what a row takes over from another, and refuse nothing.
HELPFUL = {"taskinstance_namespace_of_task"}


def rules():
    """Return the names of all rules that the models state, beside keys and numbers that are not negative."""
    named = {constraint.name for model in MODELS for constraint in model._meta.constraints}
    unique = {
        f"{model._meta.db_table}.{field.column}"
        for model in MODELS
        for field in model._meta.local_fields
        if field.unique and not field.primary_key
    }
    together = {
        f"{model._meta.db_table} {names}" for model in MODELS for names in model._meta.unique_together
    }
    return named | unique | together


def test_every_rule_of_the_models_is_violated_below():
    assert rules() == VIOLATIONS.keys()


@pytest.mark.parametrize("rule", sorted(VIOLATIONS))
def test_the_database_refuses_what_breaks_the_rule(rule):
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        VIOLATIONS[rule]()
    name = refusal.value.__cause__.diag.constraint_name
    assert name == rule or name.startswith(rule.replace(".", "_"))


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (model, field.name)
        for model in MODELS
        for field in model._meta.local_fields
        if isinstance(field, POSITIVE)
    ],
    ids=str,
)
def test_a_number_that_counts_is_never_negative(model, field):
    column = model._meta.get_field(field).column
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass"
            " AND contype = 'c' AND conkey = ARRAY[(SELECT attnum FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attname = %s)]",
            [table, table, column],
        )
        rules = [rule for (rule,) in cursor.fetchall()]
    assert any(f"({column} >= 0)" in rule or f'("{column}" >= 0)' in rule for rule in rules)


def test_the_database_holds_no_rule_that_the_models_do_not_state():
    tables = [model._meta.db_table for model in MODELS]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = ANY(%s::regclass[]) AND contype IN ('c', 'u', 'x')",
            [tables],
        )
        found = dict(cursor.fetchall())
    stated = {rule for rule in rules() if "." not in rule}
    strangers = {
        name
        for name, rule in found.items()
        if name not in stated
        and not rule.endswith(">= 0))")
        and not any(name.startswith(one.replace(".", "_")) for one in rules() if "." in one)
    }
    assert strangers == set()


def test_every_trigger_of_the_database_is_broken_below_or_refuses_nothing():
    tables = [model._meta.db_table for model in MODELS]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = ANY(%s::regclass[]) AND NOT tgisinternal", [tables]
        )
        found = {name for (name,) in cursor.fetchall()}
    assert found == FINAL.keys() | HELPFUL


@pytest.mark.parametrize("trigger", sorted(FINAL))
def test_the_database_refuses_to_change_what_is_final(trigger):
    with (
        pytest.raises(IntegrityError, match=r"is never changed|is cancelled, which is terminal"),
        transaction.atomic(),
    ):
        FINAL[trigger]()


def test_an_audit_entry_stays_as_it_was_when_somebody_tries_to_change_it():
    written = entry(after={"name": "x"})
    columns = [field.column for field in AuditEntry._meta.local_fields]
    for column in columns:
        with pytest.raises(IntegrityError, match="is never changed"), transaction.atomic():
            change(AuditEntry, written, **{column: getattr(written, column)})
    kept = AuditEntry.objects.filter(pk=written.pk).values().get()
    assert kept == {column: getattr(written, column) for column in columns}


@pytest.mark.parametrize(
    "broken",
    [
        lambda: enrolment(life=timedelta(0)),
        lambda: change(
            EnrollmentToken, enrolment(agent=factories.agent()), used_at=NOW + timedelta(minutes=15)
        ),
        lambda: enrolment(agent=factories.agent(), labels={"zone": "a"}),
    ],
    ids=["dead at birth", "used too late", "labels for an agent that has its own"],
)
def test_the_other_sides_of_the_rules_for_enrolment_tokens_hold_too(broken):
    with pytest.raises(IntegrityError, match="enrollmenttoken_"), transaction.atomic():
        broken()


def test_a_servers_lease_has_one_row_for_its_name():
    Lease.objects.create(name="gateway", holder="a", since=NOW, renewed_at=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Lease.objects.create(name="gateway", holder="b", since=NOW, renewed_at=NOW)


def test_history_keeps_what_it_speaks_of():
    instance = attempt()
    for row in (instance.job, instance.agent, Route.objects.get(pk=instance.task.route_id)):
        with pytest.raises(models.ProtectedError):
            row.delete()
