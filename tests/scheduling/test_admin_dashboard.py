import re
from datetime import datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from scheduling.admin import overview
from scheduling.models import Backfill, Schedule, Task, TaskInstance
from scheduling.services import run_counts
from scheduling.services.backfills import create_backfill
from scheduling.services.calendars import freeze
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk, store_output
from tests import factories
from tests.admin_client import browser_with, client_of

pytestmark = pytest.mark.django_db
INDEX = reverse("admin:index")
PART = reverse("overview")
TASKS = reverse("admin:scheduling_task_changelist")


@pytest.fixture
def browser():
    return client_of(superuser=True)


def ended(status, *, hours_ago=0.5, job=None, **fields):
    task = factories.task(job=job)
    at = timezone.now() - timedelta(hours=hours_ago)
    Task.objects.filter(pk=task.pk).update(status=status, scheduled_at=at, completed_at=at, **fields)
    return task


def failed_with(output, *, job=None):
    """Let a task fail on an agent after it printed `output`."""
    agent, task = factories.agent(), factories.task(job=job, now=timezone.now())
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    attempt = TaskInstance.objects.get(task=task)
    key = AttemptKey(agent_id=agent.pk, instance_id=attempt.pk, token=attempt.token)
    store_output([Chunk(key=key, stream="stderr", offset=0, data=output, at=timezone.now())])
    now = timezone.now()
    TaskInstance.objects.filter(pk=attempt.pk).update(status="failed", exit_code=7, start_delay_ms=12.5)
    Task.objects.filter(pk=task.pk).update(status="failed", scheduled_at=now, completed_at=now)
    return attempt


def context_of(browser):
    overview.forget()
    return browser.get(INDEX).context


def part_of(browser):
    overview.forget()
    return browser.get(PART).content.decode()


def test_without_jobs_it_says_how_to_begin(browser):
    assert b"three steps to the first run" in browser.get(INDEX).content
    factories.job()
    assert b"three steps to the first run" not in browser.get(INDEX).content


def test_it_counts_agents_slots_and_tasks(browser):
    factories.agent(slots=4)
    factories.agent(slots=2)
    factories.task()
    context = context_of(browser)
    assert (context["online_count"], context["agent_count"], context["slot_count"]) == (2, 2, 6)
    assert (context["running_count"], context["waiting_count"]) == ("0", "1")


def test_it_says_why_tasks_wait_with_links_to_them(browser):
    wanting = factories.job(config={"labels": {"gpu": "yes"}})
    task = factories.task(job=wanting)
    other = factories.task(job=factories.job(name="other"))
    factories.agent()
    rows = {row["cause"]: row for row in context_of(browser)["waiting"]}
    assert (rows["no_agent"]["count"], rows["soon"]["count"]) == ("1", "1")
    (queue,) = rows["no_agent"]["queues"]
    assert queue["text"] == "bash with gpu=yes"
    listed = browser.get(queue["url"]).content.decode()
    assert f"#{task.pk}<" in listed
    assert f"#{other.pk}<" not in listed


@pytest.mark.parametrize("cause", ["early", "retry", "no_agent"])
def test_each_reason_leads_to_its_tasks_alone(cause, browser):
    later, tasks = timezone.now() + timedelta(hours=1), {}
    for name, status, due_at in (
        ("early", "pending", later),
        ("retry", "waiting_retry", later),
        ("no_agent", "pending", timezone.now()),
    ):
        tasks[name] = factories.task()
        Task.objects.filter(pk=tasks[name].pk).update(status=status, due_at=due_at)
    (row,) = [row for row in context_of(browser)["waiting"] if row["cause"] == cause]
    listed = browser.get(row["url"]).content.decode()
    assert [name for name, task in tasks.items() if f"#{task.pk}<" in listed] == [cause]


def test_it_says_what_plans_nothing(browser):
    broken, paused = factories.schedule(), factories.schedule()
    Schedule.objects.filter(pk=broken.pk).update(problem="BadTemplate: what")
    factories.schedule(job=factories.job(namespace="still"))
    freeze(namespace="still", now=timezone.now())
    at = timezone.now()
    made = create_backfill(schedule_id=paused.pk, range_from=at - timedelta(minutes=1), range_to=at, now=at)
    Backfill.objects.filter(pk=made.pk).update(status="paused")
    held = context_of(browser)["held"]
    assert [row["text"] for row in held] == [
        "1 schedule cannot be planned",
        "1 schedule is in a frozen namespace",
        "1 backfill is paused",
    ]
    for row in held:
        assert browser.get(row["url"]).context["cl"].result_count == 1


def test_it_shows_what_became_of_the_last_day_by_the_hour(browser):
    ended("completed")
    ended("completed", hours_ago=3)
    ended("failed", hours_ago=3)
    ended("cancelled", hours_ago=3, outcome="missed")
    ended("failed", hours_ago=30)
    context = context_of(browser)
    assert (context["done_count"], context["failed_count"], context["success_rate"]) == ("2", "1", "66.7 %")
    assert {item["kind"]: item["count"] for item in context["legend"]} == {
        "completed": "2",
        "active": "0",
        "left_out": "0",
        "missed": "1",
        "failed": "1",
    }
    assert len(context["hours"]) == 25
    (busiest,) = [hour for hour in context["hours"] if len(hour["parts"]) == 3]
    assert [part["kind"] for part in busiest["parts"]] == ["failed", "missed", "completed"]
    assert busiest["told"] == ["succeeded: 1", "missed: 1", "failed: 1"]


def test_a_bar_leads_to_the_tasks_of_its_hour(browser):
    task, other = ended("failed", hours_ago=3), ended("failed", hours_ago=9)
    bars = [hour for hour in context_of(browser)["hours"] if hour["parts"]]
    listed = browser.get(bars[1]["url"]).content.decode()
    assert f"#{task.pk}<" in listed
    assert f"#{other.pk}<" not in listed


@pytest.mark.parametrize(
    ("before", "trend", "said"),
    [
        ("failed", "up", "50.0 points better than the day before: 0.0 %"),
        ("completed", "down", "50.0 points worse than the day before: 100.0 %"),
        ("cancelled", "", None),
    ],
)
def test_the_rate_of_success_is_set_against_the_day_before(before, trend, said, browser):
    ended("completed")
    ended("failed")
    ended(before, hours_ago=30)
    context = context_of(browser)
    assert (context["trend"], context.get("trend_words")) == (trend, said)


def test_it_shows_how_late_commands_start(browser):
    assert context_of(browser)["delay"] is None
    failed_with(b"no\n")
    delay = context_of(browser)["delay"]
    assert (delay["p50"], delay["p99"], delay["count"], delay["is_late"]) == ("12 ms", "12 ms", "1", False)
    assert len(delay["p50_lines"]) == len(delay["p99_lines"]) == 1


def test_a_failure_is_shown_with_the_last_line_of_its_output(browser):
    attempt = failed_with(b"compiling\n\x1b[31mno space left\x07 <b>on device</b>\x1b[0m\n")
    part = part_of(browser)
    assert "no space left␇ &lt;b&gt;on device&lt;/b&gt;" in part
    assert "compiling" not in part
    assert "exit 7" in part
    assert reverse("admin:scheduling_taskinstance_change", args=[attempt.pk]) in part


def test_late_and_missed_instants_lead_to_their_task_and_ledger(browser):
    schedule = factories.schedule()
    task = ended(
        "cancelled", job=schedule.job, outcome="missed", reason="no scheduler planned it in time", instants=3
    )
    Task.objects.filter(pk=task.pk).update(schedule=schedule)
    late = ended("completed", outcome="late", hours_ago=0.2)
    ended("completed", outcome="fired")
    context, part = context_of(browser), part_of(browser)
    late_url = reverse("admin:scheduling_task_change", args=[late.pk])
    assert context["off_time"][0]["url"] == late_url
    assert len(context["off_time"]) == 2
    assert (context["off_time_count"], context["missed_count"]) == ("4", "3")
    assert reverse("admin:scheduling_task_change", args=[task.pk]) in part
    assert reverse("admin:scheduling_schedule_ledger", args=[schedule.pk]) in part
    assert "no scheduler planned it in time" in part


def test_it_links_to_the_next_runs_and_counts_down_to_them(browser):
    schedule = factories.schedule(now=timezone.now(), kind="interval", interval_secs=3600)
    part = part_of(browser)
    assert reverse("admin:scheduling_job_change", args=[schedule.job_id]) in part
    (run,) = context_of(browser)["next_runs"]
    instant = datetime.fromisoformat(run["instant"])
    assert timedelta(0) < instant - timezone.now() <= timedelta(hours=1)
    assert f'data-countdown="{run["instant"]}"' in part


def fill(count):
    for _ in range(count):
        failed_with(b"no\n")
        factories.schedule(now=timezone.now())
        ended("completed", outcome="late")
        factories.task(job=factories.job(config={"labels": {"zone": "b"}, "max_concurrency": 1}))


@pytest.mark.parametrize(("path", "afresh", "shared"), [(INDEX, 28, 5), (PART, 28, 5)])
def test_it_takes_as_many_queries_for_much_as_for_little(
    path, afresh, shared, browser, django_assert_num_queries
):
    fill(1)
    browser.get(path)
    for more in (0, 15):
        fill(more)
        overview.forget()
        with django_assert_num_queries(afresh):
            browser.get(path)
        with django_assert_num_queries(shared):
            browser.get(path)


def test_who_sees_the_same_shares_the_figures_and_nobody_else_does(django_assert_num_queries):
    ours = factories.job(name="ours", namespace="ours")
    failed_with(b"our secret\n", job=ours)
    mine, alike, other = (browser_with(("viewer", name)) for name in ("ours", "ours", "theirs"))
    assert "our secret" in mine.get(PART).content.decode()
    failed_with(b"one more secret\n", job=ours)
    assert "one more secret" not in alike.get(PART).content.decode()
    assert "secret" not in other.get(PART).content.decode()
    assert "one more secret" in part_of(alike)


def test_of_other_namespaces_nothing_is_counted_or_named():
    theirs = factories.job(name="their-job", namespace="theirs", config={"max_concurrency": 1})
    factories.schedule(job=theirs)
    failed_with(b"their output\n", job=theirs)
    ended("completed", job=theirs, outcome="late")
    factories.task(job=theirs)
    response = browser_with(("viewer", "ours")).get(INDEX)
    context = response.context
    assert (context["failed_count"], context["off_time_count"], context["waiting_count"]) == ("0", "0", "0")
    assert (context["delay"], context["next_runs"], context["waiting"]) == (None, [], [])
    assert b"their" not in response.content


def test_who_may_see_nothing_gets_an_empty_page_and_no_links():
    ended("failed")
    factories.agent()
    response = client_of().get(INDEX)
    assert response.status_code == 200
    assert b"Agents online" not in response.content
    assert b"Latest failures" not in response.content
    assert reverse("admin:auth_user_changelist").encode() not in response.content


def test_the_part_that_is_renewed_is_for_staff_who_are_signed_in(client):
    assert client.get(PART).status_code == 302


def test_the_part_that_is_renewed_is_the_one_on_the_page_and_says_as_of_when(browser):
    page, part = browser.get(INDEX).content.decode(), browser.get(PART).content.decode()
    for text in (page, part):
        assert text.count('id="hf-overview"') == 1
        assert f'data-refresh-url="{PART}"' in text
        assert re.search(rf"as of <time [^>]*>{timezone.now():%H}:", text)


def test_no_page_asks_another_host_for_anything(browser):
    content = browser.get(INDEX).content.decode()
    assert 'src="http' not in content
    assert 'href="http' not in content
    assert "onclick=" not in content


def test_it_says_since_when_it_has_counted_so_far_and_goes_on(browser, monkeypatch):
    monkeypatch.setattr(run_counts, "TASKS_AT_ONCE", 3)
    monkeypatch.setattr(run_counts, "STATEMENTS", 1)
    for hours_ago in (5, 4, 3, 2):
        ended("completed", hours_ago=hours_ago)
    response = browser.get(INDEX)
    assert response.context["done_count"] == "2"
    assert b"so far; what lies before is being counted" in response.content
    assert [hour["is_counted"] for hour in response.context["hours"]].count(False) in (20, 21)
    overview.look_again()
    response = browser.get(INDEX)
    assert response.context["done_count"] == "4"
    assert b"Counted since" not in response.content


def test_failures_of_few_are_found_among_many_of_others(monkeypatch):
    monkeypatch.setattr(overview, "_FAILED_OF_ALL", 1)
    ours, theirs = (factories.job(namespace=name) for name in ("ours", "theirs"))
    old = ended("failed", hours_ago=30, job=ours)
    mine = ended("failed", hours_ago=3, job=ours)
    ended("failed", job=theirs)
    shown = context_of(browser_with(("viewer", "ours")))["failures"]
    assert [failure["task"].pk for failure in shown] == [mine.pk]
    monkeypatch.setattr(overview, "_FAILED_OF_ALL", 9)
    shown = context_of(browser_with(("viewer", "ours")))["failures"]
    assert [failure["task"].pk for failure in shown] == [mine.pk, old.pk]
