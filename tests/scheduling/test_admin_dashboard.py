from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from scheduling.admin import dashboard
from scheduling.models import Task
from tests import factories
from tests.admin_client import client_of

pytestmark = pytest.mark.django_db
INDEX = reverse("admin:index")


@pytest.fixture
def browser():
    return client_of(superuser=True)


def ended(status, *, hours_ago=0.5):
    task = factories.task()
    at = timezone.now() - timedelta(hours=hours_ago)
    Task.objects.filter(pk=task.pk).update(status=status, scheduled_at=at, completed_at=at)
    return task


def test_without_jobs_it_says_how_to_begin(browser):
    assert b"three steps to the first run" in browser.get(INDEX).content
    factories.job()
    assert b"three steps to the first run" not in browser.get(INDEX).content


def test_it_counts_agents_slots_and_tasks(browser):
    factories.agent(slots=4)
    factories.agent(slots=2)
    factories.task()
    context = browser.get(INDEX).context
    assert (context["online_count"], context["agent_count"], context["slot_count"]) == (2, 2, 6)
    assert (context["running_count"], context["waiting_count"]) == (0, "1")


def test_it_shows_success_and_failure_of_the_last_day_by_the_hour(browser):
    ended("completed")
    ended("completed", hours_ago=3.5)
    ended("failed", hours_ago=3.5)
    ended("failed", hours_ago=30)
    context = browser.get(INDEX).context
    assert (context["done_count"], context["failed_count"], context["success_rate"]) == (2, 1, "66.7 %")
    assert [hour["done_percent"] for hour in context["hours"]][-4:] == [50, 0, 0, 50]
    assert [hour["failed_percent"] for hour in context["hours"]][-4:] == [50, 0, 0, 0]


def test_it_links_to_the_latest_failures_and_the_next_runs(browser):
    task = ended("failed")
    schedule = factories.schedule(now=timezone.now(), kind="interval", interval_secs=3600)
    content = browser.get(INDEX).content.decode()
    assert reverse("admin:scheduling_task_change", args=[task.pk]) in content
    assert reverse("admin:scheduling_job_change", args=[schedule.job_id]) in content


def test_it_takes_as_many_queries_for_much_as_for_little(browser, django_assert_num_queries):
    def fill(count):
        for _ in range(count):
            factories.agent()
            factories.schedule(now=timezone.now())
            ended("failed")

    fill(1)
    browser.get(INDEX)
    with django_assert_num_queries(15):
        browser.get(INDEX)
    fill(15)
    with django_assert_num_queries(15):
        browser.get(INDEX)


def test_who_may_see_nothing_gets_an_empty_page_and_no_links():
    ended("failed")
    factories.agent()
    response = client_of().get(INDEX)
    assert response.status_code == 200
    assert b"Agents online" not in response.content
    assert b"Latest failures" not in response.content
    assert reverse("admin:auth_user_changelist").encode() not in response.content


def test_no_page_asks_another_host_for_anything(browser):
    content = browser.get(INDEX).content.decode()
    assert 'src="http' not in content
    assert 'href="http' not in content
    assert "onclick=" not in content


def test_it_counts_no_further_than_its_limit_and_says_so(browser, monkeypatch):
    monkeypatch.setattr(dashboard, "_HISTORY_LIMIT", 2)
    for _ in range(3):
        ended("completed")
    response = browser.get(INDEX)
    assert response.context["done_count"] == 2
    assert b"the latest 2 tasks" in response.content
