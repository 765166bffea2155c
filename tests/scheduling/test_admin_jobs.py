import re

import pytest
from django.urls import reverse
from django.utils import timezone

from scheduling.models import Job, Schedule, Task
from scheduling.services.definitions import update_job
from scheduling.services.planning import run_once
from tests import factories
from tests.admin_client import client_of, form_values

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_job_changelist")
ADD = reverse("admin:scheduling_job_add")


def page(job):
    return reverse("admin:scheduling_job_change", args=[job.pk])


@pytest.fixture
def browser():
    return client_of(superuser=True)


def test_the_add_form_creates_a_job_with_every_field_of_its_configuration(browser):
    values = form_values(browser.get(ADD)) | {
        "name": "backup",
        "namespace": "ops",
        "tags": "nightly, finance",
        "cmd": "python",
        "command": "print(1)\r\nprint(2)",
        "environment": "STAGE=test\r\nGREETING=a=b",
        "timeout_secs": "60",
        "max_retries": "3",
        "retry_backoff": "linear",
        "labels": "zone=eu",
        "max_memory_mb": "512",
        "concurrency_policy": "forbid",
    }
    assert browser.post(ADD, values).status_code == 302
    job = Job.objects.get(name="backup")
    assert (job.namespace, job.tags, job.created_by) == ("ops", ["nightly", "finance"], "root")
    assert job.command == "print(1)\nprint(2)"
    assert job.environment == {"STAGE": "test", "GREETING": "a=b"}
    assert job.config["timeout_secs"] == 60
    assert job.config["labels"] == {"zone": "eu"}
    limits = job.config["resource_limits"]
    assert {name: limit for name, limit in limits.items() if limit is not None} == {"max_memory_mb": 512}
    assert job.task_config["args"] == ["-c", "print(1)\nprint(2)"]
    assert job.max_concurrency == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", " ", "required"),
        ("cmd", "perl", "valid choice"),
        ("args", '["-c", 1]', "JSON list of strings"),
        ("environment", "no equals sign", "NAME=value"),
        ("environment", "LD_PRELOAD=x", "reserved"),
        ("labels", "a=1\na=2", "given twice"),
        ("timeout_secs", "0", "greater than or equal to 1"),
        ("max_retries", "-1", "greater than or equal to 0"),
        ("max_cpu_percent", "x", "whole number"),
        ("tags", "x" * 300, "list of strings"),
        ("working_dir", "/" * 5000, "4096"),
    ],
)
def test_a_bad_value_is_reported_at_its_field_and_nothing_is_saved(browser, field, value, message):
    values = form_values(browser.get(ADD)) | {"name": "job", field: value}
    response = browser.post(ADD, values)
    assert response.status_code == 200
    assert message in str(response.context["adminform"].form.errors[field])
    assert not Job.objects.exists()


def test_a_script_for_a_command_without_scripts_is_refused_at_the_script(browser):
    values = form_values(browser.get(ADD)) | {"name": "job", "cmd": "exec", "command": "echo"}
    assert "takes no script" in str(browser.post(ADD, values).context["adminform"].form.errors["command"])


def test_a_taken_name_is_reported_at_the_name(browser):
    factories.job(name="twice")
    values = form_values(browser.get(ADD)) | {"name": "twice", "command": "true"}
    assert "exists already" in str(browser.post(ADD, values).context["adminform"].form.errors["name"])


def test_saving_the_untouched_form_changes_nothing(browser):
    job = factories.job(
        args=["-c", "echo 1\necho 2", ""],
        environment={"TEXT": "two\nlines"},
        config={"labels": {"a": "b=c"}, "resource_limits": {"max_memory_mb": 64}},
    )
    browser.post(page(job), form_values(browser.get(page(job))))
    after = Job.objects.get(pk=job.pk)
    assert (after.config, after.environment, after.tags) == (job.config, job.environment, job.tags)


def test_only_what_was_changed_in_the_form_is_written(browser):
    job = factories.job()
    values = form_values(browser.get(page(job))) | {"timeout_secs": "77"}
    update_job(job_id=job.pk, now=timezone.now(), description="by somebody else", config={"max_retries": 5})
    browser.post(page(job), values)
    job.refresh_from_db()
    assert (job.description, job.config["max_retries"]) == ("by somebody else", 5)
    assert job.config["timeout_secs"] == 77


def test_run_now_creates_a_task_with_parameters_and_shows_it(browser):
    job = factories.job()
    url = reverse("admin:scheduling_job_run", args=[job.pk])
    assert browser.get(url).status_code == 200
    response = browser.post(url, {"parameters": '{"day": "monday"}', "priority": "7"})
    task = Task.objects.get()
    assert response["Location"] == reverse("admin:scheduling_task_change", args=[task.pk])
    assert (task.parameters, task.priority, task.created_by) == ({"day": "monday"}, 7, "root")


@pytest.mark.parametrize("parameters", ["[1]", "{", '{"a": NaN}', '{"a": "\\u0000"}', '{"a":1,"a":2}'])
def test_parameters_that_are_no_sound_json_object_are_refused(browser, parameters):
    url = reverse("admin:scheduling_job_run", args=[factories.job().pk])
    response = browser.post(url, {"parameters": parameters, "priority": "0"})
    assert response.context["form"].errors["parameters"]
    assert not Task.objects.exists()


def test_a_disabled_job_runs_only_by_force(browser):
    url = reverse("admin:scheduling_job_run", args=[factories.job(enabled=False).pk])
    refused = browser.post(url, {"parameters": "", "priority": "0"})
    assert "disabled" in str(refused.context["form"].errors)
    browser.post(url, {"parameters": "", "priority": "0", "force": "on"})
    assert Task.objects.count() == 1


def test_disabling_skips_what_waits_as_the_service_does(browser):
    job = factories.job()
    factories.schedule(job=job, now=timezone.now())
    run_once(now=timezone.now(), horizon_secs=15, catch_up_secs=60)
    browser.post(reverse("admin:scheduling_job_disable", args=[job.pk]))
    job.refresh_from_db()
    assert not job.enabled
    assert set(Task.objects.values_list("outcome", flat=True)) == {"skipped_disabled"}
    browser.post(reverse("admin:scheduling_job_enable", args=[job.pk]))
    job.refresh_from_db()
    assert job.enabled


def test_deleting_says_that_it_archives_and_keeps_the_history(browser):
    job = factories.job()
    factories.schedule(job=job)
    task = factories.task(job=job)
    url = reverse("admin:scheduling_job_delete", args=[job.pk])
    assert b"It is archived" in browser.get(url).content
    browser.post(url, {"post": "yes"})
    assert not Job.objects.present().exists()
    assert Task.objects.get(pk=task.pk).status == "cancelled"
    assert browser.get(page(job)).status_code == 302
    assert b"archived" in browser.get(reverse("admin:scheduling_task_change", args=[task.pk])).content


def test_the_list_shows_the_schedules_in_words(browser):
    factories.schedule(kind="cron", cron_expression="30 2 * * *", timezone="Europe/Berlin")
    assert b"every day at 02:30 (Europe/Berlin)" in browser.get(LIST).content


def test_the_list_writes_out_only_some_of_many_schedules(browser):
    job = factories.job()
    for secs in range(11, 17):
        factories.schedule(job=job, kind="interval", interval_secs=secs)
    content = browser.get(LIST).content.decode()
    assert "every 14 seconds" in content
    assert "every 15 seconds" not in content
    assert ">…</span>" in content


def test_the_list_takes_as_many_queries_for_thirty_jobs_as_for_one(browser, django_assert_num_queries):
    def fill(count):
        for _ in range(count):
            job = factories.job()
            factories.schedule(job=job)
            factories.task(job=job)

    fill(1)
    browser.get(LIST)
    with django_assert_num_queries(9):
        browser.get(LIST)
    fill(29)
    with django_assert_num_queries(9):
        assert browser.get(LIST).context["cl"].result_count == 30


def test_who_may_only_look_sees_the_job_and_can_change_nothing():
    job = factories.job()
    browser = client_of("scheduling.view_job")
    response = browser.get(page(job))
    assert response.status_code == 200
    assert b"Run now" not in response.content
    for name in ("run", "enable", "disable"):
        assert browser.post(reverse(f"admin:scheduling_job_{name}", args=[job.pk])).status_code == 403
    assert browser.post(page(job), {"name": "other"}).status_code == 403
    assert not Task.objects.exists()


def test_who_may_see_jobs_alone_sees_neither_schedules_nor_tasks():
    job = factories.job()
    factories.schedule(job=job, kind="interval", interval_secs=5)
    task = factories.task(job=job)
    link = reverse("admin:scheduling_task_change", args=[task.pk]).encode()
    browser = client_of("scheduling.view_job")
    for url in (page(job), LIST):
        content = browser.get(url).content
        assert link not in content
        assert b"every 5 seconds" not in content


def test_a_button_needs_a_post(browser):
    job = factories.job()
    assert browser.get(reverse("admin:scheduling_job_disable", args=[job.pk])).status_code == 405
    job.refresh_from_db()
    assert job.enabled


def test_a_button_needs_the_token_against_forgery():
    browser = client_of(superuser=True)
    browser.handler.enforce_csrf_checks = True
    job = factories.job()
    assert browser.post(reverse("admin:scheduling_job_disable", args=[job.pk])).status_code == 403
    job.refresh_from_db()
    assert job.enabled


def test_the_page_of_a_job_links_to_a_schedule_form_for_it(browser):
    job = factories.job()
    url = browser.get(page(job)).context["add_schedule_url"]
    assert browser.get(url).context["adminform"].form["job"].value() == str(job.pk)
    assert not Schedule.objects.exists()


def test_all_errors_are_listed_above_the_form_whose_tabs_may_hide_their_fields(browser):
    values = form_values(browser.get(ADD)) | {"name": "job", "max_retries": "-1", "max_memory_mb": "0"}
    content = browser.post(ADD, values).content.decode()
    above = content[content.index("hf-errors") : content.index("Namespace")]
    assert "Retries" in above
    assert "Memory limit in MiB" in above


def test_several_are_archived_after_a_question_that_says_so(browser):
    chosen = [factories.job().pk, factories.job().pk]
    factories.job()
    action = {"action": "archive_selected", "_selected_action": chosen}
    assert b"delete_selected" not in browser.get(LIST).content
    assert b"what they ran stays readable" in browser.post(LIST, action).content
    assert Job.objects.present().count() == 3
    browser.post(LIST, action | {"confirmed": "yes"})
    assert Job.objects.present().count() == 1
    assert Job.objects.count() == 3


def test_the_head_of_a_page_calls_a_job_by_its_very_name(browser):
    job = factories.job(name="hello", namespace="default")
    head = browser.get(page(job)).content.decode().partition("</header>")[0]
    assert re.search(r">\s*default/hello\s*</a>", head)
    assert re.search(r">\s*Jobs\s*</a>", head)
