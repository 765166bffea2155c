"""A job is written, run, changed and restored, as people do it."""

import re

import pytest
from playwright.sync_api import expect

from scheduling.clock import database_now
from scheduling.models import Job, Task
from scheduling.services.definitions import update_job
from tests import factories
from tests.e2e.oracle import until

SCHEMA = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "format": "date", "title": "Day"},
        "level": {"type": "integer", "minimum": 1, "default": 3, "title": "Level"},
    },
    "required": ["day"],
    "additionalProperties": False,
}


@pytest.fixture
def job(address):
    """Return a job that ran three times."""
    made = factories.job(
        command='# a report\nfor day in mon tue; do\n  echo "$day"\ndone', args=[], namespace="shop"
    )
    factories.schedule(job=made, now=database_now(), kind="cron", cron_expression="0 3 * * *")
    tasks = [factories.task(job=made, now=database_now()) for _each in range(3)]
    until(lambda: Task.objects.filter(pk__in=[t.pk for t in tasks], status="completed").count() == 3, "ran")
    return made


def path_of(job):
    return f"/admin/scheduling/job/{job.pk}/change/"


def test_a_script_is_written_with_indents_and_the_keyboard_gets_out_again(visitor):
    editor = visitor("editor")
    page = editor.go("/admin/scheduling/job/add/")
    script = page.get_by_label("Script", exact=True)
    script.focus()
    page.keyboard.type("if true; then\necho $HOME\n")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("fi")
    expect(script).to_have_value("if true; then\n  echo $HOME\nfi")
    expect(page.locator(".hf-editor-view .hf-token-keyword").first).to_have_text("if")
    expect(page.get_by_text("Press Escape first").first).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(script).not_to_be_focused()
    editor.look()


def test_json_says_while_one_types_where_it_is_wrong(visitor, job):
    editor = visitor("editor")
    page = editor.go(f"{path_of(job)}?tab=definition")
    schema = page.get_by_label("Schema of the parameters")
    schema.fill('{"type": "object",\n"typo" 1}')
    said = page.locator("#id_parameters_schema_live_error")
    expect(said).to_contain_text("line 2, column 8")
    expect(schema).to_have_attribute("aria-invalid", "true")
    editor.look()
    schema.fill('{"type": "object", "typo": 1}')
    expect(said).to_contain_text("'typo' is not one of the keywords")
    schema.fill('{"type": "object"}')
    expect(said).to_have_count(0)


def test_a_job_asks_for_its_parameters_and_runs_with_them(visitor):
    job = factories.job(parameters_schema=SCHEMA)
    operator = visitor("operator")
    page = operator.go(path_of(job))
    page.get_by_role("link", name="Run now").click()
    operator.look()
    page.get_by_label("Level").fill("0")
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    page.get_by_label("Day").fill("2026-03-02")
    page.get_by_label("Level").fill("7")
    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_text("A task was created")).to_be_visible()
    task = Task.objects.filter(job=job).latest("pk")
    assert task.parameters == {"day": "2026-03-02", "level": 7}
    until(lambda: Task.objects.filter(pk=task.pk, status="completed").exists(), "it has run")


def test_the_page_says_how_it_goes_and_a_bar_leads_to_its_run(visitor, job):
    someone = visitor("viewer")
    page = someone.go(path_of(job))
    bars = page.locator(".hf-history a")
    expect(bars).to_have_count(3)
    someone.look()
    bars.last.focus()
    page.keyboard.press("ArrowLeft")
    expect(bars.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(bars.last).to_be_focused()
    expect(page.locator(".hf-history a:focus-visible .hf-tip")).to_contain_text("completed")
    page.keyboard.press("Enter")
    page.wait_for_url("**/task/*/change/")


def test_a_new_run_comes_to_the_page_by_itself(visitor, job):
    page = visitor("viewer").go(path_of(job))
    expect(page.locator(".hf-script .hf-token-comment")).to_have_text("# a report")
    factories.task(job=job, now=database_now())
    expect(page.locator(".hf-history a")).to_have_count(4, timeout=20_000)
    expect(page.locator(".hf-script .hf-token-comment")).to_have_text("# a report")


def test_a_change_is_looked_at_and_taken_back(visitor, job):
    update_job(job_id=job.pk, now=database_now(), command="# another report\ndate\n", description="new")
    editor = visitor("editor")
    page = editor.go(path_of(job))
    page.get_by_role("link", name="Changes").click()
    expect(page.locator("ins", has_text="# another report")).to_be_visible()
    expect(page.locator("del", has_text="# a report")).to_be_visible()
    editor.look()
    page.get_by_role("link", name=re.compile("Restore")).last.click()
    expect(page.get_by_text("What happened since")).to_be_visible()
    editor.look()
    update_job(job_id=job.pk, now=database_now(), description="newer")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("Somebody changed it meanwhile")).to_be_visible()
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("It is again what it was")).to_be_visible()
    assert Job.objects.get(pk=job.pk).command.startswith("# a report")
