"""The page of the timeline, and what it draws: bars in rows, counts of many, and what is to come."""

from datetime import timedelta

import pytest
from django.urls import reverse

from scheduling.models import TaskInstance
from scheduling.services import timeline
from tests import factories
from tests.admin_client import browser_with, client_of
from tests.factories import NOW
from tests.scheduling.test_timeline import attempt

pytestmark = pytest.mark.django_db
PAGE = reverse("admin:scheduling_taskinstance_timeline")
DATA = reverse("admin:scheduling_taskinstance_timeline_data")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def _at_a_fixed_time(monkeypatch):
    monkeypatch.setattr("scheduling.admin.timeline.database_now", lambda: NOW)


@pytest.fixture
def browser():
    return client_of(superuser=True)


def ms(instant):
    return round(instant.timestamp() * 1000)


def data(browser, *, begin=NOW - HOUR, end=NOW + HOUR, **asked):
    response = browser.get(DATA, {"begin": ms(begin), "end": ms(end), **asked})
    assert response.status_code == 200
    return response.json()


def labels(found):
    return [row["label"] for row in found["rows"]]


# --- the page ------------------------------------------------------------------------------------------


def test_the_page_says_what_may_be_chosen_and_draws_nothing_itself(browser):
    factories.job(namespace="ours")
    agent = factories.agent()
    response = browser.get(PAGE, {"by": "job", "hours": "24", "job": "back", "status": "failed"})
    content = response.content.decode()
    assert response.context["config"]["hours"] == 24
    assert response.context["config"]["begin"] is None
    assert '<option value="job" selected>' in content
    assert 'value="back"' in content
    assert '<option value="failed" selected>' in content
    assert "<option>ours</option>" in content
    assert f'<option value="{agent.name}">' in content


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"hours": "5"},
        {"hours": "x" * 99},
        {"begin": "1", "end": "0"},
        {"begin": "٦", "end": "7"},
        {"begin": "9" * 99, "end": "9" * 99},
        {"job": "\x00", "agent": "a" * 999, "by": "'"},
    ],
)
def test_what_makes_no_sense_counts_as_not_said(browser, given):
    config = browser.get(PAGE, given).context["config"]
    assert (config["hours"], config["begin"], config["end"]) == (6, None, None)


def test_a_span_of_the_past_is_looked_at_where_it_is_asked_for(browser):
    config = browser.get(PAGE, {"begin": "1000", "end": "5000"}).context["config"]
    assert (config["begin"], config["end"]) == (1000, 5000)


@pytest.mark.parametrize(
    ("ages", "hours"),
    [
        ([MINUTE], 1),
        ([MINUTE * number for number in range(30)], 1),
        ([HOUR * number for number in range(30)], 24),
        ([MINUTE, 5 * HOUR], 6),
        ([MINUTE, 3 * DAY, 9 * DAY], 168),
        ([30 * DAY], 168),
    ],
)
def test_at_first_so_much_is_shown_that_what_ran_lately_is_seen(browser, ages, hours):
    task = factories.task()
    for age in ages:
        attempt(NOW - age, timedelta(seconds=1), task=factories.task(job=task.job))
    assert browser.get(PAGE).context["config"]["hours"] == hours
    assert browser.get(PAGE, {"hours": "6"}).context["config"]["hours"] == 6


def test_what_is_asked_for_or_not_seen_is_not_what_is_shown_at_first(browser):
    job = factories.job(namespace="ours", name="rare")
    attempt(NOW - 5 * HOUR, MINUTE, task=factories.task(job=job))
    attempt(NOW - MINUTE, MINUTE)
    assert browser.get(PAGE, {"job": "rare"}).context["config"]["hours"] == 6
    assert browser_with(("viewer", "ours")).get(PAGE).context["config"]["hours"] == 6


def test_where_nothing_ran_the_page_says_what_to_do(browser):
    text, url = "Nothing has run yet.", reverse("admin:scheduling_job_changelist")
    assert text in browser.get(PAGE).content.decode()
    link = f'<a class="hf-link" href="{url}">'
    assert link in browser.get(PAGE).content.decode()
    assert link not in client_of("scheduling.view_taskinstance").get(PAGE).content.decode()
    assert "Nothing that matches has run." in browser.get(PAGE, {"status": "lost"}).content.decode()
    attempt(NOW - MINUTE, MINUTE)
    assert browser.get(PAGE).context["empty"] is None


def test_of_what_is_narrowed_twice_it_does_not_say_that_it_never_ran_unless_it_knows(browser, monkeypatch):
    monkeypatch.setattr(timeline, "NEWEST_LOOKED_AT", 2)
    job, agent = factories.job(name="backup"), factories.agent()
    for age in (3, 2, 1):
        attempt(NOW - age * HOUR, MINUTE, task=factories.task(job=job), agent=agent if age == 3 else None)
    response = browser.get(PAGE, {"job": "backup", "agent": agent.name})
    assert (response.context["empty"], response.context["config"]["hours"]) == (None, 168)
    assert browser.get(PAGE, {"job": "backup"}).context["config"]["hours"] == 6


def test_where_nothing_ran_lately_the_page_leads_to_the_last_run(browser):
    attempt(NOW - 30 * DAY, MINUTE)
    empty = browser.get(PAGE, {"by": "job"}).context["empty"]
    begin, end = NOW - 30 * DAY - 3 * HOUR, NOW - 30 * DAY + 3 * HOUR
    assert empty["query"] == f"by=job&begin={ms(begin)}&end={ms(end)}"
    assert browser.get(PAGE, {"begin": ms(begin), "end": ms(end)}).context["empty"] is None


def test_it_is_read_in_chinese(browser):
    response = browser.get(PAGE, headers={"accept-language": "zh-hans"})
    assert "时间线" in response.content.decode()
    assert response.context["config"]["words"]["started"] == "开始"


# --- what is drawn -------------------------------------------------------------------------------------


def test_a_bar_stands_in_the_row_of_its_agent_and_names_its_job(browser):
    agent, job = factories.agent(slots=3), factories.job()
    made = attempt(NOW - MINUTE, MINUTE, task=factories.task(job=job), agent=agent, status="failed")
    found = data(browser, end=NOW)
    assert found["rows"] == [
        {
            "label": agent.name,
            "note": "idle",
            "url": reverse("admin:agents_agent_change", args=[agent.pk]),
            "slots": 3,
        }
    ]
    assert found["others"] == [job.name]
    failed = browser.get(PAGE).context["config"]["statuses"].index({"name": "failed", "label": "failed"})
    assert found["bars"] == [[0, ms(NOW - MINUTE), ms(NOW), failed, 0, f"#{made}", str(made.pk)]]
    assert (found["begin"], found["end"], found["now"]) == (ms(NOW - HOUR), ms(NOW), ms(NOW))


def test_over_jobs_the_bar_names_its_agent(browser):
    agent, job = factories.agent(), factories.job(namespace="ours")
    attempt(NOW - MINUTE, task=factories.task(job=job), agent=agent)
    attempt(NOW - MINUTE, task=factories.task(job=factories.job(name="by hand")))
    found = data(browser, end=NOW, by="job")
    row = {
        "label": job.name,
        "note": "ours",
        "url": reverse("admin:scheduling_job_change", args=[job.pk]),
        "slots": 0,
    }
    assert row in found["rows"]
    assert {(labels(found)[bar[0]], found["others"][bar[4]], bar[2]) for bar in found["bars"]} == {
        (job.name, agent.name, None),
        ("by hand", "by hand", None),
    }


def test_agents_that_ran_nothing_have_a_row_unless_something_is_searched_for(browser):
    idle, busy = factories.agent(), factories.agent()
    made = attempt(NOW - MINUTE, MINUTE, agent=busy)
    assert set(labels(data(browser, end=NOW))) == {idle.name, busy.name}
    assert labels(data(browser, end=NOW, agent=busy.name)) == [busy.name]
    assert labels(data(browser, end=NOW, job=made.job.name)) == [busy.name]
    assert labels(data(browser, end=NOW, job="none such")) == []


def test_too_many_bars_are_counted_by_time(browser, monkeypatch):
    monkeypatch.setattr(timeline, "MAX_BARS", 2)
    agent = factories.agent()
    for status in ("completed", "completed", "failed"):
        attempt(NOW - MINUTE, MINUTE, agent=agent, status=status)
    for by, label in (("agent", agent.name), ("job", None)):
        found = data(browser, end=NOW, by=by)
        assert found["bars"] == []
        assert found["slots"] == timeline.SLOTS
        assert sum(count[2] for count in found["counts"]) == 3
        assert sum(count[3] for count in found["counts"]) == 1
        assert {slot for _row, slot, *_rest in found["counts"]} == {timeline.SLOTS * 59 // 60}
        assert label in (None, labels(found)[found["counts"][0][0]])


def test_what_is_to_come_stands_in_a_row_of_its_own_or_in_that_of_its_job(browser):
    schedule = factories.schedule(kind="cron", cron_expression="30 * * * *")
    factories.ran_before(schedule.job, 90)
    before = NOW - 99 * HOUR
    TaskInstance.objects.update(created_at=before, started_at=before, completed_at=before + 1.5 * MINUTE)
    task = factories.task(now=NOW - MINUTE)
    agent = factories.agent()
    found = data(browser)
    assert labels(found) == ["To come", agent.name]
    waiting, planned = found["coming"]
    assert waiting == [0, ms(NOW - MINUTE), 1000, waiting[3], "task", task.pk]
    assert planned == [0, ms(NOW + HOUR / 2), 90_000, planned[3], "schedule", schedule.pk]
    assert {found["others"][waiting[3]], found["others"][planned[3]]} == {task.job.name, schedule.job.name}
    by_job = data(browser, by="job")
    assert {labels(by_job)[each[0]] for each in by_job["coming"]} == {task.job.name, schedule.job.name}


@pytest.mark.parametrize(
    "asked", [{"end": NOW}, {"agent": "agent"}, {"status": "failed"}, {"job": "none such"}]
)
def test_nothing_comes_where_it_would_not_belong(browser, asked):
    factories.schedule(kind="cron", cron_expression="30 * * * *")
    factories.task(now=NOW - MINUTE)
    assert data(browser, **asked)["coming"] == []


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"begin": "1"},
        {"begin": "5", "end": "5"},
        {"begin": "x", "end": "9"},
        {"begin": "0", "end": "9" * 13},
    ],
)
def test_a_span_that_makes_no_sense_is_refused(browser, asked):
    response = browser.get(DATA, asked)
    assert response.status_code == 400
    assert "400 days" in response.json()["error"]


def test_status_and_namespace_choose_and_unknown_ones_find_what_they_say(browser):
    agent = factories.agent()
    for namespace, status in (("ours", "failed"), ("theirs", "completed")):
        task = factories.task(job=factories.job(namespace=namespace))
        attempt(NOW - MINUTE, MINUTE, task=task, agent=agent, status=status)
    assert len(data(browser, end=NOW)["bars"]) == 2
    assert len(data(browser, end=NOW, status="failed")["bars"]) == 1
    assert len(data(browser, end=NOW, namespace="theirs")["bars"]) == 1
    assert len(data(browser, end=NOW, namespace="nobody's")["bars"]) == 0
    assert len(data(browser, end=NOW, status="unheard of")["bars"]) == 2


# --- whose ---------------------------------------------------------------------------------------------


def test_one_sees_the_attempts_of_ones_own_namespaces_alone():
    agent = factories.agent()
    for namespace in ("ours", "theirs"):
        job = factories.job(name=f"job of {namespace}", namespace=namespace)
        attempt(NOW - MINUTE, MINUTE, task=factories.task(job=job), agent=agent)
        factories.schedule(job=job, kind="cron", cron_expression="30 * * * *")
    browser = browser_with(("viewer", "ours"))
    for asked in ({}, {"by": "job"}, {"job": "job of"}):
        found = data(browser, **asked)
        assert len(found["bars"]) == 1
        assert len(found["coming"]) == 2
        assert "theirs" not in str(found)
    assert data(browser, namespace="theirs")["bars"] == data(browser, job="job of theirs")["bars"] == []
    assert b"theirs" not in browser.get(PAGE).content


def test_who_may_see_attempts_but_neither_jobs_nor_agents_reads_no_names():
    agent = factories.agent()
    attempt(NOW - MINUTE, MINUTE, task=factories.task(job=factories.job(name="secret")), agent=agent)
    browser = client_of("scheduling.view_taskinstance")
    found = data(browser)
    assert len(found["bars"]) == 1
    assert found["coming"] == []
    assert agent.name not in str(found)
    assert "secret" not in str(found)
    assert data(browser, job="secret")["bars"] == data(browser, agent=agent.name)["bars"] == []
    assert agent.name.encode() not in browser.get(PAGE).content


def test_who_may_not_see_attempts_sees_no_timeline():
    browser = client_of("scheduling.view_job")
    assert browser.get(PAGE).status_code == 403
    assert browser.get(DATA, {"begin": 0, "end": 1}).status_code == 403
    assert PAGE.encode() not in browser.get(reverse("admin:index")).content
    assert PAGE.encode() in browser_with(("viewer", "ours")).get(reverse("admin:index")).content


@pytest.mark.parametrize("by", ["agent", "job"])
def test_it_takes_as_many_queries_for_many_bars_as_for_one(browser, by, django_assert_num_queries):
    def fill():
        attempt(NOW - MINUTE, MINUTE, agent=factories.agent())
        factories.schedule(kind="cron", cron_expression="30 * * * *")

    fill()
    data(browser)
    with django_assert_num_queries(9):
        data(browser, by=by)
    for _ in range(5):
        fill()
    with django_assert_num_queries(9):
        assert len(data(browser, by=by)["bars"]) == 6
