"""What people do in the admin from one end to the other, with a real server and a real agent."""

import re
import uuid

import pytest
from playwright.sync_api import expect

from scheduling.clock import database_now
from scheduling.models import Task
from tests import factories
from tests.e2e.oracle import quiesce, until

WAIT_MS = 30_000


@pytest.fixture
def root(visitor):
    return visitor()


@pytest.fixture
def name():
    return f"job-{uuid.uuid4().hex[:8]}"


def task_of(job_name, **which):
    """Wait for a task of a job, and return it."""
    tasks = Task.objects.filter(job__name=job_name, **which)
    until(tasks.exists, f"{job_name} has a task {which}")
    return tasks.latest("pk")


def failed_task():
    job = factories.job(args=["-c", "echo 'no price for order 4711' >&2; exit 3"])
    task = factories.task(job=job, now=database_now())
    quiesce([task.pk])
    return task


def test_a_job_is_created_run_and_cancelled(root, name):
    page = root.go("/admin/scheduling/job/add/")
    page.locator("input[name=name]").fill(name)
    page.locator("textarea[name=command]").fill("for i in $(seq 600); do echo line $i; sleep 0.5; done")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name="Run now").first.click()
    page.locator("#content").get_by_role("button", name="Run now").click()
    task = task_of(name, status="running")
    page = root.go(f"/admin/scheduling/task/{task.pk}/change/")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=re.compile("^Cancel")).first.click()
    until(lambda: Task.objects.filter(pk=task.pk, status="cancelled").exists(), "the task is cancelled")
    expect(page.get_by_text("cancelled").first).to_be_visible(timeout=WAIT_MS)


def test_a_failure_is_found_on_the_overview_and_tried_again(root):
    failed = failed_task()
    page = root.go("/admin/")
    page.get_by_role("link", name=re.compile(rf"#{failed.pk}\b")).first.click()
    expect(page.get_by_text("exit code 3").or_(page.get_by_text("exit 3")).first).to_be_visible()
    before = failed.instances.count()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=re.compile("^(Retry|Try again)")).first.click()
    until(lambda: failed.instances.count() > before, "it is tried again")
    quiesce([failed.pk])


def test_a_person_chooses_language_and_time_zone_and_the_pages_follow(root):
    task = failed_task()
    page = root.go("/admin/preferences/")
    page.get_by_label("Language").select_option("zh-hans")
    page.locator("select[name=time_zone]").select_option("Asia/Shanghai", force=True)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="偏好设置")).to_be_visible()
    page = root.go(f"/admin/scheduling/task/{task.pk}/change/")
    task.refresh_from_db()
    shown = page.locator(f'time[title^="{task.scheduled_at:%Y-%m-%d %H:%M:%S}"]').first
    assert shown.inner_text()[11:13] == f"{(task.scheduled_at.hour + 8) % 24:02}"


def test_without_a_choice_pages_tell_the_time_of_the_browser(root):
    task = failed_task()
    root.go("/admin/")
    page = root.go(f"/admin/scheduling/task/{task.pk}/change/")
    shown = page.locator(f'time.hf-exact[title^="{task.scheduled_at:%Y-%m-%d %H:%M:%S}"]').first
    berlin = page.evaluate(
        "at => new Date(at).toLocaleTimeString('en-GB', { timeZone: 'Europe/Berlin' })",
        task.scheduled_at.isoformat(),
    )
    assert shown.inner_text()[11:19] == berlin
