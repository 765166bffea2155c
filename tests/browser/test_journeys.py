"""What people do in the admin from one end to the other, with a real server and a real agent."""

import json
import re
import uuid

import pytest
from playwright.sync_api import expect

from scheduling.clock import database_now
from scheduling.models import Task
from tests import factories
from tests.e2e.oracle import processes_of_attempts, quiesce

WAIT_MS = 30_000


@pytest.fixture
def root(visitor):
    return visitor()


@pytest.fixture
def name():
    return f"job-{uuid.uuid4().hex[:8]}"


def failed_task():
    job = factories.job(args=["-c", "echo 'no price for order 4711' >&2; exit 3"])
    task = factories.task(job=job, now=database_now())
    quiesce([task.pk])
    return task


SCRIPT = """echo "begins: $HETUFLOW_PARAM_MODE"
echo "a warning of it" >&2
if [ "$HETUFLOW_PARAM_MODE" = quick ]; then
test -e "$HETUFLOW_PARAM_NEEDS" || exit 3
exit 0
fi
sleep 600 &
for number in $(seq 600); do echo "line $number"; sleep 0.2; done
"""
SCHEMA = {
    "type": "object",
    "properties": {
        "mode": {"type": "string", "enum": ["quick", "long"], "title": "Mode"},
        "needs": {"type": "string", "title": "Needs"},
    },
    "required": ["mode"],
}


def run_by_hand(page, mode, needs):
    """Press "Run now" on the page of a job, fill in what it asks for, and return the new task."""
    page.get_by_role("link", name="Run now").first.click()
    page.get_by_label("Mode").select_option(mode)
    page.get_by_label("Needs").fill(needs)
    page.locator("#content").get_by_role("button", name="Run now").click()
    expect(page.get_by_text("A task was created")).to_be_visible()
    return Task.objects.latest("pk")


@pytest.mark.timeout(240)
def test_a_job_is_created_run_watched_cancelled_and_after_a_failure_tried_again(visitor, name, tmp_path):
    editor = visitor("editor")
    page = editor.go("/admin/scheduling/job/add/")
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("input[name=name]").fill(name)
    page.get_by_label("Script", exact=True).fill(SCRIPT)
    page.get_by_label("Schema of the parameters").fill(json.dumps(SCHEMA))
    page.get_by_role("button", name="Save", exact=True).click()
    job_page = page.url

    # It is watched while it runs, and cancelled with all that it started.
    task = run_by_hand(page, "long", "nothing")
    page.goto(job_page)
    page.get_by_role("link", name=f"#{task.pk}", exact=True).first.click(timeout=WAIT_MS)
    page.get_by_role("link", name=f"#{task.pk}.1").first.click(timeout=WAIT_MS)
    log = page.get_by_role("log")
    expect(log).to_contain_text("begins: long", timeout=WAIT_MS)
    expect(log.locator(".hf-row-stderr")).to_have_text(re.compile("a warning of it$"))
    attempt = task.instances.get()
    assert attempt.status == "running"
    follow = page.get_by_role("button", name="Follow")
    follow.click()
    expect(follow).to_contain_text("+")
    follow.click()
    expect(follow).to_have_attribute("aria-pressed", "true")
    page.get_by_role("searchbox", name="Find in the output").fill("LINE 3")
    page.keyboard.press("Enter")
    expect(page.locator(".hf-row-target")).to_have_text(re.compile("line 3$"))
    assert len(processes_of_attempts([attempt.pk])) >= 2
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#log")).to_contain_text("all processes have ended", timeout=WAIT_MS)
    expect(page.get_by_text("cancelled", exact=True).first).to_be_visible(timeout=WAIT_MS)
    assert processes_of_attempts([attempt.pk]) == []

    # It fails, which the overview tells; what it needs is put there, and it succeeds.
    page.goto(job_page)
    failed = run_by_hand(page, "quick", str(tmp_path / "data"))
    quiesce([failed.pk])
    page = editor.go("/admin/")
    page.get_by_role("link", name=re.compile(rf"#{failed.pk}\b")).first.click()
    expect(page.get_by_role("log")).to_contain_text("begins: quick")
    expect(page.get_by_role("cell", name="ended with exit code 3")).to_be_visible()
    (tmp_path / "data").touch()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("completed", exact=True).first).to_be_visible(timeout=WAIT_MS)
    assert [each.status for each in failed.instances.order_by("attempt")] == ["failed", "completed"]


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
