"""Editors of scripts and JSON, and the form of a job that is looked at while it is filled in."""

import hashlib
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.exceptions import ValidationError
from django.urls import reverse

from scheduling.admin.fields import parse_json
from scheduling.models import Job
from tests import factories
from tests.admin_client import browser_with, client_of, form_values

pytestmark = pytest.mark.django_db
ADD = reverse("admin:scheduling_job_add")
CHECK = reverse("admin:scheduling_job_check")
# npm pack prismjs@1.30.0, package/components/prism-*.min.js
PRISM = {
    "bash": "6260814110e5182f2956e3bd257429548d9dbf2a9b66a63719b26cf9fac966a7",
    "clike": "c76ba4e240932bdc75546be30e550f5ba5e13815ff71511c76e9e27ac3072444",
    "core": "6caad316dd991f24f8004e0b9c19c055cb5829ff65e973fbee406f96d81b8e7e",
    "javascript": "0345ea83e12b7b974e953c79a64dea35a40308309449db70b82020fb688ac321",
    "json": "956d86baa5ae7ec4106758f354ac2d140bdcd7fc103dece02f73ed12b8d663e4",
    "python": "ed4385685bcf2d4935c8dbbab4bde16603da1329e092d2bf36c3dadd67e9a85c",
}


@pytest.fixture
def browser():
    return client_of(superuser=True)


def page(job, tab="definition"):
    return f"{reverse('admin:scheduling_job_change', args=[job.pk])}?tab={tab}"


def check_of(job):
    return reverse("admin:scheduling_job_check_change", args=[job.pk])


def problems(response):
    return {problem["field"]: problem["text"] for problem in response.context["problems"]}


def test_the_script_is_edited_in_the_language_of_the_command_that_is_chosen(browser):
    content = browser.get(ADD).content.decode()
    assert 'data-editor="bash" data-editor-hint="Tab indents.' in content
    assert 'data-editor-by="id_cmd"' in content
    assert "hetuflow/editor.js" in content


def test_json_is_edited_where_it_is_asked_for(browser):
    job = factories.job()
    for url in (
        page(job),
        reverse("admin:scheduling_job_run", args=[job.pk]),
        reverse("admin:scheduling_schedule_add"),
    ):
        content = browser.get(url).content.decode()
        assert 'data-editor="json"' in content
        assert "hetuflow/editor.js" in content, url


def test_colours_come_from_the_files_that_were_published():
    found = {
        name: hashlib.sha256(Path(finders.find(f"vendor/prism-1.30.0/prism-{name}.min.js")).read_bytes())
        for name in PRISM
    }
    assert {name: digest.hexdigest() for name, digest in found.items()} == PRISM


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6: Expecting ':' delimiter"),
        ("{", "line 1, column 2"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "duplicate key"),
    ],
)
def test_what_is_wrong_with_json_is_said_with_its_place(text, said):
    with pytest.raises(ValidationError) as caught:
        parse_json(text)
    assert said in caught.value.messages[0]


def test_a_form_is_looked_at_while_it_is_filled_in_and_nothing_is_stored(browser):
    job = factories.job()
    values = form_values(browser.get(page(job)))
    assert problems(browser.post(check_of(job), values)) == {}
    bad = {"timeout_secs": "0", "environment": "LD_PRELOAD=x", "parameters_schema": "{"}
    found = problems(browser.post(check_of(job), values | bad))
    assert found.keys() == {"timeout_secs", "parameters_schema"}
    assert "line 1, column 2" in found["parameters_schema"]
    assert Job.objects.get().config == job.config


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"environment": "LD_PRELOAD=x"}, "environment", "reserved"),
        ({"parameters_schema": '{"type": "object", "typo": 1}'}, "parameters_schema", "typo"),
        ({"cmd": "exec", "args": "", "command": "echo"}, "command", "takes no script"),
        ({"working_dir": "/" * 5000}, "working_dir", "4096"),
    ],
)
def test_what_only_the_service_knows_is_said_as_well(browser, values, field, said):
    job = factories.job()
    found = problems(browser.post(check_of(job), form_values(browser.get(page(job))) | values))
    assert said in found[field]


def test_who_has_not_come_to_a_field_yet_is_not_scolded_for_it(browser):
    assert problems(browser.post(CHECK, form_values(browser.get(ADD)))) == {}
    found = problems(browser.post(CHECK, form_values(browser.get(ADD)) | {"max_retries": "x"}))
    assert found.keys() == {"max_retries"}


def test_a_form_is_looked_at_for_those_alone_who_may_save_it():
    job = factories.job(namespace="ours")
    assert browser_with(("viewer", "ours")).post(check_of(job), {}).status_code == 403
    assert browser_with(("editor", "theirs")).post(check_of(job), {}).status_code == 302
    assert b"data-live-url" not in browser_with(("viewer", "ours")).get(page(job)).content
    assert client_of(superuser=True).get(check_of(job)).status_code == 405


def test_the_command_on_the_page_is_coloured_and_stays_while_the_page_is_renewed(browser):
    job = factories.job(cmd="python", args=[], command="print(1)")
    content = browser.get(page(job, "")).content.decode()
    assert 'data-keep data-highlight="python">print(1)</pre>' in content
