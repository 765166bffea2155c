"""The panel that says why a task or a job runs or does not, with links to what blocks."""

import pytest
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent
from scheduling.admin.explanations import say
from scheduling.models import Task
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.claiming import claim
from scheduling.services.definitions import update_schedule
from scheduling.services.explaining import Saying
from tests import factories
from tests.admin_client import browser_with, client_of

pytestmark = pytest.mark.django_db
CHINESE = {"accept-language": "zh-hans"}


def page(obj):
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change", args=[obj.pk])


def panel(browser, obj, **options):
    return browser.get(page(obj), **options).context["explanation"]


def links(explanation):
    return [link["url"] for check in explanation["checks"] for link in check["links"]]


@pytest.fixture
def browser():
    return client_of(superuser=True)


def test_a_waiting_task_names_the_agent_that_is_nearest_and_leads_to_it(browser):
    agent = factories.agent(labels={"zone": "eu"})
    job = factories.job(config={"labels": {"zone": "eu", "gpu": "a100"}})
    explanation = panel(browser, factories.task(job=job))
    assert "lacks gpu=a100" in explanation["summary"]
    assert not explanation["runs"]
    assert links(explanation)[0] == page(agent)


def test_a_job_at_its_limit_leads_to_the_tasks_that_hold_it(browser):
    agent, job = factories.agent(), factories.job(config={"max_concurrency": 1})
    now = timezone.now()
    first, second = factories.task(job=job, now=now), factories.task(job=job, now=now)
    claim(slots={agent.pk: 1}, now=now, lead_secs=2, lease_secs=30)
    assert links(panel(browser, second)) == [page(first)]


def test_a_job_leads_to_its_calendar_and_to_the_freeze_of_its_namespace(browser):
    factories.agent()
    calendar = create_calendar(name="never", windows=[{"weekdays": [], "from": "00:00", "to": "00:00"}])
    schedule = factories.schedule(now=timezone.now(), calendar=calendar)
    assert links(panel(browser, schedule.job)) == [page(calendar)]
    frozen = freeze(namespace="default", now=timezone.now(), reason="release")
    explanation = panel(browser, schedule.job)
    assert explanation["summary"] == "Namespace default is frozen: release"
    assert links(explanation) == [page(frozen), page(calendar)]


def test_what_nobody_is_left_for_is_not_said(browser):
    factories.agent()
    explanation = panel(browser, factories.task(job=factories.job(config={"labels": {"gpu": "a100"}})))
    assert "gpu=a100 match 0 of 1 agents" in explanation["checks"][-1]["text"]


def test_a_disabled_schedule_is_led_to(browser):
    factories.agent()
    schedule = factories.schedule(now=timezone.now())
    update_schedule(schedule_id=schedule.pk, now=timezone.now(), status="disabled")
    assert page(schedule) in links(panel(browser, schedule.job))


def test_where_nothing_blocks_it_says_when_it_runs(browser):
    factories.agent()
    schedule = factories.schedule(now=timezone.now())
    explanation = panel(browser, schedule.job)
    assert explanation["runs"]
    assert explanation["summary"].startswith("It runs next at")
    assert links(explanation) == []


def test_each_check_says_in_words_whether_it_holds(browser):
    content = browser.get(page(factories.task())).content.decode()
    assert ">holds: </span>" in content
    assert ">does not hold: </span>" in content


def test_it_is_said_in_the_language_of_the_reader(browser):
    calendar = create_calendar(name="off", windows=[{"weekdays": [], "from": "00:00", "to": "00:00"}])
    schedule = factories.schedule(now=timezone.now(), calendar=calendar)
    said = [check["text"] for check in panel(browser, schedule.job, headers=CHINESE)["checks"]]
    assert any("日历禁止下一个时刻" in text and "不在允许的时段内" in text for text in said)
    assert any("已启用" in text for text in said)
    assert "共有 0 个代理。" in said


def test_a_value_that_looks_like_a_placeholder_stays_a_value():
    assert say(Saying("%(reason)s", {"reason": "100 %(status)s"})) == "100 %(status)s"


def test_a_task_that_has_ended_needs_no_panel(browser):
    task = factories.task()
    Task.objects.filter(pk=task.pk).update(status="cancelled", completed_at=timezone.now())
    assert panel(browser, task) is None


def test_what_one_may_not_see_is_no_link():
    job = factories.job(namespace="ours", config={"max_concurrency": 1})
    agent = factories.agent()
    now = timezone.now()
    hidden, waiting = factories.task(job=job, now=now), factories.task(job=job, now=now)
    claim(slots={agent.pk: 1}, now=now, lead_secs=2, lease_secs=30)
    Task.objects.filter(pk=hidden.pk).update(namespace="classified")
    viewer = browser_with(("viewer", "ours"))
    assert links(panel(viewer, waiting)) == []
    assert page(hidden) not in viewer.get(page(waiting)).content.decode()


def test_many_agents_take_no_more_queries_than_one(browser, django_assert_num_queries):
    task = factories.task()
    Agent.objects.filter(pk=factories.agent().pk).update(enabled=False)
    browser.get(page(task))
    with django_assert_num_queries(10):
        browser.get(page(task))
    for _ in range(6):
        Agent.objects.filter(pk=factories.agent().pk).update(enabled=False)
    with django_assert_num_queries(10):
        browser.get(page(task))
