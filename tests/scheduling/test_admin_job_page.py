"""The page of one job: how it goes, when it runs next, and its definition in a tab."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from access.models import AuditEntry
from scheduling.admin.run_pictures import attempts_picture, runs_picture, trend_words
from scheduling.models import Job, Task, TaskInstance
from scheduling.services.calendars import create_calendar
from scheduling.services.definitions import archive_schedule
from scheduling.services.run_history import Run, RunHistory, Trend
from tests import factories
from tests.admin_client import browser_with, client_of, form_values

pytestmark = pytest.mark.django_db
ADD = reverse("admin:scheduling_job_add")
QUERIES = 16


def page(job):
    return reverse("admin:scheduling_job_change", args=[job.pk])


@pytest.fixture
def browser():
    return client_of(superuser=True)


def ran(job, *, secs=5.0, attempts=1, status="completed", ago=60):
    now = timezone.now()
    task = factories.task(job=job, now=now)
    for number in range(1, attempts + 1):
        begin = now - timedelta(seconds=ago)
        TaskInstance.objects.create(
            task=task,
            job=job,
            namespace=job.namespace,
            attempt=number,
            token=task.pk * 1000 + number,
            status=status if number == attempts else "failed",
            start_at=begin,
            started_at=begin,
            completed_at=begin + timedelta(seconds=secs),
        )
    Task.objects.filter(pk=task.pk).update(status=status, completed_at=now, attempt_count=attempts)
    return task


def run(secs, *, status="completed", ended_as=None, outcome="fired", number=1):
    return Run(
        task_id=number,
        status=status,
        outcome=outcome,
        scheduled_at=timezone.now(),
        attempts=1,
        ended_as=ended_as or status,
        secs=secs,
        agent="worker",
        exit_code=None,
    )


def picture(*runs):
    return runs_picture(RunHistory(runs=runs, attempts=(), trend=None))


# --- what the page says -------------------------------------------------------------------------------


def test_it_shows_each_run_as_a_bar_that_leads_to_its_task(browser):
    job = factories.job()
    task = ran(job)
    response = browser.get(page(job))
    bars = response.context["runs"]["bars"]
    assert [(bar["task"], bar["kind"]) for bar in bars] == [(task.pk, "completed")]
    link = f'href="{reverse("admin:scheduling_task_change", args=[task.pk])}"'
    # As a bar, in the table beside it, and below among the attempts.
    assert response.content.decode().count(link) == 3


def test_the_retries_of_a_task_stand_in_one_row(browser):
    job = factories.job()
    task = ran(job, attempts=3)
    (row,) = browser.get(page(job)).context["attempts"]["rows"]
    assert (row["task"], [bar["number"] for bar in row["bars"]]) == (task.pk, [1, 2, 3])
    assert [bar["kind"] for bar in row["bars"]] == ["failed", "failed", "completed"]


def test_the_next_instants_of_all_schedules_stand_in_one_list_in_the_zone_of_each(browser):
    job = factories.job()
    for name, zone in (("here", "Europe/Berlin"), ("there", "America/New_York")):
        factories.schedule(
            job=job,
            now=timezone.now(),
            name=name,
            kind="cron",
            cron_expression="0 * * * *",
            timezone=zone,
        )
    instants = browser.get(page(job)).context["instants"]
    assert len(instants) == 10
    assert [each["at"] for each in instants] == sorted(each["at"] for each in instants)
    assert {each["rule"] for each in instants} == {"here", "there"}
    offsets = {re.search(r"([+-]\d{4})</time>", each["local"])[1] for each in instants}
    assert offsets <= {"+0100", "+0200", "-0400", "-0500"}


def test_an_instant_that_the_calendar_forbids_says_so(browser):
    calendar = create_calendar(name="never", windows=[{"weekdays": [], "from": "00:00", "to": "00:00"}])
    schedule = factories.schedule(now=timezone.now(), calendar=calendar)
    assert "outside the allowed times" in browser.get(page(schedule.job)).context["instants"][0]["fate"]


def test_a_disabled_job_says_that_its_schedules_do_not_run_it(browser):
    job = factories.job(enabled=False)
    factories.schedule(job=job, now=timezone.now())
    assert b"its schedules do not run it" in browser.get(page(job)).content


def test_what_is_disabled_or_waits_for_the_end_of_a_run_has_no_next_instant(browser):
    job = factories.job()
    factories.schedule(job=job, now=timezone.now(), status="disabled")
    waiting = factories.schedule(job=job, now=timezone.now(), interval_mode="delay")
    type(waiting).objects.filter(pk=waiting.pk).update(next_run_at=None)
    assert browser.get(page(job)).context["instants"] == []


def test_the_values_of_the_environment_are_not_on_the_page(browser):
    job = factories.job(environment={"PASSWORD": "hunter2"})
    content = browser.get(page(job)).content
    assert b"PASSWORD" in content
    assert b"hunter2" not in content


def test_what_differs_from_the_defaults_is_told_in_words(browser):
    job = factories.job(config={"retry_backoff": "linear", "labels": {"zone": "eu"}})
    facts = dict(browser.get(page(job)).context["command"])
    assert facts["Backoff"] == "linear: 1, 2, 3 … times the pause"
    assert facts["Labels"] == "zone=eu"
    assert "Keep the output" not in facts


def test_it_renews_itself_and_the_form_does_not(browser):
    job = factories.job()
    assert b'data-refresh-secs="5"' in browser.get(page(job)).content
    form = browser.get(page(job), {"tab": "definition"}).content
    assert b"data-refresh-secs" not in form
    assert b'id="job_form"' in form


def test_a_refused_change_comes_back_as_the_form(browser):
    job = factories.job()
    values = form_values(browser.get(page(job))) | {"timeout_secs": "0"}
    assert b'id="job_form"' in browser.post(page(job), values).content


def test_saving_leads_to_the_page_and_continuing_to_the_form(browser):
    job = factories.job()
    values = form_values(browser.get(page(job)))
    assert browser.post(page(job), values | {"_save": ""})["Location"] == page(job)
    assert browser.post(page(job), values | {"_continue": ""})["Location"] == f"{page(job)}?tab=definition"


def test_it_takes_as_many_queries_for_many_runs_and_schedules_as_for_few(browser, django_assert_num_queries):
    job = factories.job()

    def fill(count):
        for _ in range(count):
            ran(job, attempts=2)
            factories.schedule(job=job, now=timezone.now())

    fill(10)
    browser.get(page(job))
    with django_assert_num_queries(QUERIES):
        browser.get(page(job))
    fill(15)
    with django_assert_num_queries(QUERIES):
        browser.get(page(job))


def test_who_sees_no_attempts_sees_no_runs():
    job = factories.job()
    ran(job)
    response = client_of("scheduling.view_job", "scheduling.view_task").get(page(job))
    assert response.status_code == 200
    assert "runs" not in response.context


def test_runs_of_a_namespace_that_one_does_not_see_are_not_shown():
    job = factories.job(namespace="ours")
    task = ran(job)
    ran(job)
    Task.objects.filter(pk=task.pk).update(namespace="theirs")
    TaskInstance.objects.filter(task=task).update(namespace="theirs")
    context = browser_with(("viewer", "ours")).get(page(job)).context
    assert len(context["runs"]["bars"]) == 1
    assert task.pk not in [row["task"] for row in context["attempts"]["rows"]]


# --- duplicating --------------------------------------------------------------------------------------


def test_a_copy_begins_with_all_that_the_job_has_and_is_disabled(browser):
    job = factories.job(
        name="backup",
        namespace="ops",
        tags=["a"],
        environment={"STAGE": "test"},
        config={"labels": {"zone": "eu"}, "resource_limits": {"max_memory_mb": 64}},
    )
    url = browser.get(page(job)).context["copy_url"]
    browser.post(ADD, form_values(browser.get(url)))
    copy = Job.objects.get(name="backup copy")
    assert (copy.namespace, copy.enabled, copy.tags) == ("ops", False, ["a"])
    assert (copy.config, copy.environment) == (job.config, job.environment)


def copy_with_schedules(browser, job, **fields):
    values = form_values(browser.get(f"{ADD}?copy_of={job.pk}"))
    return browser.post(f"{ADD}?copy_of={job.pk}", values | {"with_schedules": "on"} | fields, follow=True)


def test_a_copy_takes_the_schedules_along_disabled_if_one_says_so(browser):
    job = factories.job(name="backup")
    calendar = create_calendar(name="office", namespace=job.namespace)
    factories.schedule(
        job=job,
        kind="cron",
        cron_expression="~ 3 * * *",
        timezone="Europe/Berlin",
        calendar=calendar,
        parameters={"day": 1},
        jitter_secs=7,
    )
    factories.schedule(job=job, kind="interval", interval_secs=60)
    archive_schedule(schedule_id=factories.schedule(job=job).pk, now=factories.NOW)
    response = copy_with_schedules(browser, job)
    assert b"2 schedules were copied; they are disabled." in response.content
    copy = Job.objects.get(name="backup copy")
    first, second = copy.schedules.order_by("pk")
    assert (first.status, first.next_run_at, first.run_count) == ("disabled", None, 0)
    assert (first.cron_expression, first.timezone, first.calendar) == ("~ 3 * * *", "Europe/Berlin", calendar)
    assert (first.parameters, first.jitter_secs) == ({"day": 1}, 7)
    assert first.seed != job.schedules.order_by("pk")[0].seed
    assert (second.kind, second.interval_secs, second.status) == ("interval", 60, "disabled")
    assert job.schedules.filter(status="enabled").count() == 2
    written = AuditEntry.objects.filter(action="schedule.create", subject_id__in=[first.pk, second.pk])
    assert set(written.values_list("actor", flat=True)) == {"root"}


def test_a_copy_takes_no_schedules_along_unless_one_says_so(browser):
    job = factories.job(name="backup")
    factories.schedule(job=job)
    values = form_values(browser.get(f"{ADD}?copy_of={job.pk}"))
    browser.post(f"{ADD}?copy_of={job.pk}", values)
    assert not Job.objects.get(name="backup copy").schedules.exists()


def test_schedules_are_offered_where_there_are_some_and_one_may_add_them(browser):
    job, scheduled = factories.job(namespace="ours"), factories.job(namespace="ours")
    factories.schedule(job=scheduled)

    def offers(browser, job):
        return "with_schedules" in browser.get(f"{ADD}?copy_of={job.pk}").context["adminform"].form.fields

    assert offers(browser, scheduled)
    assert not offers(browser, job)
    assert not offers(client_of("scheduling.view_job", "scheduling.add_job"), scheduled)
    assert "with_schedules" not in browser.get(ADD).context["adminform"].form.fields


def test_schedules_whose_calendar_stays_behind_keep_the_copy_from_being_made(browser):
    job = factories.job(name="backup")
    factories.schedule(job=job, calendar=create_calendar(name="office", namespace=job.namespace))
    response = copy_with_schedules(browser, job, namespace="elsewhere")
    assert b"the calendar belongs to another namespace" in response.content
    assert not Job.objects.filter(name="backup copy").exists()


def test_nobody_copies_schedules_into_a_namespace_where_they_may_add_none():
    job = factories.job(name="backup", namespace="ours")
    factories.schedule(job=job)
    browser = browser_with(("editor", "ours"))
    copy_with_schedules(browser, job, namespace="theirs")
    assert not Job.objects.filter(name="backup copy").exists()


@pytest.mark.parametrize("number", ["x", "0", "99999999999999999999", "²", ""])
def test_a_copy_of_nothing_is_an_empty_form(browser, number):
    response = browser.get(ADD, {"copy_of": number})
    assert response.status_code == 200
    assert not response.context["adminform"].form["name"].value()


def test_nobody_copies_a_job_that_they_do_not_see():
    job = factories.job(namespace="theirs", command="echo secret", args=[])
    response = browser_with(("editor", "ours")).get(ADD, {"copy_of": job.pk})
    assert b"echo secret" not in response.content


def test_who_may_only_look_is_offered_nothing_to_do():
    job = factories.job()
    response = browser_with(("viewer", "*")).get(page(job))
    assert [response.context[name] for name in ("run_url", "copy_url", "archive_url", "buttons")] == [
        "",
        "",
        "",
        [],
    ]


# --- pictures -----------------------------------------------------------------------------------------


def test_bars_are_as_high_as_runs_are_long():
    bars = picture(run(2.0), run(4.0))["bars"]
    assert [bar["height"] for bar in bars] == ["50.0", "100.0"]


def test_a_run_that_takes_far_longer_than_nearly_all_is_cut_and_told():
    context = picture(*(run(10.0) for _ in range(40)), run(1000.0))
    assert context["bars"][0]["height"] == "80.0"
    assert context["bars"][-1]["is_cut"]
    assert context["cut"] == "The picture ends at 12.50 s; 1 run took longer."


def test_a_failure_by_time_or_by_loss_looks_different_from_one_of_the_command():
    runs = [run(1.0, status="failed", ended_as=way) for way in ("failed", "timeout", "lost")]
    context = picture(*runs)
    assert [bar["kind"] for bar in context["bars"]] == ["failed", "timeout", "lost"]
    assert {item["kind"] for item in context["legend"]} == {"failed", "timeout", "lost"}


def test_what_never_ran_is_a_stub_that_says_why():
    (bar,) = picture(run(None, status="cancelled", outcome="skipped_calendar"))["bars"]
    assert bar["kind"] == "cancelled"
    assert "skipped by calendar" in bar["facts"]


def test_cancelled_runs_count_neither_as_done_nor_as_failed():
    context = picture(run(1.0), run(1.0, status="failed"), run(None, status="cancelled"))
    assert (context["success"], context["ended_count"]) == ("50 %", 2)


@pytest.mark.parametrize(
    ("secs", "said"),
    [
        (13.0, "30 % slower than the week before: median 13.00 s, then 10.00 s (12 and 11 runs compared)."),
        (5.0, "50 % faster than the week before"),
        (10.4, "About as fast as the week before"),
    ],
)
def test_a_trend_is_a_sentence(secs, said):
    assert trend_words(Trend(secs=secs, secs_before=10.0, count=12, count_before=11)).startswith(said)


def test_an_attempt_stands_where_it_began_after_the_instant_of_its_run():
    now = timezone.now()
    task = factories.task()
    common = {"task": task, "job": task.job, "namespace": "default", "start_at": now}
    first = TaskInstance(
        **common,
        attempt=1,
        token=1,
        status="failed",
        created_at=now,
        started_at=now,
        completed_at=now + timedelta(seconds=2),
    )
    second = TaskInstance(
        **common,
        attempt=2,
        token=2,
        status="running",
        created_at=now,
        started_at=now + timedelta(seconds=6),
    )
    (row,) = attempts_picture([second, first], now=now + timedelta(seconds=8))["rows"]
    assert [(bar["left"], bar["width"]) for bar in row["bars"]] == [("0.00", "25.00"), ("75.00", "25.00")]


def test_a_job_without_a_script_says_so(browser):
    job = factories.job(args=[])
    assert b"It has no script yet." in browser.get(page(job)).content
