"""A job that moves to another namespace after the door has asked and before the service has the row (I14)."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from access.models import AuditEntry
from scheduling.models import Job, Schedule
from scheduling.services.definitions import update_job
from tests import factories, people
from tests.admin_client import form_values
from tests.factories import NOW
from tests.races import LIMIT_SECS, start_until_it_waits

pytestmark = pytest.mark.django_db(transaction=True)
PAST = {"range_from": "2026-03-02T12:00:00Z", "range_to": "2026-03-02T12:01:00Z"}
RULE = {"kind": "interval", "interval_secs": 60}


@dataclass
class World:
    """A job and a schedule in `ours`, and a member of staff who may write there."""

    job: Job
    schedule: Schedule
    user: User

    def rest(self, method: str, path: str, body: Any = None) -> int:
        path = path.format(job=self.job.pk, schedule=self.schedule.pk)
        client = people.session_of(self.user)
        return getattr(client, method)(f"/api/v1/{path}", body or {}).status_code

    def admin(self, page: str, values: Any = None) -> int:
        kind, _, name = page.partition("_")
        pk = (self.job if kind == "job" else self.schedule).pk
        url = reverse(f"admin:scheduling_{page}", args=[] if name == "add" else [pk])
        browser = Client()
        browser.force_login(self.user)
        form = form_values(browser.get(url)) if name in ("add", "change") else {}
        return browser.post(url, form | (values or {})).status_code


# Each with the status where the user may in the new namespace too.
DOORS = {
    "change a job": (lambda w: w.rest("patch", "jobs/{job}", {"description": "mine"}), 200),
    "rename a job": (lambda w: w.rest("post", "jobs/{job}/update", {"name": "mine"}), 200),
    "disable a job": (lambda w: w.rest("post", "jobs/{job}/disable"), 200),
    "delete a job": (lambda w: w.rest("delete", "jobs/{job}"), 204),
    "add a schedule": (lambda w: w.rest("post", "schedules", {"job_id": w.job.pk, **RULE}), 201),
    "change a schedule": (lambda w: w.rest("patch", "schedules/{schedule}", {"interval_secs": 7}), 200),
    "disable a schedule": (lambda w: w.rest("post", "schedules/{schedule}/disable"), 200),
    "delete a schedule": (lambda w: w.rest("delete", "schedules/{schedule}"), 204),
    "run the past": (lambda w: w.rest("post", "backfills", {"schedule_id": w.schedule.pk, **PAST}), 201),
    "change a job in the admin": (lambda w: w.admin("job_change", {"description": "mine"}), 302),
    "disable a job in the admin": (lambda w: w.admin("job_disable"), 302),
    "delete a job in the admin": (lambda w: w.admin("job_delete", {"post": "yes"}), 302),
    "add a schedule in the admin": (lambda w: w.admin("schedule_add", RULE | {"job": w.job.pk}), 302),
    "change a schedule in the admin": (lambda w: w.admin("schedule_change", {"interval_secs": "7"}), 302),
    "disable a schedule in the admin": (lambda w: w.admin("schedule_disable"), 302),
    "delete a schedule in the admin": (lambda w: w.admin("schedule_delete", {"post": "yes"}), 302),
}


def world(*roles: tuple[str, str]) -> World:
    user = people.person(is_staff=True)
    for role in (("editor", "ours"), *roles):
        people.grant(user, *role)
    job = factories.job(namespace="ours")
    return World(job, factories.schedule(job=job), user)


def while_the_job_moves(w: World, door: Any) -> int:
    """Knock at a door, move the job before it has the row, and return what the door answered."""
    with transaction.atomic():
        update_job(job_id=w.job.pk, now=NOW, namespace="theirs")
        # Whoever knocks still reads the old namespace, and then waits for the row.
        answer = start_until_it_waits(lambda: door(w))
    return int(answer.result(LIMIT_SECS))


def entries_of(w: World) -> list[str]:
    """Return the namespaces of what the audit log says that the user did to these."""
    entries = AuditEntry.objects.filter(
        actor=w.user.username, subject_type__in=("job", "schedule", "backfill")
    )
    return list(entries.values_list("namespace", flat=True))


def rows() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (Job, Schedule)]


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("roles", [[], [("viewer", "theirs")]], ids=["unseen", "seen"])
def test_nobody_changes_what_moved_to_where_they_may_not(name, roles):
    w = world(*roles)
    door, _ = DOORS[name]
    before = rows()
    answer = while_the_job_moves(w, door)
    assert answer == (403 if roles or "admin" in name else 404)
    Job.objects.update(namespace="ours", updated_at=before[0][0]["updated_at"])
    assert rows() == before
    assert entries_of(w) == []


@pytest.mark.parametrize("name", DOORS)
def test_whoever_may_in_both_namespaces_notices_nothing(name):
    w = world(("editor", "theirs"))
    door, answer = DOORS[name]
    assert while_the_job_moves(w, door) == answer
    assert entries_of(w) == ["theirs"]
