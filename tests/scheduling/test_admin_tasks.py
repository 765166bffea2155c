from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from scheduling.admin import paging
from scheduling.models import OutputChunk, Task, TaskInstance
from scheduling.services.claiming import claim
from tests import factories
from tests.admin_client import client_of

pytestmark = pytest.mark.django_db
LIST = reverse("admin:scheduling_task_changelist")


def page(task):
    return reverse("admin:scheduling_task_change", args=[task.pk])


def press(browser, name, task):
    return browser.post(reverse(f"admin:scheduling_task_{name}", args=[task.pk]), follow=True)


@pytest.fixture
def browser():
    return client_of(superuser=True)


def listed(response):
    return [task.pk for task in response.context["cl"].result_list]


def test_search_finds_by_number_and_by_the_name_of_the_job(browser):
    backup = factories.task(job=factories.job(name="nightly backup"))
    other = factories.task(job=factories.job(name="import"))
    assert listed(browser.get(LIST, {"q": str(other.pk)})) == [other.pk]
    assert listed(browser.get(LIST, {"q": f"#{other.pk}"})) == [other.pk]
    assert listed(browser.get(LIST, {"q": "BACKUP"})) == [backup.pk]
    assert listed(browser.get(LIST, {"q": "9" * 30})) == []


def test_filters_narrow_by_status_job_and_time(browser):
    now = timezone.now()
    old = factories.task(now=factories.NOW)
    new = factories.task(now=now, scheduled_at=now)
    assert listed(browser.get(LIST, {"job__id__exact": old.job_id})) == [old.pk]
    assert listed(browser.get(LIST, {"planned": "1"})) == [new.pk]
    assert listed(browser.get(LIST, {"status__exact": "failed"})) == []
    assert set(listed(browser.get(LIST, {"status__exact": "pending"}))) == {old.pk, new.pk}


def test_a_nonsense_filter_is_no_server_error(browser):
    assert browser.get(LIST, {"job__id__exact": "x"}, follow=True).status_code == 200
    assert browser.get(LIST, {"planned": "never"}).status_code == 200


def test_the_list_takes_as_many_queries_for_forty_tasks_as_for_one(browser, django_assert_num_queries):
    factories.task()
    browser.get(LIST)
    with django_assert_num_queries(7):
        browser.get(LIST)
    for _ in range(39):
        factories.task()
    with django_assert_num_queries(7):
        assert browser.get(LIST).context["cl"].result_count == 40


def test_the_list_counts_no_further_than_its_limit(browser, monkeypatch):
    monkeypatch.setattr(paging, "LIST_LIMIT", 3)
    for _ in range(5):
        factories.task()
    response = browser.get(LIST)
    assert response.context["cl"].result_count == 3
    assert b"Only 3 rows can be paged through" in response.content


def test_nobody_counts_the_whole_table(browser, django_assert_max_num_queries):
    factories.task()
    with django_assert_max_num_queries(7) as queries:
        browser.get(LIST)
    counts = [
        query["sql"]
        for query in queries.captured_queries
        if "COUNT(" in query["sql"] and "_alert" not in query["sql"]
    ]
    assert len(counts) == 1
    assert f"LIMIT {paging.LIST_LIMIT}" in counts[0]


def test_cancel_ends_a_waiting_task_and_says_so(browser):
    task = factories.task()
    assert b"The task is cancelled" in press(browser, "cancel", task).content
    task.refresh_from_db()
    assert (task.status, task.reason) == ("cancelled", "cancelled by root")


def test_a_refused_action_is_reported_as_a_message(browser):
    task = factories.task()
    press(browser, "cancel", task)
    response = press(browser, "cancel", task)
    assert b"the current state is cancelled" in response.content
    assert b"the current state is pending" in press(browser, "retry", factories.task()).content


def test_retry_starts_a_cancelled_task_anew(browser):
    task = factories.task()
    press(browser, "cancel", task)
    press(browser, "retry", task)
    task.refresh_from_db()
    assert (task.status, task.manual_retries) == ("pending", 1)


@pytest.mark.parametrize("status", ["pending", "failed", "completed"])
def test_only_the_buttons_that_the_state_allows_are_shown(browser, status):
    task = factories.task()
    if status != "pending":
        Task.objects.filter(pk=task.pk).update(status=status, completed_at=timezone.now())
    shown = [item["button"].name for item in browser.get(page(task)).context["buttons"]]
    assert shown == {"pending": ["cancel"], "failed": ["retry"], "completed": []}[status]


def test_who_may_look_but_not_act_gets_no_buttons_and_a_refusal():
    task = factories.task()
    browser = client_of("scheduling.view_task")
    assert browser.get(page(task)).context["buttons"] == []
    assert press(browser, "cancel", task).status_code == 403
    task.refresh_from_db()
    assert task.status == "pending"


def test_who_may_see_tasks_alone_sees_no_attempts():
    agent = factories.agent()
    task = factories.task(now=timezone.now())
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    response = client_of("scheduling.view_task").get(page(task))
    assert agent.name.encode() not in response.content
    assert response.context["attempts"] == []


def test_who_may_see_nothing_sees_nothing():
    task = factories.task()
    browser = client_of("scheduling.view_job")
    assert browser.get(LIST).status_code == 403
    assert browser.get(page(task)).status_code == 403


def test_a_task_can_be_neither_added_nor_changed_nor_deleted_by_form(browser):
    task = factories.task()
    assert browser.get(reverse("admin:scheduling_task_add")).status_code == 403
    assert browser.post(page(task), {"status": "completed"}).status_code == 405
    assert browser.get(reverse("admin:scheduling_task_delete", args=[task.pk])).status_code == 403


def test_the_page_sets_the_attempts_side_by_side_and_tells_what_happened(browser):
    agent = factories.agent()
    task = factories.task(now=timezone.now())
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    TaskInstance.objects.filter(task=task).update(error_message="<b>broken</b>")
    response = browser.get(page(task))
    assert cells(response, "Agent") == [(agent.name, False)]
    assert f"attempt 1 given to {agent.name}" in [event["text"] for event in response.context["timeline"]]
    assert b"&lt;b&gt;broken&lt;/b&gt;" in response.content


def cells(response, label):
    """Return what stands in the row of a label, and what of it is told apart."""
    (row,) = [row for row in response.context["compared"] if row["label"] == label]
    return [(str(cell["shown"]), cell["differs"]) for cell in row["cells"]]


def attempts_of(task, *, agents, **fields):
    """Make an attempt for each agent, the values of each field one after the other."""
    now = timezone.now()
    statuses = fields.pop("status", ["failed"] * len(agents))
    made = [
        TaskInstance.objects.create(
            task=task,
            job=task.job,
            agent=agent,
            attempt=number,
            token=100 + number,
            status=status,
            started_at=now,
            completed_at=now,
        )
        for number, (agent, status) in enumerate(zip(agents, statuses, strict=True), 1)
    ]
    for name, values in fields.items():
        for attempt, value in zip(made, values, strict=True):
            TaskInstance.objects.filter(pk=attempt.pk).update(**{name: value})
    return made


def test_what_is_not_as_in_the_attempt_before_is_told_apart(browser):
    first, second = factories.agent(), factories.agent()
    task = factories.task()
    now = timezone.now()
    attempts_of(
        task,
        agents=[first, first, second],
        exit_code=[1, 1, 2],
        error_message=["", "no price", "no price"],
        start_delay_ms=[1, 90, 1200],
        completed_at=[now + timedelta(seconds=each) for each in (2, 3, 30)],
        stdout_bytes=[10, 900, 900],
    )
    response = browser.get(page(task))
    assert cells(response, "Agent") == [(first.name, False), (first.name, False), (second.name, True)]
    assert cells(response, "Exit") == [("1", False), ("1", False), ("2", True)]
    assert cells(response, "Error") == [("–", False), ("no price", True), ("no price", False)]
    assert [differs for _shown, differs in cells(response, "Start delay")] == [False, False, True]
    assert [differs for _shown, differs in cells(response, "Ran for")] == [False, False, True]
    assert [differs for _shown, differs in cells(response, "Output")] == [False, False, False]
    assert response.content.decode().count("other than before:") == 5


def test_of_an_attempt_that_has_not_ended_nothing_is_told_apart(browser):
    agent, task = factories.agent(), factories.task()
    attempts_of(task, agents=[agent, agent], status=["failed", "running"], exit_code=[1, None])
    assert [differs for _shown, differs in cells(browser.get(page(task)), "Exit")] == [False, False]


def test_each_attempt_has_the_last_line_of_its_output(browser):
    agent, task = factories.agent(), factories.task()
    attempts = attempts_of(task, agents=[agent] * 3)
    for attempt, data in zip(attempts, (b"one\n<b>two</b>\n", b"one\n<b>two</b>\n", b"three"), strict=True):
        OutputChunk.objects.create(instance=attempt, stream=1, offset=0, data=data, at=timezone.now())
    response = browser.get(page(task))
    assert cells(response, "Last line") == [("<b>two</b>", False), ("<b>two</b>", False), ("three", True)]
    assert b"&lt;b&gt;two&lt;/b&gt;" in response.content


def test_what_happened_names_who_asked_and_how_long_each_step_took(browser):
    attempt = factories.attempt()
    task = Task.objects.get(pk=attempt.task_id)
    press(browser, "cancel", task)
    response = browser.get(page(task))
    events = {event["text"]: event["after"] for event in response.context["timeline"]}
    assert events["cancel requested by root"].startswith("+")
    assert "cancel requested" not in events
    assert [event["at"] for event in response.context["timeline"]] == sorted(
        event["at"] for event in response.context["timeline"]
    )


def test_each_attempt_has_a_bar_within_the_picture(browser):
    attempt = factories.attempt()
    started = attempt.created_at + timedelta(seconds=1)
    ended = {"status": "failed", "completed_at": started + timedelta(seconds=9)}
    TaskInstance.objects.filter(pk=attempt.pk).update(started_at=started, **ended)
    Task.objects.filter(pk=attempt.task_id).update(**ended)
    (bar,) = browser.get(page(attempt.task)).context["bars"]
    assert [stretch.kind for stretch in bar["stretches"]][-2:] == ["given", "failed"]
    assert bar["stretches"][-1].text == "ran: 9.00 s"
    assert 85 < bar["stretches"][-1].width < 91
    assert all(each.left >= 0 and each.left + each.width < 100.6 for each in bar["stretches"])


def test_the_output_of_the_newest_attempt_is_on_the_page_of_its_task(browser):
    attempt = factories.attempt()
    assert f"/ws/admin/attempts/{attempt.pk}" in browser.get(page(attempt.task)).content.decode()
    assert browser.get(page(factories.task())).context["viewer"] is None


def test_an_unknown_task_leads_back_with_a_message(browser):
    response = browser.get(reverse("admin:scheduling_task_change", args=[10**9]), follow=True)
    assert response.status_code == 200
    assert b"doesn" in response.content


def test_the_page_of_a_waiting_task_says_what_it_waits_for(browser):
    job = factories.job(cmd="python", config={"labels": {"gpu": "a100"}})
    content = browser.get(page(factories.task(job=job))).content.decode()
    assert "Why does it not run?" in content
    assert "There are 0 agents." in content


def test_the_page_renews_itself_as_long_as_the_task_has_not_ended(browser):
    task = factories.task()
    assert b"data-refresh-secs" in browser.get(page(task)).content
    press(browser, "cancel", task)
    assert b"data-refresh-secs" not in browser.get(page(task)).content
