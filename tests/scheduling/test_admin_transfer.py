"""Definitions go out of the admin as a file and come in as one, after a look at what would change."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from scheduling.definition_file import MAX_BYTES, read
from scheduling.models import BulkAction, Job
from scheduling.services import bulk, importing
from tests import factories, people
from tests.admin_client import browser_with, client_of
from tests.factories import ANN, NOW

pytestmark = pytest.mark.django_db
JOBS = reverse("admin:scheduling_job_changelist")
IMPORT = reverse("admin:scheduling_job_import_definitions")
EXPORT = reverse("admin:scheduling_job_export_definitions")
FILE = """hetuflow: 1
jobs:
- {name: a, config: {cmd: sh, args: [-c, date]}, environment: {TOKEN: hush}}
- {name: b, config: {cmd: sh, args: [-c, date]}}
- {name: c, config: {cmd: cobol}}
"""


@pytest.fixture
def browser(monkeypatch):
    # On a busy machine, too, a few entries are done before the next page comes.
    monkeypatch.setattr("scheduling.admin.transfer._AT_ONCE_SECS", 60)
    return client_of(superuser=True)


def text_of(response):
    return b"".join(response.streaming_content).decode()


def upload(text=FILE):
    return {"file": SimpleUploadedFile("jobs.yaml", text if isinstance(text, bytes) else text.encode())}


def counted(content):
    """Return what the tabs of an import say."""
    return {
        label.strip(): int(number)
        for label, number in re.findall(r'<a href="\?fate=[^"]*"[^>]*>([^<]*)<b>(\d+)</b>', content)
    }


def test_a_file_is_checked_shown_and_imported(browser):
    factories.job(name="a", cmd="sh", args=["-c", "date"], environment={"TOKEN": "old"})
    response = browser.post(IMPORT, upload(), follow=True)
    content = response.content.decode()
    assert counted(content) == {"refused": 1, "change": 1, "create": 1}
    assert "cobol" in content
    assert set(Job.objects.values_list("name", flat=True)) == {"a"}
    content = browser.get(f"{response.request['PATH_INFO']}?fate=change").content.decode()
    assert re.search(r"old</del>.*hush</ins>", content)

    check = BulkAction.objects.get()
    done = browser.post(reverse("admin:scheduling_bulkaction_import", args=[check.pk]), follow=True)
    content = done.content.decode()
    assert counted(content) == {"change": 1, "create": 1}
    assert reverse("admin:scheduling_job_change", args=[Job.objects.get(name="a").pk]) in content
    assert Job.objects.get(name="a").environment == {"TOKEN": "hush"}
    assert Job.objects.filter(name="b").exists()


def test_a_text_will_do_and_what_is_as_the_file_says_cannot_be_imported(browser):
    browser.post(IMPORT, {"text": FILE}, follow=True)
    check = BulkAction.objects.get()
    browser.post(reverse("admin:scheduling_bulkaction_import", args=[check.pk]))
    content = browser.post(IMPORT, {"text": FILE}, follow=True).content.decode()
    assert counted(content) == {"refused": 1, "no change": 2}
    assert "Import this" not in content


@pytest.mark.parametrize(
    ("posted", "problem"),
    [
        ({}, "Choose a file, or paste its text."),
        ({"text": FILE, **upload()}, "Choose a file, or paste its text."),
        (upload("hetuflow: 1\n: :"), "Line 2"),
        (upload(b"\xff"), "Byte 0 is not UTF-8."),
        (upload(b" " * (MAX_BYTES + 1)), "The file is larger than 8 MiB."),
        ({"text": "hetuflow: 2"}, "The version of the file, 2, is not known here"),
        ({"text": "hetuflow: 1\njobs: [{name: <b>}]"}, "&quot;config&quot; is a required property"),
    ],
)
def test_what_is_no_file_of_definitions_is_told_at_the_form(browser, posted, problem):
    assert problem in browser.post(IMPORT, posted).content.decode()
    assert not BulkAction.objects.exists()


def test_a_check_of_many_is_followed_and_its_entries_are_paged(browser, monkeypatch):
    monkeypatch.setattr("scheduling.admin.transfer._AT_ONCE_SECS", -1)
    many = "".join(f"- {{name: j{number:03}, config: {{cmd: sh}}}}\n" for number in range(120))
    content = browser.post(IMPORT, upload(f"hetuflow: 1\njobs:\n{many}"), follow=True).content.decode()
    assert "1 of 120 checked" in content
    assert "data-refresh-secs" in content
    assert "Import this" not in content
    while bulk.run_once(now=NOW):
        pass
    page = reverse("admin:scheduling_bulkaction_change", args=[BulkAction.objects.get().pk])
    names, url = [], page
    while url:
        content = browser.get(url).content.decode()
        names += re.findall(r"default/(j\d+)", content)
        more = re.search(r'href="(\?fate=create&amp;after=\d+)"', content)
        url = more and page + more[1].replace("&amp;", "&")
    assert names == [f"j{number:03}" for number in range(120)]
    assert "Import this" in content


def test_nonsense_in_the_address_shows_the_first_page(browser):
    browser.post(IMPORT, upload())
    page = reverse("admin:scheduling_bulkaction_change", args=[BulkAction.objects.get().pk])
    for query in ("fate=nonsense&after=-1", "fate=keep", f"after={'9' * 40}", "after=²"):
        assert browser.get(f"{page}?{query}").status_code == 200


def test_all_jobs_are_exported_or_those_that_are_selected(browser):
    jobs = [factories.job(name=name) for name in ("b", "a", "c")]
    response = browser.get(EXPORT)
    assert response["Content-Type"] == "application/yaml; charset=utf-8"
    assert re.search(r'attachment; filename="hetuflow-\d{4}-\d\d-\d\d.yaml"', response["Content-Disposition"])
    assert [entry.name for entry in read(text_of(response).encode())] == [
        "default/a",
        "default/b",
        "default/c",
    ]
    chosen = {"action": "export_selected", "_selected_action": [jobs[0].pk, jobs[2].pk]}
    assert [entry.name for entry in read(text_of(browser.post(JOBS, chosen)).encode())] == [
        "default/b",
        "default/c",
    ]


def test_nothing_to_export_is_a_file_that_says_so(browser):
    assert text_of(browser.get(EXPORT)) == "hetuflow: 1\n"


def test_who_may_change_jobs_exports_those_and_nobody_else_any():
    factories.job(name="ours", namespace="ours", environment={"TOKEN": "hush"})
    factories.job(name="theirs", namespace="theirs")
    editor = browser_with(("editor", "ours"), ("viewer", "theirs"))
    assert [entry.name for entry in read(text_of(editor.get(EXPORT)).encode())] == ["ours/ours"]
    for role in ("viewer", "operator"):
        browser = browser_with((role, "ours"))
        assert browser.get(EXPORT).status_code == 403
        assert browser.get(IMPORT).status_code == 403
        content = browser.get(JOBS).content.decode()
        assert "export_selected" not in content
        assert IMPORT not in content
        assert EXPORT not in content


def test_an_import_is_its_owners():
    user = people.with_role("editor")
    action = importing.begin_check(entries=read(FILE.encode()), user=user, by=ANN)
    bulk.work(action, for_secs=60)
    other = browser_with(("editor", "*"))
    url = reverse("admin:scheduling_bulkaction_import", args=[action.pk])
    assert other.post(url).status_code in (302, 403, 404)
    assert BulkAction.objects.count() == 1
    assert not Job.objects.exists()


def test_the_number_of_statements_does_not_grow_with_the_entries(browser, django_assert_max_num_queries):
    many = "".join(f"- {{name: j{number:03}, config: {{cmd: sh}}}}\n" for number in range(60))
    browser.post(IMPORT, upload(f"hetuflow: 1\njobs:\n{many}"))
    page = reverse("admin:scheduling_bulkaction_change", args=[BulkAction.objects.get().pk])
    with django_assert_max_num_queries(20):
        browser.get(page)
