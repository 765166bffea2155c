"""What is done to many rows of a list: asked about with a count, done, and followed on a page."""

import pytest
from django.urls import reverse

from scheduling.kinds import BulkVerb
from scheduling.models import BulkAction, Job, Task
from scheduling.services import bulk, manual
from tests import factories, people
from tests.admin_client import browser_with, client_of
from tests.factories import ANN, NOW

pytestmark = pytest.mark.django_db
TASKS = reverse("admin:scheduling_task_changelist")
JOBS = reverse("admin:scheduling_job_changelist")
LIST = reverse("admin:scheduling_bulkaction_changelist")


@pytest.fixture
def browser(monkeypatch):
    # On a busy machine, too, a few objects are done before the next page comes.
    monkeypatch.setattr("scheduling.admin.bulk._AT_ONCE_SECS", 60)
    return client_of(superuser=True)


def selecting(action, *objects, **values):
    return {"action": action, "_selected_action": [obj.pk for obj in objects], **values}


def page(action):
    return reverse("admin:scheduling_bulkaction_change", args=[action.pk])


def begun(number=3, user=None):
    jobs = [factories.job() for _ in range(number)]
    user = user or people.person(superuser=True)
    return bulk.begin(verb=BulkVerb.RUN_JOBS, target_ids=[job.pk for job in jobs], user=user, by=ANN)


def test_it_asks_first_with_a_count_and_tells_what_is_left_out(browser):
    tasks = [factories.task() for _ in range(3)]
    manual.cancel(task_id=tasks[0].pk, now=NOW)
    content = browser.post(TASKS, selecting("cancel_selected", *tasks)).content.decode()
    assert "Cancel 2 tasks?" in content
    assert "1 is left as it is, because its state does not allow it." in content
    assert Task.objects.filter(status="pending").count() == 2

    response = browser.post(
        TASKS, selecting("cancel_selected", *tasks, confirmed="yes", count="2"), follow=True
    )
    assert "2 are done." in response.content.decode()
    assert not Task.objects.filter(status="pending").exists()


def test_all_that_match_the_filters_can_be_chosen_and_not_only_the_page(browser):
    ours, other = factories.job(), factories.job()
    for _ in range(60):
        factories.task(job=ours)
    kept = factories.task(job=other)
    url = f"{TASKS}?job__id__exact={ours.pk}"
    chosen = selecting("cancel_selected", Task.objects.last(), select_across="1")
    content = browser.post(url, chosen).content.decode()
    assert "Cancel 60 tasks?" in content
    assert "and 50 more" in content
    assert content.count('name="_selected_action"') == 1
    browser.post(url, chosen | {"confirmed": "yes", "count": "60"})
    assert list(Task.objects.filter(status="pending")) == [kept]


def test_it_asks_again_where_the_number_has_changed_meanwhile(browser):
    job = factories.job()
    factories.task(job=job)
    chosen = selecting("cancel_selected", Task.objects.get(), select_across="1", confirmed="yes", count="1")
    factories.task(job=job)
    content = browser.post(TASKS, chosen).content.decode()
    assert "Their number has changed meanwhile" in content
    assert "Cancel 2 tasks?" in content
    assert not BulkAction.objects.exists()


def test_nothing_to_do_is_said_and_nothing_begun(browser):
    response = browser.post(TASKS, selecting("retry_selected", factories.task()), follow=True)
    assert "There is nothing to do." in response.content.decode()
    assert not BulkAction.objects.exists()


def test_more_than_can_be_done_at_once_are_refused(browser, monkeypatch):
    monkeypatch.setattr(bulk, "MAX_TARGETS", 1)
    response = browser.post(
        TASKS, selecting("cancel_selected", factories.task(), factories.task()), follow=True
    )
    assert "More than 1 are selected" in response.content.decode()


def test_a_disabled_job_is_left_out_of_those_to_run(browser):
    jobs = [factories.job(), factories.job(enabled=False)]
    browser.post(JOBS, selecting("run_selected", *jobs, confirmed="yes"))
    assert list(Task.objects.values_list("job", flat=True)) == [jobs[0].pk]


def test_what_takes_longer_leads_to_a_page_that_follows_it(browser, monkeypatch):
    monkeypatch.setattr("scheduling.admin.bulk._AT_ONCE_SECS", -1)
    jobs = [factories.job() for _ in range(3)]
    response = browser.post(JOBS, selecting("run_selected", *jobs, confirmed="yes"), follow=True)
    content = response.content.decode()
    assert response.redirect_chain[-1][0] == page(BulkAction.objects.get())
    assert "1 of 3 done" in content
    assert "data-refresh-secs" in content
    bulk.run_once(now=NOW)
    content = browser.get(page(BulkAction.objects.get())).content.decode()
    assert "3 of 3 done" in content
    assert "data-refresh-secs" not in content


def test_the_page_says_what_was_refused_and_why(browser):
    action = begun()
    Job.objects.filter(pk=action.targets.first().target_id).update(enabled=False)
    bulk.run_once(now=NOW)
    content = browser.get(page(action)).content.decode()
    assert "2 of 3 done, 1 refused" in content
    assert "Cannot trigger this job: the current state is disabled" in content


def test_it_can_be_cancelled_on_its_page(browser):
    action = begun()
    browser.post(reverse("admin:scheduling_bulkaction_cancel", args=[action.pk]))
    bulk.run_once(now=NOW)
    assert not Task.objects.exists()
    assert "0 of 3 done" in browser.get(page(action)).content.decode()


def test_one_sees_and_cancels_ones_own_alone():
    theirs = begun()
    browser = browser_with(("operator", "*"))
    assert browser.get(LIST).context["cl"].result_count == 0
    assert browser.get(page(theirs)).status_code == 302
    browser.post(reverse("admin:scheduling_bulkaction_cancel", args=[theirs.pk]))
    theirs.refresh_from_db()
    assert theirs.status == "running"


def test_the_page_of_ones_own_names_only_what_one_still_sees():
    user = people.person(is_staff=True)
    people.grant(user, "operator", "ours")
    job = factories.job(namespace="ours", name="ours-alone", enabled=False)
    hidden = factories.job(namespace="classified", name="secret")
    action = bulk.begin(verb=BulkVerb.RUN_JOBS, target_ids=[job.pk, hidden.pk], user=user, by=ANN)
    bulk.run_once(now=NOW)
    browser = client_of(superuser=True)
    browser.force_login(user)
    content = browser.get(page(action)).content.decode()
    assert "ours-alone" in content
    assert "secret" not in content


def test_a_viewer_is_offered_none_of_it():
    factories.task()
    viewer = browser_with(("viewer", "*"))
    for url in (TASKS, JOBS):
        content = viewer.get(url).content.decode()
        assert not [name for name in ("cancel_selected", "run_selected") if name in content]
    viewer.post(TASKS, selecting("cancel_selected", Task.objects.get(), confirmed="yes"))
    assert Task.objects.get().status == "pending"


def test_the_list_reads_as_many_rows_as_it_shows_in_one_statement(browser, django_assert_max_num_queries):
    begun()
    browser.get(LIST)
    with django_assert_max_num_queries(100) as few:
        browser.get(LIST)
    for _ in range(10):
        begun(1)
    with django_assert_max_num_queries(len(few)):
        browser.get(LIST)
