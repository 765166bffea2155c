"""The overview: it renews itself under the reader's eyes, and says so when it cannot."""

import re

import pytest
from playwright.sync_api import expect

from scheduling.clock import database_now
from scheduling.models import Task
from tests import factories
from tests.e2e.oracle import until

RENEWED_MS = 15_000


@pytest.fixture
def failed_task(address):
    """Return a task that an agent ran, and that failed with a last word."""
    job = factories.job(args=["-c", "echo all is well; echo 'disk is full' >&2; exit 3"])
    task = factories.task(job=job, now=database_now())
    until(lambda: Task.objects.filter(pk=task.pk, status="failed").exists(), "the task has failed")
    return task


def test_it_counts_down_and_a_failure_leads_to_its_output(visitor, failed_task):
    factories.schedule(now=database_now(), job=failed_task.job, kind="interval", interval_secs=3600)
    viewer = visitor("viewer")
    page = viewer.go("/admin/")
    first = page.get_by_role("timer").first
    expect(first).to_have_text(re.compile(r"^\d{1,2}:\d\d$"), timeout=RENEWED_MS)
    viewer.look()
    failure = page.get_by_role("listitem").filter(has_text=f"#{failed_task.pk}")
    expect(failure).to_contain_text("disk is full")
    failure.get_by_role("link", name="exit 3").click()
    page.wait_for_url("**/taskinstance/*/change/#output")


def test_what_changed_appears_and_nothing_else_moves(visitor, failed_task):
    page = visitor("viewer").go("/admin/")
    page.get_by_text("All figures as a table").first.click()
    bar = page.get_by_role("link", name=re.compile("failed: ")).first
    bar.focus()
    page.evaluate("window.scrollTo(0, 150)")
    waiting = factories.task(job=factories.job(config={"labels": {"planet": "mars"}}), now=database_now())
    expect(page.get_by_role("link", name="bash with planet=mars")).to_be_visible(timeout=RENEWED_MS)
    expect(bar).to_be_focused()
    expect(page.get_by_role("region", name="All figures as a table")).to_be_visible()
    assert page.evaluate("window.scrollY") == 150
    page.get_by_role("link", name="bash with planet=mars").click()
    expect(page.get_by_role("link", name=f"#{waiting.pk}", exact=True)).to_be_visible()


def test_a_server_that_does_not_answer_is_told_until_it_answers_again(visitor):
    viewer = visitor("viewer")
    for complaint in ("cannot be renewed", "ERR_INTERNET_DISCONNECTED"):
        viewer.watch.expect(complaint)
    page = viewer.go("/admin/")
    said = page.get_by_text("The server does not answer")
    expect(said).to_be_hidden()
    viewer.context.set_offline(True)
    expect(said).to_be_visible(timeout=RENEWED_MS)
    viewer.context.set_offline(False)
    expect(said).to_be_hidden(timeout=2 * RENEWED_MS)


def test_the_end_of_the_session_is_told(visitor):
    viewer = visitor("viewer")
    page = viewer.go("/admin/")
    viewer.context.clear_cookies()
    expect(page.get_by_text("You are signed out")).to_be_visible(timeout=RENEWED_MS)
