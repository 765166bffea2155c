"""Finding things from anywhere in the admin."""

import re

import pytest
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent
from scheduling.models import Job, TaskInstance
from scheduling.services.calendars import create_calendar
from scheduling.services.claiming import claim
from tests import factories
from tests.admin_client import browser_with, client_of
from tests.hetuflow.admin_pages import fill, page

pytestmark = pytest.mark.django_db
FIND = reverse("find")


@pytest.fixture
def browser():
    return client_of(superuser=True)


def found(browser, term):
    """Return the addresses that are found, in their order."""
    return re.findall(r'role="option" [^>]*href="([^"]+)"', browser.get(FIND, {"q": term}).content.decode())


def attempt():
    agent, task = factories.agent(), factories.task(now=timezone.now())
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    return TaskInstance.objects.get(task=task)


def test_jobs_agents_and_calendars_are_found_by_a_part_of_their_name_schedules_by_its_beginning(browser):
    job = factories.job(name="nightly-import")
    schedule = factories.schedule(job=job, name="Nightly")
    factories.schedule(job=job, name="every night")
    agent = factories.agent()
    Agent.objects.filter(pk=agent.pk).update(name="worker-of-the-NIGHT")
    calendar = create_calendar(name="nights off")
    factories.job(name="daily-import")
    assert found(browser, "night") == [page(each) for each in (job, schedule, agent, calendar)]


def test_names_that_begin_with_the_word_come_first_and_only_some_are_named(browser):
    for number in range(9):
        factories.job(name=f"after-a-report-{number}")
    job = factories.job(name="report")
    jobs = found(browser, "REPORT")
    assert (jobs[0], len(jobs)) == (page(job), 6)


def test_a_job_is_found_by_its_namespace_and_name(browser):
    job = factories.job(name="import", namespace="shop")
    factories.job(name="import", namespace="other")
    assert found(browser, "shop/imp") == [page(job)]


@pytest.mark.parametrize("written", ["#{0}", "{0}"])
def test_a_task_is_found_by_its_number(written, browser):
    task = factories.task()
    assert page(task) in found(browser, written.format(task.pk))


def test_an_attempt_is_found_by_its_number_and_by_its_id(browser):
    made = attempt()
    assert found(browser, f"#{made.task_id}.1") == [page(made)]
    assert found(browser, str(made.pk)) == [page(made)]


def test_an_agent_is_found_by_its_id(browser):
    agent = factories.agent()
    assert found(browser, str(agent.pk)) == [page(agent)]


def test_pages_are_found_by_the_beginning_of_a_word(browser):
    assert found(browser, "retention") == [reverse("admin:scheduling_retentionrule_changelist")]
    assert reverse("admin:access_auditentry_changelist") in found(browser, "log")
    assert reverse("admin:access_auditentry_changelist") not in found(browser, "og")


def test_what_is_archived_is_not_found(browser):
    job = factories.job(name="gone")
    Job.objects.filter(pk=job.pk).update(archived_at=timezone.now())
    assert found(browser, "gone") == []


@pytest.mark.parametrize(
    "term", ["", "   ", "#99999999999999999999", "1.99999", "%", "_", "\x00", "x" * 5000, "((", "<b>"]
)
def test_nonsense_finds_nothing(term, browser):
    factories.job(name="plain")
    assert found(browser, term) == []


def test_names_are_text(browser):
    factories.job(name="<script>alert(1)</script>")
    assert "&lt;script&gt;" in browser.get(FIND, {"q": "script"}).content.decode()


def test_what_one_does_not_see_is_not_found():
    ours, theirs = fill("ours"), fill("theirs")
    viewer = browser_with(("viewer", "ours"))
    assert found(viewer, "theirs") == []
    for kind, obj in theirs.items():
        for term in (str(obj.pk), f"#{obj.pk}"):
            assert page(obj) not in found(viewer, term), kind
    assert page(ours[Job]) in found(viewer, "ours")
    attempt = theirs[TaskInstance]
    assert found(viewer, f"{attempt.task_id}.{attempt.attempt}") == []


def test_pages_that_one_may_not_open_are_not_found():
    users = reverse("admin:auth_user_changelist")
    assert users in found(client_of(superuser=True), "users")
    assert users not in found(browser_with(("viewer", "*")), "users")


def test_who_has_no_role_finds_nothing_of_ours():
    factories.job(name="secret")
    factories.agent()
    viewer = client_of()
    assert found(viewer, "secret") == found(viewer, "agent") == []


def test_who_is_not_staff_is_sent_to_log_in(client):
    assert client.get(FIND, {"q": "x"}).status_code == 302


@pytest.mark.parametrize(("term", "queries"), [("report", 6), ("12", 7), ("12.1", 7)])
def test_it_takes_as_many_queries_for_much_as_for_little(term, queries, browser, django_assert_num_queries):
    browser.get(FIND, {"q": term})
    for count in (0, 10):
        for _ in range(count):
            job = factories.job(name=f"report-{Job.objects.count()}")
            factories.schedule(job=job, name=f"{job.name}-12")
        with django_assert_num_queries(queries):
            browser.get(FIND, {"q": term})


def test_the_button_is_on_every_page(browser):
    for name in ("index", "scheduling_job_changelist", "scheduling_job_add"):
        assert f'data-find="{FIND}"' in browser.get(reverse(f"admin:{name}")).content.decode()
