"""The timeline: a run is found by keys and by the pointer, and opened from there."""

import re

import pytest
from playwright.sync_api import expect

from scheduling.clock import database_now
from scheduling.models import Task
from tests import factories
from tests.e2e.oracle import until

PAGE = "/admin/scheduling/taskinstance/timeline/"


@pytest.fixture
def ended_task(address):
    """Return a task that an agent has run."""
    job = factories.job(args=["-c", "sleep 1"])
    task = factories.task(job=job, now=database_now())
    until(lambda: Task.objects.filter(pk=task.pk, status="completed").exists(), "the task has run")
    return task


def test_a_run_is_found_by_keys_and_opened(visitor, ended_task):
    root = visitor("viewer")
    page = root.go(f"{PAGE}?by=job&hours=1&job={ended_task.job.name}")
    canvas = page.get_by_role("application")
    expect(canvas).to_have_attribute("aria-label", re.compile("runs: 1"))
    expect(page.get_by_role("link", name=ended_task.job.name)).to_be_visible()
    canvas.focus()
    page.keyboard.press("ArrowDown")
    said = page.locator("[data-timeline=said]")
    expect(said).to_contain_text(f"#{ended_task.pk}.1 completed")
    expect(said).to_contain_text(f"job {ended_task.job.name}")
    page.get_by_text("What is shown, as a table").click()
    expect(page.get_by_role("cell", name=f"#{ended_task.pk}.1")).to_be_visible()
    expect(page.locator("td[title$=' UTC']").first).to_be_visible()
    root.look()
    canvas.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/taskinstance/*/change/")


def test_it_zooms_moves_and_follows(visitor, ended_task):
    page = visitor("viewer").go(PAGE)
    follow = page.get_by_role("button", name="Follow")
    expect(follow).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="1 hour").click()
    page.wait_for_url("**hours=1")
    page.get_by_role("button", name="Earlier").click()
    expect(follow).to_have_attribute("aria-pressed", "false")
    page.wait_for_url(re.compile(r"begin=\d+&end=\d+"))
    page.reload()
    expect(follow).to_have_attribute("aria-pressed", "false")
    follow.click()
    expect(follow).to_have_attribute("aria-pressed", "true")
    box = page.get_by_role("application").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    expect(follow).to_have_attribute("aria-pressed", "false")
    page.get_by_label("Status").select_option("failed")
    page.wait_for_url("**status=failed**")
    page.get_by_role("searchbox", name="Job").fill(ended_task.job.name)
    expect(page.get_by_text("Nothing ran in this time.")).to_be_visible()
