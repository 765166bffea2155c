"""The ledger's page: planned against happened as picture, table and file."""

import csv
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.urls import reverse

from scheduling.admin import ledger as ledger_page
from scheduling.models import Schedule, Task
from scheduling.services import planning
from tests import factories
from tests.admin_client import browser_with, client_of
from tests.factories import NOW

pytestmark = pytest.mark.django_db(transaction=False)
MINUTE = timedelta(minutes=1)


def url(schedule, name="ledger"):
    return reverse(f"admin:scheduling_schedule_{name}", args=[schedule.pk])


def span(begin=-1, end=24):
    return {
        "from": f"{NOW + timedelta(hours=begin):%Y-%m-%dT%H:%M}",
        "to": f"{NOW + timedelta(hours=end):%Y-%m-%dT%H:%M}",
    }


@pytest.fixture
def browser():
    return client_of(superuser=True)


@pytest.fixture
def schedule():
    """A schedule with five hourly instants that were missed, and the rest of the day to come."""
    job = factories.job(namespace="ours", config={"misfire_policy": "skip", "misfire_grace_secs": 0})
    made = factories.schedule(job=job, kind="interval", interval_secs=3600)
    planning.run_once(now=NOW + timedelta(hours=5, minutes=1), horizon_secs=15, catch_up_secs=86_400.0)
    return Schedule.objects.get(pk=made.pk)


def test_totals_picture_and_table_tell_the_same(browser, schedule):
    context = browser.get(url(schedule), span()).context
    totals = {total["kind"]: total["count"] for total in context["totals"]}
    assert totals == {"missed": 5, "planned": 19}
    assert [row["kind"] for row in context["rows"]] == ["missed"] * 5 + ["planned"] * 19
    kinds = [kind for bar in context["bars"] for kind, _percent in bar["parts"]]
    assert kinds == ["missed"] * 5 + ["planned"] * 19


def test_the_picture_is_by_hour_for_days_and_by_day_for_weeks(browser, schedule):
    assert len(browser.get(url(schedule), span(0, 47)).context["bars"]) == 48
    by_day = browser.get(url(schedule), span(0, 24 * 10)).context["bars"]
    assert len(by_day) == 11
    assert by_day[0]["title"].startswith("2026-03-02: missed 5, planned")


def test_a_row_that_stands_for_many_is_shown_as_such(browser):
    job = factories.job(config={"misfire_policy": "skip"})
    schedule = factories.schedule(job=job, kind="interval", interval_secs=60)
    planning.run_once(now=NOW + 30 * MINUTE, horizon_secs=0, catch_up_secs=600.0)
    response = browser.get(url(schedule), span())
    summary = response.context["rows"][0]
    assert (summary["kind"], summary["instants"]) == ("missed", 20)
    assert "stands for 20 instants" in response.content.decode()
    assert 'class="hf-many"' in response.content.decode()


def test_a_long_range_goes_over_pages_that_miss_and_repeat_nothing(browser, schedule, monkeypatch):
    monkeypatch.setattr(ledger_page, "_PAGE_ROWS", 10)
    context = browser.get(url(schedule), span()).context
    whole_totals, shown = context["totals"], [row["planned"] for row in context["rows"]]
    assert context["first_url"] == ""
    while context["next_url"]:
        context = browser.get(context["next_url"]).context
        assert context["totals"] == whole_totals
        assert context["first_url"]
        shown += [row["planned"] for row in context["rows"]]
    assert len(shown) == len(set(shown)) == 24


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"from": "yesterday"}, "Expected times"),
        ({"from": "2026-13-40T00:00"}, "Expected times"),
        ({"from": "2026-03-02T00:00", "to": "2026-03-01T00:00"}, "The end must come after"),
        ({"from": "2020-01-01T00:00", "to": "2026-03-01T00:00"}, "A year is shown at most"),
    ],
)
def test_a_range_that_makes_no_sense_is_said_and_another_one_is_shown(browser, schedule, given, says):
    response = browser.get(url(schedule), given)
    assert response.status_code == 200
    assert says in response.context["error"]


def rows_of(response):
    async def pieces():
        return [piece async for piece in response.streaming_content]

    text = b"".join(async_to_sync(pieces)()).decode()
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.django_db(transaction=True)
def test_the_file_has_a_row_for_each_entry_and_no_formulas(browser, schedule):
    Task.objects.filter(schedule=schedule, scheduled_at=NOW + timedelta(hours=1)).update(reason="=1+1")
    response = browser.get(url(schedule, "ledger_csv"), span())
    assert response["Content-Type"].startswith("text/csv")
    assert "attachment" in response["Content-Disposition"]
    rows = rows_of(response)
    assert [row["outcome"] for row in rows] == ["missed"] * 5 + ["planned"] * 19
    assert rows[0]["reason"] == "'=1+1"
    assert rows[0]["scheduled_at"] == (NOW + timedelta(hours=1)).isoformat()


@pytest.mark.django_db(transaction=True)
def test_a_long_file_is_written_page_by_page(browser, schedule, monkeypatch):
    monkeypatch.setattr(ledger_page, "MAX_ENTRIES", 7)
    instants = [row["scheduled_at"] for row in rows_of(browser.get(url(schedule, "ledger_csv"), span()))]
    assert len(instants) == len(set(instants)) == 24


def test_it_takes_as_many_queries_for_much_as_for_little(browser, schedule, django_assert_num_queries):
    browser.get(url(schedule))
    with django_assert_num_queries(11):
        browser.get(url(schedule), span(-1, 1))
    with django_assert_num_queries(11):
        browser.get(url(schedule), span(-1, 24 * 20))


def test_a_viewer_reads_it_and_a_stranger_finds_nothing(schedule):
    viewer, stranger = browser_with(("viewer", "ours")), browser_with(("admin", "theirs"))
    assert viewer.get(url(schedule)).status_code == 200
    for name in ("ledger", "ledger_csv"):
        assert stranger.get(url(schedule, name)).status_code == 302
    without_tasks = client_of("scheduling.view_schedule")
    assert without_tasks.get(url(schedule)).status_code == 403
    assert without_tasks.get(url(schedule, "ledger_csv")).status_code == 403


def test_the_schedule_and_the_list_lead_to_it(browser, schedule):
    for page in ("scheduling_schedule_changelist", "scheduling_schedule_change"):
        arguments = [schedule.pk] if page.endswith("change") else []
        assert url(schedule) in browser.get(reverse(f"admin:{page}", args=arguments)).content.decode()
