"""Every door of the admin by which something is written leaves an entry in the audit log."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.urls import reverse

from access.models import AuditEntry
from tests import factories
from tests.admin_client import client_of
from tests.hetuflow.admin_doors import DOORS, PASSWORD, url_of

pytestmark = pytest.mark.django_db
# Views that write nothing.
READING = {
    *(f"agents_agent_{name}" for name in ("arrival", "log", "now", "usage")),
    "scheduling_calendar_year",
    "scheduling_calendar_year_change",
    "scheduling_job_check",
    "scheduling_job_check_change",
    *(f"scheduling_schedule_{name}" for name in ("backfill_preview", "forecast", "forecast_picture")),
    *(f"scheduling_schedule_{name}" for name in ("ledger", "ledger_csv", "preview", "preview_change")),
    "scheduling_job_export_definitions",
    "scheduling_taskinstance_find",
    "scheduling_taskinstance_output",
    "scheduling_taskinstance_stderr",
    "scheduling_taskinstance_stdout",
    "scheduling_taskinstance_timeline",
    "scheduling_taskinstance_timeline_data",
}
ORDINARY = ("changelist", "add", "history", "delete", "change")


def doors_of(model_admin: Any, request: Any):
    """Yield the names of all ways in which a superuser can write by one admin class."""
    label = model_admin.opts.label_lower
    for verb in ("add", "change", "delete"):
        if getattr(model_admin, f"has_{verb}_permission")(request):
            yield f"{label} {verb}"
    writing = model_admin.get_actions(request).keys() - {"export_selected"}
    yield from (f"{label} action {name}" for name in writing)
    yield from (f"{label} button {button.name}" for button in model_admin.buttons)
    info = f"{model_admin.opts.app_label}_{model_admin.opts.model_name}"
    known = {f"{info}_{name}" for name in ORDINARY}
    known |= {f"{info}_{button.name.replace('-', '_')}" for button in model_admin.buttons}
    for pattern in model_admin.get_urls():
        if pattern.name and pattern.name not in known | READING:
            yield f"{label} view {pattern.name}"
    if model_admin.list_editable:
        yield f"{label} list"


def test_the_table_holds_every_door():
    request = RequestFactory().get("/")
    request.user = User.objects.create_superuser("root")
    doors = {door for each in admin.site._registry.values() for door in doors_of(each, request)}
    assert doors == {door.partition(":")[0] for door in DOORS}


@pytest.mark.parametrize("door", DOORS)
def test_a_write_leaves_an_entry_with_who_and_what(door):
    browser = client_of(superuser=True)
    go, action = DOORS[door]
    through = go()
    before = AuditEntry.objects.latest("pk").pk
    assert through(browser).status_code in (200, 302)
    entries = AuditEntry.objects.filter(pk__gt=before)
    assert action in {entry.action for entry in entries}, door
    assert {(entry.actor_kind, entry.actor, entry.address) for entry in entries} == {
        ("user", "root", "127.0.0.1")
    }
    assert all(entry.before or entry.after for entry in entries)


def test_changing_ones_own_password_leaves_an_entry():
    user = User.objects.create_superuser("root", password=PASSWORD)
    browser = client_of("scheduling.view_job")
    browser.force_login(user)
    values = {"old_password": PASSWORD, "new_password1": PASSWORD + "-2", "new_password2": PASSWORD + "-2"}
    url = reverse("admin:password_change")
    browser.post(url, values | {"new_password2": "another"})
    assert AuditEntry.objects.latest("pk").action == "user.login"
    assert browser.post(url, values).status_code == 302
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.actor, entry.subject) == ("user.update", "root", "root")
    assert entry.after == {"password": "changed"}


def test_the_history_of_an_object_leads_to_its_entries():
    browser = client_of(superuser=True)
    job, other = factories.job(), factories.job()
    browser.post(url_of("scheduling.job", "disable", job.pk))
    browser.post(url_of("scheduling.job", "disable", other.pk))
    url = browser.get(url_of("scheduling.job", "history", job.pk)).context["audit_url"]
    listed = browser.get(url).context["cl"].result_list
    assert [(entry.action, entry.subject_id) for entry in listed] == [
        ("job.update", str(job.pk)),
        ("job.create", str(job.pk)),
    ]
