"""A file of definitions is imported after a look at what it would change."""

from playwright.sync_api import expect

from scheduling.models import Job
from tests import factories

FILE = """hetuflow: 1
jobs:
- name: report
  namespace: imports
  command: |
    echo one
    echo two
  config: {cmd: sh}
  schedules:
  - {name: nightly, kind: cron, cron_expression: 0 4 * * *}
- {name: fresh, namespace: imports, config: {cmd: sh, args: [-c, date]}}
- {name: broken, namespace: imports, config: {cmd: cobol}}
"""


def test_a_file_is_checked_looked_at_and_imported(visitor, tmp_path):
    job = factories.job(namespace="imports", name="report", cmd="sh", args=[], command="echo one\n")
    file = tmp_path / "jobs.yaml"
    file.write_text("hetuflow: 1\njobs: [{name: x}]\n")
    editor = visitor("editor")
    page = editor.go("/admin/scheduling/job/")
    page.get_by_role("link", name="Import", exact=True).click()
    page.locator("input[name=file]").set_input_files(file)
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text('jobs[0]: "config" is a required property')).to_be_visible()
    editor.look()

    file.write_text(FILE)
    page.locator("input[name=file]").set_input_files(file)
    page.get_by_role("button", name="Check it").click()
    expect(page.get_by_text("3 of 3 checked")).to_be_visible()
    expect(page.get_by_text("'cobol' is unknown")).to_be_visible()
    page.get_by_role("link", name="change 1").click()
    expect(page.get_by_text("echo two")).to_be_visible()
    expect(page.get_by_text("cron_expression: 0 4 * * *")).to_be_visible()
    editor.look()
    assert Job.objects.get(pk=job.pk).command == "echo one\n"

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Import this").click()
    expect(page.get_by_text("2 of 2 done")).to_be_visible()
    page.get_by_role("link", name="create 1").click()
    page.get_by_role("link", name="imports/fresh").click()
    expect(page.get_by_role("heading", name="fresh")).to_be_visible()
    assert Job.objects.get(pk=job.pk).command == "echo one\necho two\n"


def test_all_jobs_are_exported_as_a_file(visitor):
    factories.job(namespace="exports", name="report")
    page = visitor("editor").go("/admin/scheduling/job/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export", exact=True).click()
    assert "name: report" in download.value.path().read_text()
